//! `/v1/classify`, `/v1/train`, `/v1/segment`, `/v1/similarity`.

use crate::{Server, vector};
use kokeshi::cosine;
use kokeshi_server::{Config, Timeouts};
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn scores_of_labels_are_the_softmax_of_their_cosines() {
    let server = Server::start();
    let hosted = kokeshi_testkit::json("hosted/hosted_classify.json");
    let (input, labels) = (&hosted["request"]["input"], &hosted["request"]["labels"]);
    let reply = server.post("/v1/classify", &json!({"input": input, "labels": labels})).success();
    let embed = |texts: &Value| server.vectors(&json!({"input": texts, "task": "classification"}));
    let (inputs, label_vectors) = (embed(input), embed(labels));
    assert_eq!(reply["data"].as_array().map(Vec::len), Some(inputs.len()));
    for (index, input) in inputs.iter().enumerate() {
        let entry = &reply["data"][index];
        assert_eq!((&entry["object"], &entry["index"]), (&json!("classification"), &json!(index)));
        let powers: Vec<f64> =
            label_vectors.iter().map(|label| f64::from(cosine(input, label)).exp()).collect();
        let sum: f64 = powers.iter().sum();
        let mut best = (0.0, Value::Null);
        for (number, power) in powers.iter().enumerate() {
            let prediction = &entry["predictions"][number];
            assert_eq!(prediction["label"], labels[number]);
            let score = prediction["score"].as_f64().expect("a score");
            assert!((score - power / sum).abs() < 1e-6);
            if score > best.0 {
                best = (score, prediction["label"].clone());
            }
        }
        assert_eq!((entry["score"].as_f64(), &entry["prediction"]), (Some(best.0), &best.1));
    }
}

/// The formula must be able to produce the scores of the hosted service. If they are a softmax of
/// three cosines, the logarithms of their ratios are differences of cosines, which are within ±2.
#[test]
fn hosted_scores_can_be_a_softmax_of_cosines() {
    let hosted = kokeshi_testkit::json("hosted/hosted_classify.json");
    for entry in hosted["response"]["data"].as_array().expect("data") {
        let scores = entry["predictions"].as_array().expect("predictions").iter();
        let scores: Vec<f64> = scores.map(|one| one["score"].as_f64().expect("a score")).collect();
        assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-6);
        for score in &scores {
            assert!((score / scores[0]).ln().abs() < 1.0, "{scores:?}");
        }
    }
}

#[test]
fn each_group_of_labels_is_a_separate_question() {
    let server = Server::start();
    let groups = json!({"topic": ["weather", "sport"], "mood": ["glad", "sad", "angry"]});
    let body = json!({"input": ["It rains."], "labels": groups});
    let reply = server.post("/v1/classify", &body).success();
    let predictions = &reply["data"][0]["predictions"];
    for (name, labels) in [("topic", 2), ("mood", 3)] {
        let scores = predictions[name]["predictions"].as_array().expect("predictions");
        assert_eq!(scores.len(), labels);
        let sum: f64 = scores.iter().map(|one| one["score"].as_f64().expect("a score")).sum();
        assert!((sum - 1.0).abs() < 1e-6);
    }
    let none = json!({"input": "x", "labels": []});
    server.post("/v1/classify", &none).refusal(400, "INPUT_INVALID_LABELS");
    let many: Vec<String> = (0..513).map(|number| number.to_string()).collect();
    let many = json!({"input": "x", "labels": many});
    server.post("/v1/classify", &many).refusal(400, "INPUT_LABEL_LIMIT_EXCEEDED");
    server.post("/v1/classify", &json!({"input": "x"})).refusal(422, "INPUT_VALIDATION");
}

