//! Collections of other programs: <https://api.qdrant.tech/api-reference/collections/create-collection>.

use super::{Qdrant, place, rows};
use crate::error::Error;
use crate::fields::Fields;
use crate::points::foreign::{
    Foreign, Look, Part, Point, Shape, Vectors, Which, either, numbers, object, unclear,
};
use crate::points::{BATCH, Engine};
use crate::provenance::Provenance;
use crate::retry::Fault;
use crate::storage::Storage;
use serde_json::{Map, Value, json};
use ureq::http::Method;

/// What a collection is made with, by its names in an answer and in a request.
const KEPT: [(&str, &str); 5] = [
    ("hnsw_config", "hnsw_config"),
    ("optimizer_config", "optimizers_config"),
    ("quantization_config", "quantization_config"),
    ("strict_mode_config", "strict_mode_config"),
    ("metadata", "metadata"),
];
/// The same among the parameters of an answer.
const KEPT_PARAMETERS: [&str; 7] = [
    "payload",
    "id_tracker",
    "sparse_vectors",
    "shard_number",
    "replication_factor",
    "write_consistency_factor",
    "on_disk_payload",
];

/// A collection and which of its vectors are meant.
struct Found {
    /// What the server says of it.
    told: Value,
    /// The name of its vectors, if they have one.
    vector: Option<String>,
}

impl Found {
    /// What vectors are made with.
    fn vectors(&self) -> &Value {
        let all = &self.told["config"]["params"]["vectors"];
        self.vector.as_deref().map_or(all, |name| &all[name])
    }
}

impl Qdrant {
    fn failed(&self, reason: String) -> Fault {
        Error::Server { store: self.address(), reason }.into()
    }

    /// `None` if there is no such collection.
    fn found(&self, collection: &str, fields: &Fields) -> Result<Option<Found>, Fault> {
        let Some(mut answer) = self.http.call(Method::GET, &place(collection), None)? else {
            return Ok(None);
        };
        let told = answer["result"].take();
        let all = object(told["config"]["params"]["vectors"].clone());
        let one_without_a_name = all.get("size").is_some_and(Value::is_number);
        let vector = match &fields.vector {
            _ if one_without_a_name => None,
            Some(name) if all.contains_key(name) => Some(name.clone()),
            None if all.len() == 1 => all.into_iter().next().map(|(name, _)| name),
            _ => {
                let names = all.keys().map(String::as_str);
                return Err(self.failed(unclear(collection, fields, names)));
            }
        };
        let found = Found { told, vector };
        if found.vectors()["multivector_config"].is_object() {
            return Err(self.failed(format!(
                "points of {collection} have several vectors for one text, which cannot be read"
            )));
        }
        Ok(Some(found))
    }

    /// As [`Self::found`], of a collection that must be there.
    fn known(&self, collection: &str, fields: &Fields) -> Result<Found, Fault> {
        let gone = || self.failed(format!("there is no collection {collection} any more"));
        self.found(collection, fields)?.ok_or_else(gone)
    }

    /// Whole points that a condition holds for, from `after` on.
    fn scroll(
        &self,
        collection: &str,
        filter: &Value,
        vectors: &Value,
        after: Option<&Value>,
    ) -> Result<(Vec<Value>, Option<Value>), Fault> {
        let mut body = json!({ "limit": BATCH, "with_payload": true, "with_vector": vectors });
        if filter.is_object() {
            body["filter"] = filter.clone();
        }
        if let Some(after) = after {
            body["offset"] = after.clone();
        }
        let mut answer = self.ask(collection, "scroll", &body)?;
        let next = Some(answer["next_page_offset"].take()).filter(|next| !next.is_null());
        match answer["points"].take() {
            Value::Array(points) => Ok((points, next)),
            _ => Ok((Vec::new(), None)),
        }
    }
}

/// Ids as Qdrant has them: whole numbers and UUIDs. No point has any other.
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

fn condition(which: Which<'_>) -> Value {
    match which {
        Which::All => Value::Null,
        Which::Ids(keys) => json!({ "must": [{ "has_id": ids(keys) }] }),
        Which::Having(field, values) => {
            let (texts, numbers) = either(values);
            let texts = json!({ "key": field, "match": { "any": texts } });
            if numbers.is_empty() {
                return json!({ "must": [texts] });
            }
            json!({ "should": [texts, { "key": field, "match": { "any": numbers } }] })
        }
    }
}

/// Takes the vector that is meant out of those of a point.
fn taken(vectors: &mut Value, name: Option<&str>) -> Result<Option<Vec<f32>>, String> {
    match (name, vectors) {
        (Some(name), Value::Object(all)) => numbers(&all.remove(name).unwrap_or_default()),
        // Where it has no name, it is called nothing beside the sparse ones that have names.
        (None, Value::Object(all)) => numbers(&all.remove("").unwrap_or_default()),
        (_, vector) => numbers(vector),
    }
}

fn point(mut told: Value, name: Option<&str>) -> Point {
    Point {
        vector: taken(&mut told["vector"], name),
        id: told["id"].take(),
        payload: object(told["payload"].take()),
    }
}

/// What a collection like the one that was `found` is made with.
fn parameters(found: &Found, made: &Provenance) -> Value {
    let config = &found.told["config"];
    let mut vectors = config["params"]["vectors"].clone();
    let changed = match &found.vector {
        Some(name) => &mut vectors[name.as_str()],
        None => &mut vectors,
    };
    changed["size"] = json!(made.dimensions);
    changed["datatype"] = json!(if made.storage == Storage::F32 { "float32" } else { "float16" });
    let mut body = Map::from_iter([("vectors".to_owned(), vectors)]);
    let kept = KEPT.iter().map(|(told, asked)| (*asked, &config[told]));
    let parameters = KEPT_PARAMETERS.iter().map(|name| (*name, &config["params"][name]));
    for (name, value) in kept.chain(parameters).filter(|(_, value)| !value.is_null()) {
        body.insert(name.to_owned(), value.clone());
    }
    Value::Object(body)
}

