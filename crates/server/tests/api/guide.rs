//! The requests of the published v2 → v3 migration guide, verbatim, on tiny checkpoints under the
//! names of the released models.

use crate::{Server, folder, v2};
use kokeshi_server::Config;
use kokeshi_testkit::json;
use serde_json::Value;

/// Collects all bodies with a `model`, with the guide's placeholders filled in.
fn collect_bodies(value: &Value, faq: &Value, all: &mut Vec<Value>) {
    if value.get("model").is_some() {
        let mut body = value.clone();
        match body["input"].as_str() {
            Some("<knowledge_base>") => body["input"] = faq["knowledge_base"].clone(),
            _ if body["input"][0] == "<query>" => body["input"][0] = faq["query"].clone(),
            _ => {}
        }
        all.push(body);
    } else if let Some(fields) = value.as_object() {
        fields.values().for_each(|value| collect_bodies(value, faq, all));
    }
}

/// A body with `dimensions` for a tiny checkpoint instead of the released model.
fn scale_dimensions(body: &Value, hidden: u64) -> Value {
    let mut body = body.clone();
    if body["dimensions"].is_u64() {
        // The guide keeps 768 of 1024.
        body["dimensions"] = (hidden * 3 / 4).into();
    }
    body
}

#[test]
fn the_requests_of_the_guide_work_verbatim() {
    let guide = json("guide-examples.json");
    let mut bodies = Vec::new();
    collect_bodies(&guide, &guide["faq"], &mut bodies);
    assert_eq!(bodies.len(), 10);
    let v3 = folder("jina-embeddings-v3", "v3-tiny/original");
    let german = folder("jina-embeddings-v2-base-de", "v2-tiny/code_bpe");
    let server = Server::serving(vec![v3, v2(), german], Config::default());
    let models = server.get("/v1/models").success();
    for body in bodies {
        let name = body["model"].as_str().expect("a model");
        let models = models["data"].as_array().expect("models");
        let model = models.iter().find(|model| model["id"] == name).expect(name);
        let hidden = model["dimensions"].as_u64().expect("a width");
        let body = scale_dimensions(&body, hidden);
        let vectors = server.vectors(&body);
        assert_eq!(vectors.len(), body["input"].as_array().expect("a list").len(), "{body}");
        let width = body["dimensions"].as_u64().unwrap_or(hidden) as usize;
        for vector in vectors {
            assert_eq!(vector.len(), width, "{body}");
            let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            assert!((length - 1.0).abs() < 1e-5, "{length}");
        }
    }
}