#[test]
fn a_classifier_is_trained_used_stored_listed_and_deleted() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = || Config { classifiers: Some(folder.path().to_owned()), ..Config::default() };
    let server = Server::with(config());
    let example = |text: &str, label: &str| json!({"text": text, "label": label});
    let weather = ["It rains.", "The sun is shining.", "Snow falls.", "A storm is coming."];
    let sport =
        ["They won the match.", "He scored a goal.", "She ran a marathon.", "The race is on."];
    let examples: Vec<Value> = weather
        .iter()
        .map(|text| example(text, "weather"))
        .chain(sport.iter().map(|text| example(text, "sport")))
        .collect();
    let trained = server.post("/v1/train", &json!({"input": examples, "num_iters": 20})).success();
    assert_eq!(trained["num_samples"], 8);
    let id = trained["classifier_id"].as_str().expect("an id").to_owned();
    drop(server);

    let server = Server::with(config());
    let body = json!({"classifier_id": id, "input": [weather[0], sport[0]]});
    let reply = server.post("/v1/classify", &body).success();
    assert_eq!(reply["data"][0]["prediction"], "weather");
    assert_eq!(reply["data"][1]["prediction"], "sport");
    let more = json!({"classifier_id": id, "input": [example("I ate.", "food"), example("He ate.", "food")]});
    assert_eq!(server.post("/v1/train", &more).success()["num_samples"], 10);
    let list = server.get("/v1/classifiers").success();
    assert_eq!(list[0]["labels"], json!(["weather", "sport", "food"]));
    let path = format!("/v1/classifiers/{id}");
    assert_eq!(server.send("DELETE", &path, &[], b"").status, 204);
    server.send("DELETE", &path, &[], b"").refusal(404, "RESOURCE_NOT_FOUND");
    server.post("/v1/classify", &body).refusal(404, "RESOURCE_NOT_FOUND");
    let one = json!({"input": [example("a", "x"), example("b", "x")]});
    server.post("/v1/train", &one).refusal(400, "INPUT_INVALID_LABELS");
    let outside = json!({"classifier_id": "../../etc/passwd", "input": "x"});
    server.post("/v1/classify", &outside).refusal(404, "RESOURCE_NOT_FOUND");
}

/// A server with a folder for classifiers and this request timeout.
fn trainer(folder: &tempfile::TempDir, request: Duration) -> Server {
    let timeouts = Timeouts { request, ..Timeouts::default() };
    let classifiers = Some(folder.path().to_owned());
    Server::with(Config { classifiers, timeouts, ..Config::default() })
}

fn examples(count: usize, labels: usize) -> Value {
    let example = |number: usize| json!({"text": format!("text {number}"), "label": format!("label {}", number % labels)});
    (0..count).map(example).collect()
}

#[test]
fn a_training_that_is_too_long_is_refused_before_it_begins() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = trainer(&folder, Duration::from_secs(600));
    let train = |input: Value, iterations: usize| {
        server.post("/v1/train", &json!({"input": input, "num_iters": iterations}))
    };
    let refused = train(examples(2000, 500), 1000).refusal(400, "INPUT_TOO_LONG");
    let detail = refused["detail"].as_str().expect("a message");
    let expected = "2000 examples × 500 labels × 1000 iterations are 1000000000; the limit is";
    assert!(detail.starts_with(expected), "{detail}");
    train(examples(2000, 2000), 1).refusal(400, "INPUT_LABEL_LIMIT_EXCEEDED");
    train(examples(4, 2), 1001).refusal(400, "INPUT_INVALID");
    train(examples(2049, 2), 1).refusal(400, "INPUT_TOO_MANY_ITEMS");
    let long = json!([{"text": "a", "label": "x".repeat(1025)}, {"text": "b", "label": "y"}]);
    train(long, 1).refusal(400, "INPUT_INVALID_LABELS");
    let metrics = server.get("/metrics").text();
    assert!(!metrics.contains("kokeshi_texts_total{"), "no text was embedded");
}

