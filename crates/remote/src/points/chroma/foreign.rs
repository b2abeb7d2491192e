//! Foreign collections. What Chroma calls a document is a point's text, next to its fields.

use super::Chroma;
use crate::points::BATCH;
use crate::points::foreign::{
    CopyNames, Foreign, ForeignPage, ForeignPoint, NewVector, PointRequest, Selection,
    VectorFormat, object, texts_and_numbers, vector_of,
};
use crate::points::http::segment;
use crate::retry::CallError;
use kokeshi_store::backend::insert_own;
use kokeshi_store::{Fields, Provenance, Storage};
use serde_json::{Value, json};
use ureq::http::Method;

/// The name of the field for what Chroma calls a document.
const TEXT: &str = "document";

impl Chroma {
    /// The server's description of a collection; `None` if it does not exist.
    fn description(&self, collection: &str) -> Result<Option<Value>, CallError> {
        let path = format!("{}/{}", self.path, segment(collection));
        self.http.call(Method::GET, &path, None)
    }
}

/// Adds the condition of a selection to a request.
fn select(body: &mut Value, selection: Selection<'_>) {
    match selection {
        Selection::All => {}
        Selection::Ids(keys) => body["ids"] = json!(keys),
        Selection::Having(field, values) => {
            let (texts, numbers) = texts_and_numbers(values);
            let texts = json!({ field: { "$in": texts } });
            body["where"] = match numbers.is_empty() {
                true => texts,
                false => json!({ "$or": [texts, { field: { "$in": numbers } }] }),
            };
        }
    }
}

/// The point at one index of an answer, whose columns `column` returns.
fn point<'a>(fields: &Fields, column: &dyn Fn(&str) -> &'a Value) -> ForeignPoint {
    let mut payload = object(column("metadatas").clone());
    if fields.text.as_deref().is_none_or(|text| text == TEXT) {
        insert_own(&mut payload, TEXT, column("documents").clone());
    }
    ForeignPoint { id: column("ids").clone(), payload, vector: vector_of(column("embeddings")) }
}

impl Foreign for Chroma {
    fn text_field(&self) -> &'static str {
        TEXT
    }

    fn new_storages(&self) -> &'static [Storage] {
        &[Storage::F32]
    }

    fn has_aliases(&self) -> bool {
        false
    }

    fn vector_format(
        &self,
        collection: &str,
        _fields: &Fields,
    ) -> Result<Option<VectorFormat>, CallError> {
        let description = self.description(collection)?;
        Ok(description.map(|description| VectorFormat {
            dimensions: description["dimension"].as_u64().unwrap_or(0) as usize,
            storage: Storage::F32,
        }))
    }

    fn points(
        &self,
        request: &PointRequest<'_>,
        after: Option<&Value>,
    ) -> Result<ForeignPage, CallError> {
        let offset = after.and_then(Value::as_u64).unwrap_or(0) as usize;
        let mut include = vec!["documents", "metadatas"];
        if request.vectors {
            include.push("embeddings");
        }
        let mut body = json!({ "limit": BATCH, "offset": offset, "include": include });
        select(&mut body, request.selection);
        let answer = self.request(request.collection, &Method::POST, "get", Some(&body))?;
        let answer = answer.unwrap_or_default();
        let count = answer["ids"].as_array().map_or(0, Vec::len);
        let points = (0..count).map(|at| point(request.fields, &|column| &answer[column][at]));
        Ok(ForeignPage {
            points: points.collect(),
            next: (count == BATCH).then(|| json!(offset + count)),
        })
    }

    fn create_shadow(
        &self,
        CopyNames { old, new }: CopyNames<'_>,
        _provenance: &Provenance,
        _fields: &Fields,
    ) -> Result<(), CallError> {
        let description = self.description(old)?.ok_or_else(|| self.missing(old))?;
        // The rest of the configuration is the clients' embedding function, which is that of the
        // old model.
        let index = &description["configuration_json"]["hnsw"];
        let mut body =
            json!({ "name": new, "get_or_create": true, "metadata": description["metadata"] });
        if index.is_object() {
            body["configuration"] = json!({ "hnsw": index });
        }
        self.http.call(Method::POST, &self.path, Some(&body)).map(drop)
    }

    fn copy(
        &self,
        CopyNames { old, new }: CopyNames<'_>,
        fields: &Fields,
        keys: &[String],
        new_vector: NewVector<'_>,
    ) -> Result<(), CallError> {
        let include = ["documents", "metadatas", "uris"];
        let body = json!({ "ids": keys, "include": include });
        let found = self.request(old, &Method::POST, "get", Some(&body))?.unwrap_or_default();
        let count = found["ids"].as_array().map_or(0, Vec::len);
        let (mut kept, mut embeddings) = (Vec::new(), Vec::new());
        for at in 0..count {
            if let Some(vector) = new_vector(&point(fields, &|column| &found[column][at])) {
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
        self.send(new, "upsert", &body)
    }

    fn discard(
        &self,
        collection: &str,
        _fields: &Fields,
        keys: &[String],
    ) -> Result<(), CallError> {
        self.send(collection, "delete", &json!({ "ids": keys }))
    }

    fn closest(
        &self,
        request: &PointRequest<'_>,
        vector: &[f32],
        limit: usize,
        _exact: bool,
    ) -> Result<Vec<(f32, ForeignPoint)>, CallError> {
        let body = json!({
            "query_embeddings": [vector],
            "n_results": limit,
            "include": ["documents", "metadatas", "distances"],
        });
        let answer = self.request(request.collection, &Method::POST, "query", Some(&body))?;
        let answer = answer.unwrap_or_default();
        let count = answer["ids"][0].as_array().map_or(0, Vec::len);
        let found = (0..count).map(|at| {
            let distance = answer["distances"][0][at].as_f64().unwrap_or(f64::INFINITY);
            let point = point(request.fields, &|column| &answer[column][0][at]);
            ((1.0 - distance) as f32, point)
        });
        Ok(found.collect())
    }
}
