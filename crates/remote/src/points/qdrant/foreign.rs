//! Foreign collections: <https://api.qdrant.tech/api-reference/collections/create-collection>.

use super::{Qdrant, items, path_of};
use crate::points::foreign::{
    CopyNames, Foreign, ForeignPage, ForeignPoint, NewVector, PointRequest, Selection,
    VectorFormat, ambiguous_vector, object, texts_and_numbers, vector_of,
};
use crate::points::{BATCH, PointEngine};
use crate::retry::CallError;
use kokeshi_store::{Fields, Provenance, Storage};
use serde_json::{Map, Value, json};
use ureq::http::Method;

/// Parameters that a copy keeps, by their names in an answer and in a request.
const KEPT: [(&str, &str); 5] = [
    ("hnsw_config", "hnsw_config"),
    ("optimizer_config", "optimizers_config"),
    ("quantization_config", "quantization_config"),
    ("strict_mode_config", "strict_mode_config"),
    ("metadata", "metadata"),
];
/// Parameters that a copy keeps, by their names in `params` of an answer and in a request.
const KEPT_PARAMETERS: [&str; 7] = [
    "payload",
    "id_tracker",
    "sparse_vectors",
    "shard_number",
    "replication_factor",
    "write_consistency_factor",
    "on_disk_payload",
];

/// A foreign collection.
struct QdrantCollection {
    /// The server's description.
    description: Value,
    /// The name of the selected vectors, if they have one.
    vector: Option<String>,
}

impl QdrantCollection {
    /// The parameters of the vectors.
    fn vectors(&self) -> &Value {
        let all = &self.description["config"]["params"]["vectors"];
        self.vector.as_deref().map_or(all, |name| &all[name])
    }
}

impl Qdrant {
    /// A foreign collection; `None` if it does not exist.
    fn find(
        &self,
        collection: &str,
        fields: &Fields,
    ) -> Result<Option<QdrantCollection>, CallError> {
        let Some(mut answer) = self.http.call(Method::GET, &path_of(collection), None)? else {
            return Ok(None);
        };
        let description = answer["result"].take();
        let all = object(description["config"]["params"]["vectors"].clone());
        let is_unnamed = all.get("size").is_some_and(Value::is_number);
        let vector = match &fields.vector {
            _ if is_unnamed => None,
            Some(name) if all.contains_key(name) => Some(name.clone()),
            None if all.len() == 1 => all.into_iter().next().map(|(name, _)| name),
            _ => {
                let names = all.keys().map(String::as_str);
                return Err(ambiguous_vector(self.address(), collection, fields, names).into());
            }
        };
        let found = QdrantCollection { description, vector };
        if found.vectors()["multivector_config"].is_object() {
            return Err(self.failure(format!(
                "points of {collection} have several vectors for one text (multivectors), which cannot be read"
            )));
        }
        Ok(Some(found))
    }

    /// A foreign collection, which must exist.
    fn require(&self, collection: &str, fields: &Fields) -> Result<QdrantCollection, CallError> {
        self.find(collection, fields)?.ok_or_else(|| self.missing(collection))
    }

    /// Complete points that meet a condition, from `after` on.
    fn scroll(
        &self,
        collection: &str,
        filter: &Value,
        vectors: &Value,
        after: Option<&Value>,
    ) -> Result<(Vec<Value>, Option<Value>), CallError> {
        let mut body = json!({ "limit": BATCH, "with_payload": true, "with_vector": vectors });
        if filter.is_object() {
            body["filter"] = filter.clone();
        }
        if let Some(after) = after {
            body["offset"] = after.clone();
        }
        let mut answer = self.request(collection, "scroll", &body)?;
        let next = Some(answer["next_page_offset"].take()).filter(|next| !next.is_null());
        match answer["points"].take() {
            Value::Array(points) => Ok((points, next)),
            _ => Ok((Vec::new(), None)),
        }
    }
}

/// The keys that can be ids in Qdrant: whole numbers and UUIDs.
fn ids(keys: &[String]) -> Value {
    let id = |key: &String| match key.parse::<u64>() {
        Ok(number) if number.to_string() == *key => Some(json!(number)),
        _ => {
            let digits = key.bytes().filter(u8::is_ascii_hexdigit).count();
            let others = key.len() - digits;
            (digits == 32 && (others == 0 || others == 4)).then(|| json!(key))
        }
    };
    Value::Array(keys.iter().filter_map(id).collect())
}

