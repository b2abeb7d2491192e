//! Qdrant, by its HTTP API: <https://api.qdrant.tech/api-reference>. Aliases are those of Qdrant.

mod foreign;

use super::http::{Http, segment};
use super::point::Point;
use super::{BATCH, NearestQuery, Page, PointEngine, PointFilter, TableKind};
use crate::retry::CallError;
use kokeshi_store::{Error, Provenance, Result, Storage, Url};
use serde_json::{Value, json};
use ureq::http::Method;

/// The default port of Qdrant.
const PORT: u16 = 6333;
/// Candidates of a short list per requested point.
const OVERSAMPLING: f32 = 4.0;
/// The fields of a point that are read.
const FIELDS: [&str; 3] = ["path", "text", "body"];

/// A Qdrant server.
pub(crate) struct Qdrant {
    http: Http,
}

impl Qdrant {
    /// Connects.
    ///
    /// # Errors
    ///
    /// If the address is malformed, or the server does not answer or refuses the key.
    pub(crate) fn connect(url: &Url) -> Result<Self> {
        let key = url.parts()?.password.map(|key| ("api-key", key));
        let http = Http::new(url, PORT, key)?;
        http.greet("/collections")?;
        Ok(Self { http })
    }

    /// Calls `action` of a table; `Null` if the table does not exist.
    fn request(&self, table: &str, action: &str, body: &Value) -> Result<Value, CallError> {
        let path = format!("{}/points/{action}", path_of(table));
        let answer = self.http.call(Method::POST, &path, Some(body))?;
        Ok(answer.map_or(Value::Null, |mut answer| answer["result"].take()))
    }

    /// Changes a table, which must exist, and waits for the answer.
    fn send(&self, method: Method, path: &str, body: &Value) -> Result<(), CallError> {
        let missing = || Error::Server {
            store: self.http.store().to_owned(),
            reason: format!("{path}: no such collection"),
        };
        let answer = self.http.call(method, path, Some(body))?;
        answer.map(drop).ok_or_else(|| missing().into())
    }

    fn change_aliases(&self, actions: &[Value]) -> Result<(), CallError> {
        self.send(Method::POST, "/collections/aliases", &json!({ "actions": actions }))
    }
}

/// The path of a collection, which may be a foreign one.
fn path_of(table: &str) -> String {
    format!("/collections/{}", segment(table))
}

/// The actions that move an alias, for one request, so that the alias always exists for readers.
fn move_alias(alias: &str, table: &str) -> [Value; 2] {
    [
        json!({ "delete_alias": { "alias_name": alias } }),
        json!({ "create_alias": { "collection_name": table, "alias_name": alias } }),
    ]
}

/// The parameters of a new collection.
fn parameters(kind: TableKind<'_>) -> Value {
    let TableKind::Chunks(provenance) = kind else {
        return json!({ "vectors": { "size": 2, "distance": "Cosine" } });
    };
    let datatype = if provenance.storage == Storage::F32 { "float32" } else { "float16" };
    let vectors =
        json!({ "size": provenance.dimensions, "distance": "Cosine", "datatype": datatype });
    match provenance.codes.map(|codes| codes.storage) {
        None => json!({ "vectors": vectors }),
        Some(Storage::Bits) => {
            let codes = json!({ "binary": { "always_ram": true } });
            json!({ "vectors": vectors, "quantization_config": codes })
        }
        Some(_) => {
            let codes = json!({ "scalar": { "type": "int8", "always_ram": true } });
            json!({ "vectors": vectors, "quantization_config": codes })
        }
    }
}

/// The parameters of a search, in which points of a short list are rescored by their vectors.
fn search_parameters(provenance: &Provenance, exact: bool) -> Value {
    let rescored = json!({ "rescore": true, "oversampling": OVERSAMPLING });
    match provenance.codes {
        Some(_) if !exact => json!({ "exact": false, "quantization": rescored }),
        _ => json!({ "exact": exact }),
    }
}

fn condition(filter: &PointFilter) -> Value {
    let paths =
        filter.paths.iter().map(|paths| json!({ "key": "path", "match": { "any": paths } }));
    let terms =
        filter.terms.iter().map(|term| json!({ "key": "terms", "match": { "value": term } }));
    json!({ "must": paths.chain(terms).collect::<Vec<_>>() })
}

