//! Collections of other programs. What Chroma calls a document is a point's text, beside its fields.

use super::Chroma;
use crate::error::Error;
use crate::fields::Fields;
use crate::points::foreign::{
    Foreign, Look, Part, Point, Shape, Vectors, Which, either, numbers, object,
};
use crate::points::http::segment;
use crate::points::{BATCH, Engine};
use crate::provenance::Provenance;
use crate::retry::Fault;
use crate::storage::Storage;
use serde_json::{Value, json};
use ureq::http::Method;

/// The field that stands for what Chroma calls a document.
const TEXT: &str = "document";

impl Chroma {
    /// What the server says of a collection; `None` if there is none.
    fn told(&self, collection: &str) -> Result<Option<Value>, Fault> {
        let path = format!("{}/{}", self.path, segment(collection));
        self.http.call(Method::GET, &path, None)
    }
}

/// Adds the condition of `which` to a request.
fn narrow(body: &mut Value, which: Which<'_>) {
    match which {
        Which::All => {}
        Which::Ids(keys) => body["ids"] = json!(keys),
        Which::Having(field, values) => {
            let (texts, numbers) = either(values);
            let texts = json!({ field: { "$in": texts } });
            body["where"] = match numbers.is_empty() {
                true => texts,
                false => json!({ "$or": [texts, { field: { "$in": numbers } }] }),
            };
        }
    }
}

/// The point that `column` gives the parts of.
fn point<'a>(fields: &Fields, column: &dyn Fn(&str) -> &'a Value) -> Point {
    let mut payload = object(column("metadatas").clone());
    if fields.text.as_deref().is_none_or(|text| text == TEXT) {
        payload.insert(TEXT.to_owned(), column("documents").clone());
    }
    Point { id: column("ids").clone(), payload, vector: numbers(column("embeddings")) }
}

impl Foreign for Chroma {
    fn text(&self) -> &'static str {
        TEXT
    }

    fn kinds(&self) -> &'static [Storage] {
        &[Storage::F32]
    }

    fn has_aliases(&self) -> bool {
        false
    }

    fn shape(&self, collection: &str, _fields: &Fields) -> Result<Option<Shape>, Fault> {
        let told = self.told(collection)?;
        Ok(told.map(|told| Shape {
            dimensions: told["dimension"].as_u64().unwrap_or(0) as usize,
            storage: Storage::F32,
        }))
    }

    fn points(&self, look: &Look<'_>, after: Option<&Value>) -> Result<Part, Fault> {
        let offset = after.and_then(Value::as_u64).unwrap_or(0) as usize;
        let mut include = vec!["documents", "metadatas"];
        if look.vectors {
            include.push("embeddings");
        }
        let mut body = json!({ "limit": BATCH, "offset": offset, "include": include });
        narrow(&mut body, look.which);
        let answer = self.ask(look.collection, &Method::POST, "get", Some(&body))?;
        let answer = answer.unwrap_or_default();
        let count = answer["ids"].as_array().map_or(0, Vec::len);
        let points = (0..count).map(|at| point(look.fields, &|column| &answer[column][at]));
        Ok(Part { points: points.collect(), next: (count == BATCH).then(|| json!(offset + count)) })
    }

    fn make_like(
        &self,
        (old, new): (&str, &str),
        _made: &Provenance,
        _fields: &Fields,
    ) -> Result<(), Fault> {
        let gone = || Error::Server {
            store: self.address(),
            reason: format!("there is no collection {old} any more"),
        };
        let told = self.told(old)?.ok_or_else(gone)?;
        // What else stands in a configuration is the function by which clients embed: that of the old
        // model.
        let index = &told["configuration_json"]["hnsw"];
        let mut body = json!({ "name": new, "get_or_create": true, "metadata": told["metadata"] });
        if index.is_object() {
            body["configuration"] = json!({ "hnsw": index });
        }
        self.http.call(Method::POST, &self.path, Some(&body)).map(drop)
    }

    fn copy(
        &self,
        (old, new): (&str, &str),
        fields: &Fields,
        keys: &[String],
        vectors: Vectors<'_>,
    ) -> Result<(), Fault> {
        let include = ["documents", "metadatas", "uris"];
        let body = json!({ "ids": keys, "include": include });
        let found = self.ask(old, &Method::POST, "get", Some(&body))?.unwrap_or_default();
        let count = found["ids"].as_array().map_or(0, Vec::len);
        let (mut kept, mut embeddings) = (Vec::new(), Vec::new());
        for at in 0..count {
            if let Some(vector) = vectors(&point(fields, &|column| &found[column][at])) {
                kept.push(at);
                embeddings.push(vector);
            }
        }
        if kept.is_empty() {
            return Ok(());
        }
        let column = |name: &str| kept.iter().map(|at| &found[name][at]).collect::<Vec<_>>();
        let mut body = json!({ "embeddings": embeddings });
        for name in ["ids", "documents", "metadatas", "uris"] {
            body[name] = json!(column(name));
        }
        self.tell(new, "upsert", &body)
    }

    fn discard(&self, collection: &str, _fields: &Fields, keys: &[String]) -> Result<(), Fault> {
        self.tell(collection, "delete", &json!({ "ids": keys }))
    }

    fn closest(
        &self,
        look: &Look<'_>,
        vector: &[f32],
        (limit, _exact): (usize, bool),
    ) -> Result<Vec<(f32, Point)>, Fault> {
        let body = json!({
            "query_embeddings": [vector],
            "n_results": limit,
            "include": ["documents", "metadatas", "distances"],
        });
        let answer = self.ask(look.collection, &Method::POST, "query", Some(&body))?;
        let answer = answer.unwrap_or_default();
        let count = answer["ids"][0].as_array().map_or(0, Vec::len);
        let found = (0..count).map(|at| {
            let distance = answer["distances"][0][at].as_f64().unwrap_or(f64::INFINITY);
            let point = point(look.fields, &|column| &answer[column][0][at]);
            ((1.0 - distance) as f32, point)
        });
        Ok(found.collect())
    }
}
