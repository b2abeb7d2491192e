//! `kokeshi eval`: figures of sets with known answers.

use crate::Sandbox;
use serde_json::{Value, json};
use std::fs;

const DOCUMENTS: [(&str, &str); 4] = [
    ("lamp", "The lamp in the hall is too dark. A brighter bulb helps."),
    ("ship", "Our parcels leave by ship. Delivery to the islands takes three days."),
    ("tea", "Green tea must not boil. Pour it at eighty degrees."),
    ("train", "The night train to Vienna leaves at ten."),
];

/// A set `set` of [`DOCUMENTS`], whose queries are parts of them.
fn set(qrels: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("set/qrels")).expect("a folder");
    let rows = |rows: Vec<Value>| rows.iter().map(|row| format!("{row}\n")).collect::<String>();
    let corpus = DOCUMENTS.map(|(id, text)| json!({"_id": id, "title": "", "text": text, "x": 1}));
    sandbox.write("set/corpus.jsonl", rows(corpus.to_vec()));
    let query = |(id, text): (&str, &str)| json!({"_id": format!("q-{id}"), "text": &text[..20]});
    sandbox.write("set/queries.jsonl", rows(DOCUMENTS.map(query).to_vec()));
    sandbox.write("set/qrels.tsv", qrels);
    sandbox
}

#[test]
fn queries_in_the_words_of_their_answers_rank_them_first() {
    let sandbox =
        set("query-id\tcorpus-id\tscore\nq-lamp\tlamp\t1\nq-tea\ttea\t2\nq-ship\ttea\t0\n");
    let answer = sandbox.run(["eval", "set", "--json"]).json();
    let found = &answer["sets"][0];
    assert_eq!(
        (&found["name"], &found["documents"], &found["queries"]),
        (&json!("set"), &json!(4), &json!(2))
    );
    let ways = found["ways"].as_array().expect("ways");
    assert_eq!(ways.len(), 4);
    for way in ways {
        assert_eq!((&way["ndcg_10"], &way["recall_10"]), (&json!(1.0), &json!(1.0)), "{way}");
        assert_eq!(way["chunks"], 4);
    }
    assert_eq!(answer["means"], json!([]));
    let two = sandbox.run(["eval", "set", "set", "--late-chunking", "true"]);
    let lines: Vec<&str> = two.quiet().lines().collect();
    assert!(
        lines[0].starts_with("starter, 384 dimensions, f16; chunks: structure:256"),
        "{lines:?}"
    );
    assert!(lines[3].starts_with("set") && lines[3].ends_with("1.0000     1.0000"), "{lines:?}");
    assert!(lines[7].starts_with("mean") && lines[7].contains("late chunking, dense"), "{lines:?}");
    assert!(!two.text().contains("each chunk alone"));
}

#[test]
fn a_wrong_answer_has_the_gain_of_its_rank_and_an_absent_one_is_a_warning() {
    // The only answer to the question about the lamp is not there; the other has grade 1 where 3 is
    // best.
    let sandbox = set("q-lamp\tnowhere\t1\nq-tea\ttea\t1\nq-tea\tgone\t3\n");
    let run = sandbox.run(["eval", "set", "--json", "--late-chunking", "false"]);
    assert!(run.stderr.contains("2 of the answers are not in the corpus"), "{}", run.stderr);
    let answer: Value = serde_json::from_slice(&run.stdout).expect("JSON");
    let way = &answer["sets"][0]["ways"][0];
    let ideal = 3.0 + 1.0 / 3_f64.log2();
    let ndcg = way["ndcg_10"].as_f64().expect("a number");
    assert!((ndcg - (0.0 + 1.0 / ideal) / 2.0).abs() < 1e-9, "{way}");
    assert_eq!(way["recall_10"], 0.25);
}

#[test]
fn a_set_that_cannot_be_read_is_refused_with_the_line() {
    let error = |sandbox: &Sandbox| sandbox.run(["eval", "set"]).failure(4).to_owned();
    assert!(error(&Sandbox::new()).contains("corpus.jsonl"));
    let sandbox = set("q-lamp\tlamp\t1\n");
    for (qrels, part) in [
        ("q-lamp\tlamp\t1\nq-lamp lamp 1\n", "line 2 of "),
        ("q-lamp\tlamp\t0\n", "no query has an answer"),
        ("q-none\tlamp\t1\n", "query `q-none`"),
    ] {
        sandbox.write("set/qrels.tsv", qrels);
        assert!(error(&sandbox).contains(part), "{part}: {}", error(&sandbox));
    }
    fs::remove_file(sandbox.path("set/qrels.tsv")).expect("a removed file");
    assert!(error(&sandbox).contains("hint: a set has `corpus.jsonl`"), "{}", error(&sandbox));
    sandbox.write("set/qrels/test.tsv", "q-lamp\tlamp\t1\n");
    for (corpus, part) in [
        ("{\"_id\": \"a\", \"text\": \"x\"}\n{\"_id\": \"a\"}\n", "`_id` \"a\" occurs twice"),
        ("{\"text\": \"x\"}\n", "has no `_id`"),
        ("{\"_id\": \"a\", \"text\": \"\"}\n", "has a text"),
        ("{\n", "line 1 of "),
    ] {
        sandbox.write("set/corpus.jsonl", corpus);
        assert!(error(&sandbox).contains(part), "{part}: {}", error(&sandbox));
    }
}
