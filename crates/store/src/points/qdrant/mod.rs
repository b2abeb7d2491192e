//! Qdrant, by its HTTP interface: <https://api.qdrant.tech/api-reference>. Aliases are Qdrant's.

mod foreign;

use super::http::{Http, segment};
use super::row::Row;
use super::{BATCH, Engine, Kind, Near, Only, Page, Points};
use crate::address::Url;
use crate::error::{Error, Result};
use crate::provenance::Provenance;
use crate::retry::Fault;
use crate::storage::Storage;
use serde_json::{Value, json};
use ureq::http::Method;

/// Where Qdrant listens unless it was told otherwise.
const PORT: u16 = 6333;
/// How many more candidates a short list has than points are wanted.
const OVERSAMPLING: f32 = 4.0;
/// What is kept of the fields of a point beside its vector.
const FIELDS: [&str; 3] = ["path", "text", "body"];

/// A Qdrant server.
pub(crate) struct Qdrant {
    http: Http,
}

impl Qdrant {
    /// # Errors
    ///
    /// If the address is malformed, or the server does not answer, or refuses the key.
    pub(crate) fn open(url: &Url) -> Result<Points> {
        Ok(Points::new(Self::connect(url)?))
    }

    pub(super) fn connect(url: &Url) -> Result<Self> {
        let key = url.parts()?.password.map(|key| ("api-key", key));
        let http = Http::new(url, PORT, key)?;
        http.greet("/collections")?;
        Ok(Self { http })
    }

    /// Asks a table for something; `Null` if there is no such table.
    fn ask(&self, table: &str, what: &str, body: &Value) -> Result<Value, Fault> {
        let path = format!("{}/points/{what}", place(table));
        let answer = self.http.call(Method::POST, &path, Some(body))?;
        Ok(answer.map_or(Value::Null, |mut answer| answer["result"].take()))
    }

    /// Changes a table, which must be there, and waits until that is done.
    fn tell(&self, method: Method, path: &str, body: &Value) -> Result<(), Fault> {
        let gone = || Error::Server {
            store: self.http.store().to_owned(),
            reason: format!("{path}: there is no such collection"),
        };
        let answer = self.http.call(method, path, Some(body))?;
        answer.map(drop).ok_or_else(|| gone().into())
    }

    fn change_aliases(&self, actions: &[Value]) -> Result<(), Fault> {
        self.tell(Method::POST, "/collections/aliases", &json!({ "actions": actions }))
    }
}

/// The path of a collection, which may be another program's.
fn place(table: &str) -> String {
    format!("/collections/{}", segment(table))
}

/// Both in one request, so that no reader finds the alias missing.
fn moved(alias: &str, table: &str) -> [Value; 2] {
    [
        json!({ "delete_alias": { "alias_name": alias } }),
        json!({ "create_alias": { "collection_name": table, "alias_name": alias } }),
    ]
}