#[test]
fn a_training_ends_with_its_request_and_others_have_its_slot() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = trainer(&folder, Duration::from_millis(1500));
    let body = json!({"input": examples(128, 128), "num_iters": 1000});
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    for _ in 0..cores {
        server.post("/v1/train", &body).refusal(504, "SERVICE_TIMEOUT");
    }
    // Long work as well, which would wait for ever if trainings went on.
    let content = "A few words. ".repeat(8000);
    server.post("/v1/segment", &json!({"content": content})).success();
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[test]
fn a_private_classifier_exists_for_its_key_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let api_keys = ["secret-a", "secret-b"].map(str::to_owned).to_vec();
    let classifiers = Some(folder.path().to_owned());
    let server = Server::with(Config { classifiers, api_keys, ..Config::default() });
    let send = |key: &str, method: &str, path: &str, body: &Value| {
        let key = format!("Bearer secret-{key}");
        server.send(method, path, &[("Authorization", &key)], body.to_string().as_bytes())
    };
    let train = |access: &str| {
        let body = json!({"input": examples(4, 2), "access": access});
        let trained = send("a", "POST", "/v1/train", &body).success();
        trained["classifier_id"].as_str().expect("an id").to_owned()
    };
    let [private, public] = ["private", "public"].map(train);
    let listed = |key: &str| {
        let list = send(key, "GET", "/v1/classifiers", &json!({})).success();
        list.as_array().map(Vec::len)
    };
    assert_eq!((listed("a"), listed("b")), (Some(2), Some(1)));
    let classify = |key: &str, id: &str| {
        let body = json!({"classifier_id": id, "input": "text 1"});
        send(key, "POST", "/v1/classify", &body).status
    };
    assert_eq!([classify("a", &private), classify("b", &private)], [200, 404]);
    assert_eq!([classify("a", &public), classify("b", &public)], [200, 200]);
    let more = |key: &str, id: &str, access: &str| {
        let body = json!({"classifier_id": id, "input": examples(4, 2), "access": access});
        send(key, "POST", "/v1/train", &body).status
    };
    assert_eq!(more("b", &private, "public"), 404);
    // Others may train a public one, but not take it away.
    assert_eq!((more("b", &public, "private"), classify("a", &public)), (200, 200));
    let remove = |key: &str, id: &str| {
        send(key, "DELETE", &format!("/v1/classifiers/{id}"), &json!({})).status
    };
    assert_eq!(
        [remove("b", &private), remove("a", &private), remove("b", &public)],
        [404, 204, 204]
    );
}

#[test]
fn an_answer_that_would_repeat_long_labels_very_often_is_refused() {
    let server = Server::start();
    let labels: Vec<String> = (0..512).map(|n| format!("{n} {}", "x".repeat(1000))).collect();
    let body = json!({"input": vec!["a"; 512], "labels": labels});
    let refused = server.post("/v1/classify", &body).refusal(400, "INPUT_LABEL_LIMIT_EXCEEDED");
    let detail = refused["detail"].as_str().expect("a message");
    assert!(detail.contains("512 inputs; the limit is 67108864"), "{detail}");
}

#[test]
fn a_text_that_has_no_steps_is_refused_where_all_of_it_is_needed() {
    let server = Server::v3();
    let letters = "a".repeat((1 << 20) + 1);
    let message = |reply: crate::Reply| {
        let refused = reply.refusal(400, "INPUT_TOO_LONG");
        refused["detail"].as_str().expect("a message").to_owned()
    };
    let segment = message(server.post("/v1/segment", &json!({"content": letters})));
    assert!(segment.starts_with("text 0 has 1048577 bytes without white space"), "{segment}");
    let late = json!({"input": ["a", letters], "late_chunking": true});
    assert!(message(server.post("/v1/embeddings", &late)).starts_with("text 1 has 1048577 bytes"));
    let left = json!({"inputs": letters, "truncate": true, "truncation_direction": "left"});
    assert_eq!(server.post("/embed", &left).status, 400);
    let right = json!({"input": letters, "truncate": true});
    server.post("/v1/embeddings", &right).success();
    // Chinese lines end in marks that are not letters.
    let lines = "灯塔看守人写了一封短信。\n".repeat((1 << 21) / 37);
    server.post("/v1/segment", &json!({"content": lines})).success();
}