impl Foreign for Qdrant {
    fn kinds(&self) -> &'static [Storage] {
        &[Storage::F32, Storage::F16]
    }

    fn shape(&self, collection: &str, fields: &Fields) -> Result<Option<Shape>, Fault> {
        let Some(found) = self.found(collection, fields)? else { return Ok(None) };
        let vectors = found.vectors();
        let halves = vectors["datatype"] == "float16";
        Ok(Some(Shape {
            dimensions: vectors["size"].as_u64().unwrap_or(0) as usize,
            storage: if halves { Storage::F16 } else { Storage::F32 },
        }))
    }

    fn points(&self, look: &Look<'_>, after: Option<&Value>) -> Result<Part, Fault> {
        let name = self.known(look.collection, look.fields)?.vector;
        let vectors = match &name {
            Some(name) if look.vectors => json!([name]),
            _ => json!(look.vectors),
        };
        let (points, next) =
            self.scroll(look.collection, &condition(look.which), &vectors, after)?;
        let points = points.into_iter().map(|told| point(told, name.as_deref())).collect();
        Ok(Part { points, next })
    }

    fn make_like(
        &self,
        (old, new): (&str, &str),
        made: &Provenance,
        fields: &Fields,
    ) -> Result<(), Fault> {
        let found = self.known(old, fields)?;
        if found.told["config"]["params"]["sharding_method"] == "custom" {
            return Err(self.failed(format!(
                "{old} has shards of its own making (`sharding_method` is `custom`): points cannot be \
                 copied to the same ones"
            )));
        }
        if self.http.call(Method::GET, &place(new), None)?.is_none() {
            self.tell(Method::PUT, &place(new), &parameters(&found, made))?;
        }
        let mut indexes = object(found.told["payload_schema"].clone());
        if let Some(document) = &fields.document {
            // Documents are looked up by it. What kind of value it has is seen in a point.
            let look = Look { collection: old, fields, which: Which::All, vectors: false };
            let first = self.points(&look, None)?.points.into_iter().next();
            let number = first
                .is_some_and(|point| point.payload.get(document).is_some_and(Value::is_number));
            let kind = json!({ "data_type": if number { "integer" } else { "keyword" } });
            indexes.entry(document.clone()).or_insert(kind);
        }
        for (field, told) in indexes {
            let parameters = &told["params"];
            let kind = if parameters.is_object() { parameters } else { &told["data_type"] };
            let index = json!({ "field_name": field, "field_schema": kind });
            self.tell(Method::PUT, &format!("{}/index?wait=true", place(new)), &index)?;
        }
        Ok(())
    }

    fn copy(
        &self,
        (old, new): (&str, &str),
        fields: &Fields,
        keys: &[String],
        vectors: Vectors<'_>,
    ) -> Result<(), Fault> {
        let name = self.known(old, fields)?.vector;
        let (points, _) = self.scroll(old, &condition(Which::Ids(keys)), &json!(true), None)?;
        let mut copies = Vec::new();
        for mut told in points {
            let mut all = told["vector"].take();
            // Only its fields and its id are looked at.
            let point = point(told, None);
            let Some(vector) = vectors(&point) else { continue };
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
        let path = format!("{}/points?wait=true", place(new));
        self.tell(Method::PUT, &path, &json!({ "points": copies }))
    }

    fn discard(&self, collection: &str, _fields: &Fields, keys: &[String]) -> Result<(), Fault> {
        let body = json!({ "filter": condition(Which::Ids(keys)) });
        self.tell(Method::POST, &format!("{}/points/delete?wait=true", place(collection)), &body)
    }

    fn closest(
        &self,
        look: &Look<'_>,
        vector: &[f32],
        (limit, exact): (usize, bool),
    ) -> Result<Vec<(f32, Point)>, Fault> {
        let name = self.known(look.collection, look.fields)?.vector;
        let mut body = json!({
            "query": vector,
            "limit": limit,
            "params": { "exact": exact },
            "with_payload": true,
        });
        if let Some(name) = &name {
            body["using"] = json!(name);
        }
        let answer = self.ask(look.collection, "query", &body)?;
        let scored = |told: &Value| {
            let score = told["score"].as_f64().unwrap_or(0.0) as f32;
            (score, point(told.clone(), None))
        };
        Ok(rows(&answer["points"]).map(scored).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_an_id_is_asked_for() {
        let uuid = "4d7e0b2c-37a1-4c58-9a3e-0b6f1c2d3e4f";
        let keys = ["7", "007", "-1", "a book", uuid, "18446744073709551616"].map(str::to_owned);
        assert_eq!(ids(&keys), json!([7, uuid]));
    }

    #[test]
    fn a_collection_is_made_as_the_other_one_but_for_its_vector() {
        let told = json!({
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
        let found = Found { told, vector: Some("text".to_owned()) };
        let made = Provenance { dimensions: 1024, ..Provenance::unknown(0, Storage::F16) };
        let wanted = json!({
            "vectors": { "text": { "size": 1024, "distance": "Dot", "on_disk": true, "datatype": "float16" },
                         "image": { "size": 512, "distance": "Cosine" } },
            "hnsw_config": { "m": 32 },
            "optimizers_config": { "indexing_threshold": 10 },
            "sparse_vectors": { "words": { "modifier": "idf" } },
            "shard_number": 2,
        });
        assert_eq!(parameters(&found, &made), wanted);
    }
}
