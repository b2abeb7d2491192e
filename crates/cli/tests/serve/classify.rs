//! `/v1/classify`, `/v1/train`, `/v1/segment`, `/v1/similarity`.

use crate::{Server, vector};
use kokeshi::cosine;
use serde_json::{Value, json};

#[test]
fn labels_score_by_the_softmax_of_their_cosines() {
    let server = Server::start(&[]);
    let hosted = kokeshi_testkit::json("hosted/hosted_classify.json");
    let (input, labels) = (&hosted["request"]["input"], &hosted["request"]["labels"]);
    let answer = server.post("/v1/classify", &json!({"input": input, "labels": labels})).good();
    let embed = |texts: &Value| server.vectors(&json!({"input": texts, "task": "classification"}));
    let (inputs, label_vectors) = (embed(input), embed(labels));
    assert_eq!(answer["data"].as_array().map(Vec::len), Some(inputs.len()));
    for (index, input) in inputs.iter().enumerate() {
        let entry = &answer["data"][index];
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

/// What the formula must be able to say: scores of the hosted service are a softmax of three
/// cosines, so the logarithms of their ratios are differences of cosines and lie within ±2.
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
fn groups_of_labels_are_questions_of_their_own() {
    let server = Server::start(&[]);
    let groups = json!({"topic": ["weather", "sport"], "mood": ["glad", "sad", "angry"]});
    let body = json!({"input": ["It rains."], "labels": groups});
    let answer = server.post("/v1/classify", &body).good();
    let predictions = &answer["data"][0]["predictions"];
    for (name, labels) in [("topic", 2), ("mood", 3)] {
        let scores = predictions[name]["predictions"].as_array().expect("predictions");
        assert_eq!(scores.len(), labels);
        let sum: f64 = scores.iter().map(|one| one["score"].as_f64().expect("a score")).sum();
        assert!((sum - 1.0).abs() < 1e-6);
    }
    let none = json!({"input": "x", "labels": []});
    server.post("/v1/classify", &none).refused(400, "INPUT_INVALID_LABELS");
    let many: Vec<String> = (0..513).map(|number| number.to_string()).collect();
    let many = json!({"input": "x", "labels": many});
    server.post("/v1/classify", &many).refused(400, "INPUT_LABEL_LIMIT_EXCEEDED");
    server.post("/v1/classify", &json!({"input": "x"})).refused(422, "INPUT_VALIDATION");
}

#[test]
fn a_classifier_is_trained_used_kept_listed_and_deleted() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("a path in UTF-8");
    let server = Server::start(&["--classifiers", path]);
    let example = |text: &str, label: &str| json!({"text": text, "label": label});
    let weather = ["It rains.", "The sun is shining.", "Snow falls.", "A storm is coming."];
    let sport =
        ["They won the match.", "He scored a goal.", "She ran a marathon.", "The race is on."];
    let examples: Vec<Value> = weather
        .iter()
        .map(|text| example(text, "weather"))
        .chain(sport.iter().map(|text| example(text, "sport")))
        .collect();
    let trained = server.post("/v1/train", &json!({"input": examples, "num_iters": 20})).good();
    assert_eq!(trained["num_samples"], 8);
    let id = trained["classifier_id"].as_str().expect("an id").to_owned();
    drop(server);

    let server = Server::start(&["--classifiers", path]);
    let body = json!({"classifier_id": id, "input": [weather[0], sport[0]]});
    let answer = server.post("/v1/classify", &body).good();
    assert_eq!(answer["data"][0]["prediction"], "weather");
    assert_eq!(answer["data"][1]["prediction"], "sport");
    let more = json!({"classifier_id": id, "input": [example("I ate.", "food"), example("He ate.", "food")]});
    assert_eq!(server.post("/v1/train", &more).good()["num_samples"], 10);
    let list = server.get("/v1/classifiers").good();
    assert_eq!(list[0]["labels"], json!(["weather", "sport", "food"]));
    let place = format!("/v1/classifiers/{id}");
    assert_eq!(server.send("DELETE", &place, &[], b"").status, 204);
    server.send("DELETE", &place, &[], b"").refused(404, "RESOURCE_NOT_FOUND");
    server.post("/v1/classify", &body).refused(404, "RESOURCE_NOT_FOUND");
    let one = json!({"input": [example("a", "x"), example("b", "x")]});
    server.post("/v1/train", &one).refused(400, "INPUT_INVALID_LABELS");
    let outside = json!({"classifier_id": "../../etc/passwd", "input": "x"});
    server.post("/v1/classify", &outside).refused(404, "RESOURCE_NOT_FOUND");
}

#[test]
fn without_a_folder_training_is_off() {
    let server = Server::start(&[]);
    let examples = json!([{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]);
    server.post("/v1/train", &json!({"input": examples})).refused(404, "RESOURCE_NOT_FOUND");
}

#[test]
fn chunks_of_a_text_are_where_it_says() {
    let server = Server::start(&[]);
    let text = "Berlin ist groß. 灯塔看守人。 It rains.\n\nAnother paragraph.";
    let body = json!({"content": text, "chunking": "sentences", "return_chunks": true});
    let answer = server.post("/v1/segment", &body).good();
    let positions = answer["chunk_positions"].as_array().expect("positions");
    assert_eq!((positions.len(), &answer["num_chunks"]), (4, &json!(4)));
    for (position, chunk) in positions.iter().zip(answer["chunks"].as_array().expect("chunks")) {
        let place = |end: usize| position[end].as_u64().expect("a place") as usize;
        let cut: String = text.chars().skip(place(0)).take(place(1) - place(0)).collect();
        assert_eq!(*chunk, cut);
    }
    assert_eq!(answer["num_tokens"], answer["usage"]["tokens"]);
    let long = "Seven words stand in this very sentence. ".repeat(100);
    for length in [1, 50, 300, 1000] {
        let body = json!({"content": long, "max_chunk_length": length, "return_chunks": true});
        let answer = server.post("/v1/segment", &body).good();
        let chunks = answer["chunks"].as_array().expect("chunks");
        let lengths = chunks.iter().map(|chunk| chunk.as_str().expect("text").chars().count());
        let limit = if length == 1 { 20 } else { length };
        assert!(lengths.max().is_some_and(|longest| longest <= limit), "{length}");
    }
    let wrong = json!({"content": text, "chunking": "bytes"});
    server.post("/v1/segment", &wrong).refused(422, "INPUT_VALIDATION");
}

#[test]
fn similarities_are_cosines() {
    let server = Server::start(&[]);
    let texts = json!(["a cat", "a kitten", "a tax return"]);
    let vectors = server.vectors(&json!({"input": texts, "task": "text-matching"}));
    let answer = server.post("/v1/similarity", &json!({"input": texts})).good();
    for (index, one) in vectors.iter().enumerate() {
        let wanted: Vec<f32> = vectors.iter().map(|other| cosine(one, other)).collect();
        assert_eq!(vector(&answer["data"][index]["similarities"]), wanted);
    }
    let body = json!({"input": texts, "query": "a small cat"});
    let ranked = server.post("/v1/similarity", &body).good();
    let score = |index: usize| ranked["data"][index]["similarity"].as_f64().expect("a score");
    assert!(score(0) > score(2) && score(1) > score(2), "{ranked}");
}