fn condition(selection: Selection<'_>) -> Value {
    match selection {
        Selection::All => Value::Null,
        Selection::Ids(keys) => json!({ "must": [{ "has_id": ids(keys) }] }),
        Selection::Having(field, values) => {
            let (texts, numbers) = texts_and_numbers(values);
            let texts = json!({ "key": field, "match": { "any": texts } });
            if numbers.is_empty() {
                return json!({ "must": [texts] });
            }
            json!({ "should": [texts, { "key": field, "match": { "any": numbers } }] })
        }
    }
}

/// Takes the vector called `name` out of those of a point.
fn take_vector(vectors: &mut Value, name: Option<&str>) -> Result<Option<Vec<f32>>, String> {
    match (name, vectors) {
        (Some(name), Value::Object(all)) => vector_of(&all.remove(name).unwrap_or_default()),
        // An unnamed vector next to sparse ones, which have names, has the empty name.
        (None, Value::Object(all)) => vector_of(&all.remove("").unwrap_or_default()),
        (_, vector) => vector_of(vector),
    }
}

fn point(mut value: Value, name: Option<&str>) -> ForeignPoint {
    ForeignPoint {
        vector: take_vector(&mut value["vector"], name),
        id: value["id"].take(),
        payload: object(value["payload"].take()),
    }
}

/// The parameters of a collection like `old`, but with vectors of `provenance`.
fn parameters(old: &QdrantCollection, provenance: &Provenance) -> Value {
    let config = &old.description["config"];
    let mut vectors = config["params"]["vectors"].clone();
    let changed = match &old.vector {
        Some(name) => &mut vectors[name.as_str()],
        None => &mut vectors,
    };
    changed["size"] = json!(provenance.dimensions);
    changed["datatype"] =
        json!(if provenance.storage == Storage::F32 { "float32" } else { "float16" });
    let mut body = Map::from_iter([("vectors".to_owned(), vectors)]);
    let kept = KEPT.iter().map(|(answer, request)| (*request, &config[answer]));
    let parameters = KEPT_PARAMETERS.iter().map(|name| (*name, &config["params"][name]));
    for (name, value) in kept.chain(parameters).filter(|(_, value)| !value.is_null()) {
        body.insert(name.to_owned(), value.clone());
    }
    Value::Object(body)
}