fn point(value: &Value) -> Point {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let vector = value["vector"].as_array().map(Vec::as_slice).unwrap_or_default();
    let payload = &value["payload"];
    Point {
        id: text(&value["id"]),
        path: text(&payload["path"]),
        terms: Vec::new(),
        text: text(&payload["text"]),
        body: text(&payload["body"]),
        vector: vector.iter().map(|x| x.as_f64().unwrap_or(0.0) as f32).collect(),
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

impl PointEngine for Qdrant {
    fn address(&self) -> String {
        self.http.store().to_owned()
    }

    fn storages(&self) -> (&'static [Storage], &'static [Storage]) {
        (&[Storage::F16, Storage::F32], &[Storage::Bits, Storage::Int8])
    }

    fn tables(&self) -> Result<Vec<String>, CallError> {
        let answer = self.http.call(Method::GET, "/collections", None)?.unwrap_or_default();
        let names = items(&answer["result"]["collections"]).map(|table| &table["name"]);
        Ok(names.filter_map(|name| name.as_str().map(str::to_owned)).collect())
    }

    fn create(&self, table: &str, kind: TableKind<'_>) -> Result<(), CallError> {
        let path = path_of(table);
        if self.http.call(Method::GET, &path, None)?.is_none() {
            self.send(Method::PUT, &path, &parameters(kind))?;
        }
        for field in ["path", "terms"] {
            let index = json!({ "field_name": field, "field_schema": "keyword" });
            self.send(Method::PUT, &format!("{path}/index?wait=true"), &index)?;
        }
        Ok(())
    }

    fn remove(&self, table: &str) -> Result<(), CallError> {
        self.http.call(Method::DELETE, &path_of(table), None).map(drop)
    }

    fn put(&self, table: &str, points: &[Point]) -> Result<(), CallError> {
        let value = |point: &Point| {
            let Point { id, path, terms, text, body, vector } = point;
            let payload = json!({ "path": path, "terms": terms, "text": text, "body": body });
            json!({ "id": id, "vector": vector, "payload": payload })
        };
        let points: Vec<Value> = points.iter().map(value).collect();
        let path = format!("{}/points?wait=true", path_of(table));
        self.send(Method::PUT, &path, &json!({ "points": points }))
    }

    fn delete(&self, table: &str, paths: &[String]) -> Result<(), CallError> {
        let body = json!({ "filter": condition(&PointFilter::paths(paths)) });
        let path = format!("{}/points/delete?wait=true", path_of(table));
        self.send(Method::POST, &path, &body)
    }

    fn count(&self, table: &str) -> Result<usize, CallError> {
        let answer = self.request(table, "count", &json!({ "exact": true }))?;
        Ok(answer["count"].as_u64().unwrap_or(0) as usize)
    }

    fn page(
        &self,
        table: &str,
        filter: &PointFilter,
        vectors: bool,
        after: Option<&str>,
    ) -> Result<Page, CallError> {
        let mut body = json!({
            "filter": condition(filter),
            "limit": BATCH,
            "with_payload": FIELDS,
            "with_vector": vectors,
        });
        if let Some(after) = after {
            body["offset"] = json!(after);
        }
        let answer = self.request(table, "scroll", &body)?;
        let next = answer["next_page_offset"].as_str().map(str::to_owned);
        Ok(Page { points: items(&answer["points"]).map(point).collect(), next })
    }

    fn nearest(
        &self,
        table: &str,
        query: &NearestQuery<'_>,
        filter: &PointFilter,
    ) -> Result<Vec<(f32, Point)>, CallError> {
        let body = json!({
            "query": query.vector,
            "filter": condition(filter),
            "limit": query.limit,
            "params": search_parameters(query.provenance, query.exact),
            "with_payload": FIELDS,
        });
        let answer = self.request(table, "query", &body)?;
        let scored = |value: &Value| (value["score"].as_f64().unwrap_or(0.0) as f32, point(value));
        Ok(items(&answer["points"]).map(scored).collect())
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn aliases(&self) -> Result<Vec<(String, String)>, CallError> {
        let answer = self.http.call(Method::GET, "/aliases", None)?.unwrap_or_default();
        let aliases = items(&answer["result"]["aliases"]).filter_map(|alias| {
            let text = |key: &str| alias[key].as_str().map(str::to_owned);
            Some((text("alias_name")?, text("collection_name")?))
        });
        Ok(aliases.collect())
    }

    fn set_alias(&self, alias: &str, table: &str) -> Result<(), CallError> {
        self.change_aliases(&move_alias(alias, table))
    }

    fn alias_calls(&self, alias: &str, table: &str) -> Vec<String> {
        let body = json!({ "actions": move_alias(alias, table) });
        vec![format!("POST /collections/aliases {body}")]
    }

    fn remove_alias(&self, alias: &str) -> Result<(), CallError> {
        self.change_aliases(&[json!({ "delete_alias": { "alias_name": alias } })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_matches_of_paths_and_terms() {
        let filter = PointFilter {
            paths: Some(vec!["a\"b".to_owned()]),
            terms: vec!["zip=1234".to_owned(), "x='y'".to_owned()],
        };
        let wanted = json!({ "must": [
            { "key": "path", "match": { "any": ["a\"b"] } },
            { "key": "terms", "match": { "value": "zip=1234" } },
            { "key": "terms", "match": { "value": "x='y'" } },
        ] });
        assert_eq!(condition(&filter), wanted);
        assert_eq!(condition(&PointFilter::default()), json!({ "must": [] }));
    }
}