#[test]
fn a_classifier_in_the_first_format_is_used_and_trained_further() {
    let folder = tempfile::tempdir().expect("a folder");
    let id = "0123456789abcdef0123456789abcdef";
    let width = 384;
    let row = |weight: f64| vec![weight; width];
    let file = json!({
        "classifier_id": id, "model": "starter", "access": "private", "num_samples": 4,
        "updated": 1_700_000_000, "labels": ["a", "b"], "weights": [row(0.5), row(-0.5)],
        "bias": [10.0, 0.0]
    });
    let path = folder.path().join(format!("{id}.json"));
    std::fs::write(&path, file.to_string()).expect("a file");
    let classifiers = Some(folder.path().to_owned());
    let server = Server::with(Config { classifiers, ..Config::default() });
    let body = json!({"classifier_id": id, "input": "a text"});
    let reply = server.post("/v1/classify", &body).success();
    assert_eq!(reply["data"][0]["prediction"], "a");
    let listed = server.get("/v1/classifiers").success();
    assert_eq!((&listed[0]["access"], &listed[0]["num_samples"]), (&json!("private"), &json!(4)));
    let examples = json!([{"text": "a", "label": "a"}, {"text": "b", "label": "b"}]);
    let more = json!({"classifier_id": id, "input": examples});
    assert_eq!(server.post("/v1/train", &more).success()["num_samples"], 6);
    let stored = std::fs::read_to_string(&path).expect("a file");
    assert!(stored.starts_with("{\"format\":\"kokeshi classifier\""), "{stored}");
    assert_eq!(server.get("/v1/classifiers").success()[0]["access"], "private");
}

#[test]
fn without_a_folder_training_is_off() {
    let server = Server::start();
    let examples = json!([{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]);
    server.post("/v1/train", &json!({"input": examples})).refusal(404, "RESOURCE_NOT_FOUND");
}

#[test]
fn chunks_are_at_their_positions() {
    let server = Server::start();
    let text = "Berlin ist groß. 灯塔看守人。 It rains.\n\nAnother paragraph.";
    let body = json!({"content": text, "chunking": "sentences", "return_chunks": true});
    let reply = server.post("/v1/segment", &body).success();
    let positions = reply["chunk_positions"].as_array().expect("positions");
    assert_eq!((positions.len(), &reply["num_chunks"]), (4, &json!(4)));
    for (position, chunk) in positions.iter().zip(reply["chunks"].as_array().expect("chunks")) {
        let bound = |index: usize| position[index].as_u64().expect("a position") as usize;
        let expected: String = text.chars().skip(bound(0)).take(bound(1) - bound(0)).collect();
        assert_eq!(*chunk, expected);
    }
    assert_eq!(reply["num_tokens"], reply["usage"]["tokens"]);
    let rockets = json!({"content": "🚀. 🚀.", "chunking": "sentences", "offsets": "utf16"});
    let reply = server.post("/v1/segment", &rockets).success();
    assert_eq!(reply["chunk_positions"], json!([[0, 3], [4, 7]]));
    let long = "Seven words stand in this very sentence. ".repeat(100);
    for length in [1, 50, 300, 1000] {
        let body = json!({"content": long, "max_chunk_length": length, "return_chunks": true});
        let reply = server.post("/v1/segment", &body).success();
        let chunks = reply["chunks"].as_array().expect("chunks");
        let lengths = chunks.iter().map(|chunk| chunk.as_str().expect("text").chars().count());
        let limit = if length == 1 { 20 } else { length };
        assert!(lengths.max().is_some_and(|longest| longest <= limit), "{length}");
    }
    let wrong = json!({"content": text, "chunking": "bytes"});
    server.post("/v1/segment", &wrong).refusal(422, "INPUT_VALIDATION");
}

#[test]
fn similarities_are_cosines() {
    let server = Server::start();
    let texts = json!(["a cat", "a kitten", "a tax return"]);
    let vectors = server.vectors(&json!({"input": texts, "task": "text-matching"}));
    let reply = server.post("/v1/similarity", &json!({"input": texts})).success();
    for (index, one) in vectors.iter().enumerate() {
        let expected: Vec<f32> = vectors.iter().map(|other| cosine(one, other)).collect();
        assert_eq!(vector(&reply["data"][index]["similarities"]), expected);
    }
    let body = json!({"input": texts, "query": "a small cat"});
    let ranked = server.post("/v1/similarity", &body).success();
    let score = |index: usize| ranked["data"][index]["similarity"].as_f64().expect("a score");
    assert!(score(0) > score(2) && score(1) > score(2), "{ranked}");
}