/// What a collection is made with.
fn parameters(kind: Kind<'_>) -> Value {
    let Kind::Chunks(made) = kind else {
        return json!({ "vectors": { "size": 2, "distance": "Cosine" } });
    };
    let datatype = if made.storage == Storage::F32 { "float32" } else { "float16" };
    let vectors = json!({ "size": made.dimensions, "distance": "Cosine", "datatype": datatype });
    match made.codes.map(|codes| codes.storage) {
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

/// How a search is done: with short lists, their points are scored by their vectors.
fn search_parameters(made: &Provenance, exact: bool) -> Value {
    let rescored = json!({ "rescore": true, "oversampling": OVERSAMPLING });
    match made.codes {
        Some(_) if !exact => json!({ "exact": false, "quantization": rescored }),
        _ => json!({ "exact": exact }),
    }
}

fn condition(only: &Only) -> Value {
    let paths = only.paths.iter().map(|paths| json!({ "key": "path", "match": { "any": paths } }));
    let terms = only.terms.iter().map(|term| json!({ "key": "terms", "match": { "value": term } }));
    json!({ "must": paths.chain(terms).collect::<Vec<_>>() })
}

fn row(point: &Value) -> Row {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let numbers = point["vector"].as_array().map(Vec::as_slice).unwrap_or_default();
    let payload = &point["payload"];
    Row {
        id: text(&point["id"]),
        path: text(&payload["path"]),
        terms: Vec::new(),
        text: text(&payload["text"]),
        body: text(&payload["body"]),
        vector: numbers.iter().map(|x| x.as_f64().unwrap_or(0.0) as f32).collect(),
    }
}

fn rows(points: &Value) -> impl Iterator<Item = &Value> {
    points.as_array().into_iter().flatten()
}

impl Engine for Qdrant {
    fn address(&self) -> String {
        self.http.store().to_owned()
    }

    fn storages(&self) -> (&'static [Storage], &'static [Storage]) {
        (&[Storage::F16, Storage::F32], &[Storage::Bits, Storage::Int8])
    }

    fn tables(&self) -> Result<Vec<String>, Fault> {
        let answer = self.http.call(Method::GET, "/collections", None)?.unwrap_or_default();
        let names = rows(&answer["result"]["collections"]).map(|table| &table["name"]);
        Ok(names.filter_map(|name| name.as_str().map(str::to_owned)).collect())
    }

    fn create(&self, table: &str, kind: Kind<'_>) -> Result<(), Fault> {
        let path = place(table);
        if self.http.call(Method::GET, &path, None)?.is_none() {
            self.tell(Method::PUT, &path, &parameters(kind))?;
        }
        for field in ["path", "terms"] {
            let index = json!({ "field_name": field, "field_schema": "keyword" });
            self.tell(Method::PUT, &format!("{path}/index?wait=true"), &index)?;
        }
        Ok(())
    }

    fn remove(&self, table: &str) -> Result<(), Fault> {
        self.http.call(Method::DELETE, &place(table), None).map(drop)
    }

    fn put(&self, table: &str, rows: &[Row]) -> Result<(), Fault> {
        let point = |row: &Row| {
            let Row { id, path, terms, text, body, vector } = row;
            let payload = json!({ "path": path, "terms": terms, "text": text, "body": body });
            json!({ "id": id, "vector": vector, "payload": payload })
        };
        let points: Vec<Value> = rows.iter().map(point).collect();
        let path = format!("{}/points?wait=true", place(table));
        self.tell(Method::PUT, &path, &json!({ "points": points }))
    }

    fn delete(&self, table: &str, paths: &[String]) -> Result<(), Fault> {
        let body = json!({ "filter": condition(&Only::paths(paths)) });
        let path = format!("{}/points/delete?wait=true", place(table));
        self.tell(Method::POST, &path, &body)
    }

    fn count(&self, table: &str) -> Result<usize, Fault> {
        let answer = self.ask(table, "count", &json!({ "exact": true }))?;
        Ok(answer["count"].as_u64().unwrap_or(0) as usize)
    }

    fn page(
        &self,
        table: &str,
        only: &Only,
        vectors: bool,
        after: Option<&str>,
    ) -> Result<Page, Fault> {
        let mut body = json!({
            "filter": condition(only),
            "limit": BATCH,
            "with_payload": FIELDS,
            "with_vector": vectors,
        });
        if let Some(after) = after {
            body["offset"] = json!(after);
        }
        let answer = self.ask(table, "scroll", &body)?;
        let next = answer["next_page_offset"].as_str().map(str::to_owned);
        Ok(Page { rows: rows(&answer["points"]).map(row).collect(), next })
    }

    fn nearest(&self, table: &str, near: &Near<'_>, only: &Only) -> Result<Vec<(f32, Row)>, Fault> {
        let body = json!({
            "query": near.vector,
            "filter": condition(only),
            "limit": near.limit,
            "params": search_parameters(near.made, near.exact),
            "with_payload": FIELDS,
        });
        let answer = self.ask(table, "query", &body)?;
        let scored = |point: &Value| (point["score"].as_f64().unwrap_or(0.0) as f32, row(point));
        Ok(rows(&answer["points"]).map(scored).collect())
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn aliases(&self) -> Result<Vec<(String, String)>, Fault> {
        let answer = self.http.call(Method::GET, "/aliases", None)?.unwrap_or_default();
        let aliases = rows(&answer["result"]["aliases"]).filter_map(|alias| {
            let text = |key: &str| alias[key].as_str().map(str::to_owned);
            Some((text("alias_name")?, text("collection_name")?))
        });
        Ok(aliases.collect())
    }

    fn set_alias(&self, alias: &str, table: &str) -> Result<(), Fault> {
        self.change_aliases(&moved(alias, table))
    }

    fn alias_calls(&self, alias: &str, table: &str) -> Vec<String> {
        let body = json!({ "actions": moved(alias, table) });
        vec![format!("POST /collections/aliases {body}")]
    }

    fn remove_alias(&self, alias: &str) -> Result<(), Fault> {
        self.change_aliases(&[json!({ "delete_alias": { "alias_name": alias } })])
    }
}