impl Foreign for Qdrant {
    fn new_storages(&self) -> &'static [Storage] {
        &[Storage::F32, Storage::F16]
    }

    fn vector_format(
        &self,
        collection: &str,
        fields: &Fields,
    ) -> Result<Option<VectorFormat>, CallError> {
        let Some(found) = self.find(collection, fields)? else { return Ok(None) };
        let vectors = found.vectors();
        let is_half = vectors["datatype"] == "float16";
        Ok(Some(VectorFormat {
            dimensions: vectors["size"].as_u64().unwrap_or(0) as usize,
            storage: if is_half { Storage::F16 } else { Storage::F32 },
        }))
    }

    fn points(
        &self,
        request: &PointRequest<'_>,
        after: Option<&Value>,
    ) -> Result<ForeignPage, CallError> {
        let name = self.require(request.collection, request.fields)?.vector;
        let vectors = match &name {
            Some(name) if request.vectors => json!([name]),
            _ => json!(request.vectors),
        };
        let (points, next) =
            self.scroll(request.collection, &condition(request.selection), &vectors, after)?;
        let points = points.into_iter().map(|value| point(value, name.as_deref())).collect();
        Ok(ForeignPage { points, next })
    }

    fn create_shadow(
        &self,
        CopyNames { old, new }: CopyNames<'_>,
        provenance: &Provenance,
        fields: &Fields,
    ) -> Result<(), CallError> {
        let found = self.require(old, fields)?;
        if found.description["config"]["params"]["sharding_method"] == "custom" {
            return Err(self.not_copyable(format!(
                "{old} has custom shards (`sharding_method` is `custom`), and the server does not \
                 report which points are in which"
            )));
        }
        if self.http.call(Method::GET, &path_of(new), None)?.is_none() {
            self.send(Method::PUT, &path_of(new), &parameters(&found, provenance))?;
        }
        let mut indexes = object(found.description["payload_schema"].clone());
        if let Some(document) = &fields.document {
            // Documents are looked up by this field; a point shows the type of its values.
            let (collection, selection) = (old, Selection::All);
            let request = PointRequest { collection, fields, selection, vectors: false };
            let first = self.points(&request, None)?.points.into_iter().next();
            let is_number = first
                .is_some_and(|point| point.payload.get(document).is_some_and(Value::is_number));
            let kind = json!({ "data_type": if is_number { "integer" } else { "keyword" } });
            indexes.entry(document.clone()).or_insert(kind);
        }
        for (field, index) in indexes {
            let parameters = &index["params"];
            let kind = if parameters.is_object() { parameters } else { &index["data_type"] };
            let index = json!({ "field_name": field, "field_schema": kind });
            self.send(Method::PUT, &format!("{}/index?wait=true", path_of(new)), &index)?;
        }
        Ok(())
    }

    fn copy(
        &self,
        CopyNames { old, new }: CopyNames<'_>,
        fields: &Fields,
        keys: &[String],
        new_vector: NewVector<'_>,
    ) -> Result<(), CallError> {
        let name = self.require(old, fields)?.vector;
        let (points, _) = self.scroll(old, &condition(Selection::Ids(keys)), &json!(true), None)?;
        let mut copies = Vec::new();
        for mut value in points {
            let mut all = value["vector"].take();
            // `new_vector` reads only the id and the fields.
            let point = point(value, None);
            let Some(vector) = new_vector(&point) else { continue };
            match (&name, &mut all) {
                (Some(name), Value::Object(all)) => drop(all.insert(name.clone(), json!(vector))),
                (None, Value::Object(all)) => drop(all.insert(String::new(), json!(vector))),
                (Some(name), all) => *all = json!({ name.clone(): vector }),
                (None, all) => *all = json!(vector),
            }
            copies.push(json!({ "id": point.id, "vector": all, "payload": point.payload }));
        }
        if copies.is_empty() {
            return Ok(());
        }
        let path = format!("{}/points?wait=true", path_of(new));
        self.send(Method::PUT, &path, &json!({ "points": copies }))
    }

    fn discard(
        &self,
        collection: &str,
        _fields: &Fields,
        keys: &[String],
    ) -> Result<(), CallError> {
        let body = json!({ "filter": condition(Selection::Ids(keys)) });
        self.send(Method::POST, &format!("{}/points/delete?wait=true", path_of(collection)), &body)
    }

    fn closest(
        &self,
        request: &PointRequest<'_>,
        vector: &[f32],
        limit: usize,
        exact: bool,
    ) -> Result<Vec<(f32, ForeignPoint)>, CallError> {
        let name = self.require(request.collection, request.fields)?.vector;
        let mut body = json!({
            "query": vector,
            "limit": limit,
            "params": { "exact": exact },
            "with_payload": true,
        });
        if let Some(name) = &name {
            body["using"] = json!(name);
        }
        let answer = self.request(request.collection, "query", &body)?;
        let scored = |value: &Value| {
            let score = value["score"].as_f64().unwrap_or(0.0) as f32;
            (score, point(value.clone(), None))
        };
        Ok(items(&answer["points"]).map(scored).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_possible_ids_are_requested() {
        let uuid = "4d7e0b2c-37a1-4c58-9a3e-0b6f1c2d3e4f";
        let keys = ["7", "007", "-1", "a book", uuid, "18446744073709551616"].map(str::to_owned);
        assert_eq!(ids(&keys), json!([7, uuid]));
    }

    #[test]
    fn a_shadow_copy_has_the_parameters_of_the_old_collection_except_for_its_vector() {
        let description = json!({
            "config": {
                "params": {
                    "vectors": { "text": { "size": 768, "distance": "Dot", "on_disk": true },
                                 "image": { "size": 512, "distance": "Cosine" } },
                    "sparse_vectors": { "words": { "modifier": "idf" } },
                    "shard_number": 2,
                },
                "hnsw_config": { "m": 32 },
                "optimizer_config": { "indexing_threshold": 10 },
                "quantization_config": null,
            },
        });
        let found = QdrantCollection { description, vector: Some("text".to_owned()) };
        let provenance = Provenance { dimensions: 1024, ..Provenance::unknown(0, Storage::F16) };
        let wanted = json!({
            "vectors": { "text": { "size": 1024, "distance": "Dot", "on_disk": true, "datatype": "float16" },
                         "image": { "size": 512, "distance": "Cosine" } },
            "hnsw_config": { "m": 32 },
            "optimizers_config": { "indexing_threshold": 10 },
            "sparse_vectors": { "words": { "modifier": "idf" } },
            "shard_number": 2,
        });
        assert_eq!(parameters(&found, &provenance), wanted);
    }
}
