//! `kokeshi search`: the results, and how they are shown.

use crate::Sandbox;
use crate::index::notes;

/// `notes`, indexed.
fn indexed(options: &[&str]) -> Sandbox {
    let sandbox = notes();
    let run = sandbox.run(["index", "notes"].iter().chain(options));
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    sandbox
}

const QUERY: &str = "Is the lamp in the hall too dark?";

#[test]
fn a_result_has_its_file_lines_score_and_best_sentence() {
    let sandbox = indexed(&[]);
    let run = sandbox.run(["search", QUERY, "notes"]);
    let lines: Vec<&str> = run.quiet().lines().collect();
    assert!(lines[0].starts_with("notes/lamp.md:1-7  0."), "{lines:?}");
    assert!(lines[1].contains("The lamp in the hall is too dark."), "{lines:?}");
    assert!(run.text().contains("notes/ship.txt:1  "), "{lines:?}");
    let answer = sandbox.run(["search", QUERY, "notes", "--json"]).json();
    let hits = answer["hits"].as_array().expect("hits");
    assert_eq!((&answer["query"], &answer["model"]), (&QUERY.into(), &"starter".into()));
    assert_eq!(hits[0]["path"], "notes/lamp.md");
    assert_eq!(hits[0]["lines"], serde_json::json!([1, 7]));
    assert_eq!(hits[0]["best"], "The lamp in the hall is too dark.");
    let text = hits[0]["text"].as_str().expect("a text");
    let bytes = hits[0]["bytes"].as_array().expect("a range");
    let at = |end: usize| bytes[end].as_u64().expect("a number") as usize;
    assert_eq!(text, &crate::index::LAMP[at(0)..at(1)]);
    assert!(hits.is_sorted_by(|a, b| a["score"].as_f64() >= b["score"].as_f64()));
}

#[test]
fn scores_are_the_cosines_of_the_two_tasks() {
    let sandbox = indexed(&["--storage", "f32", "--late-chunking", "false"]);
    let hits = sandbox.run(["search", QUERY, "notes", "--json"]).json();
    let hit =
        hits["hits"].as_array().expect("hits").iter().find(|hit| hit["path"] == "notes/ship.txt");
    let vector = |task: &str, text: &str| {
        crate::vector(&sandbox.run(["embed", "--task", task, text]).jsonl()[0])
    };
    let query = vector("retrieval.query", QUERY);
    let passage = vector("retrieval.passage", crate::index::SHIP.trim());
    let cosine: f32 = query.iter().zip(&passage).map(|(a, b)| a * b).sum();
    let score = hit.expect("a hit")["score"].as_f64().expect("a score") as f32;
    assert!((score - cosine).abs() < 1e-5, "{score} {cosine}");
}

#[test]
fn results_can_be_limited_in_every_way_and_no_result_is_status_1() {
    let sandbox = indexed(&[]);
    let count = |options: &[&str]| {
        let run = sandbox.run(["search", QUERY, "notes", "--json"].iter().chain(options));
        let json: serde_json::Value = serde_json::from_slice(&run.stdout).expect("JSON");
        let count = json["hits"].as_array().expect("hits").len();
        assert_eq!(run.status, Some(i32::from(count == 0)), "{options:?}");
        count
    };
    assert_eq!(count(&[]), 2);
    assert_eq!(count(&["--limit", "1"]), 1);
    assert_eq!(count(&["--path", "*.md"]), 1);
    assert_eq!(count(&["--path", "!*.md"]), 1);
    assert_eq!(count(&["--path", "*.rs"]), 0);
    assert_eq!(count(&["--where", "lang=de"]), 0);
    assert_eq!(count(&["--min-score", "1.1"]), 0);
    assert_eq!(count(&["--min-score", "-1"]), 2);
    assert_eq!(count(&["--hybrid"]), 2);
    let within = sandbox.run(["search", QUERY, "notes/ship.txt", "-l"]);
    assert_eq!(within.quiet(), "notes/ship.txt\n");
    let none = sandbox.run(["search", QUERY, "notes", "--path", "*.rs"]);
    assert!(none.failure(1).contains("nothing found"), "{}", none.stderr);
}

#[test]
fn each_path_is_printed_once() {
    let sandbox = indexed(&["--chunk", "sentences"]);
    let run = sandbox.run(["search", QUERY, "notes", "--files-with-matches"]);
    assert_eq!(run.quiet(), "notes/lamp.md\nnotes/ship.txt\n");
    let run = sandbox.run(["search", QUERY, "notes", "-l", "-n", "1"]);
    assert_eq!(run.quiet(), "notes/lamp.md\n");
}

#[test]
fn a_fused_score_is_the_sum_of_its_shares() {
    let sandbox = indexed(&[]);
    let run = sandbox.run(["search", "islands parcels", "notes", "--hybrid", "--json"]);
    let hit = run.json()["hits"][0].clone();
    assert_eq!(hit["path"], "notes/ship.txt");
    let rank = |part: &str| hit["why"][part]["rank"].as_f64().expect("a rank");
    let sum = 1.0 / (60.0 + rank("meaning")) + 1.0 / (60.0 + rank("words"));
    assert!((hit["score"].as_f64().expect("a score") - sum).abs() < 1e-6);
    let run = sandbox.run(["search", "islands parcels", "notes", "--hybrid", "--why"]);
    assert!(run.quiet().contains("words: rank 1, BM25 "), "{}", run.text());
    assert!(run.text().contains(" adds 0.0164 ("), "{}", run.text());
}

#[test]
fn a_short_list_finds_what_the_full_scan_finds() {
    let sandbox = indexed(&["--shortlist", "bits", "--chunk", "sentences"]);
    let hits = |options: &[&str]| {
        let run = sandbox.run(["search", QUERY, "notes", "--json"].iter().chain(options));
        run.json()["hits"].clone()
    };
    assert_eq!(hits(&[]), hits(&["--exact"]));
}

#[test]
fn bad_arguments_are_refused_with_a_hint() {
    let sandbox = indexed(&[]);
    let error = |arguments: &[&str], status: i32| {
        let run = sandbox.run(["search"].iter().chain(arguments));
        run.failure(status).to_owned()
    };
    assert!(error(&[" ", "notes"], 4).contains("the query is empty"));
    assert!(error(&["x", "notes", "--where", "lang"], 2).contains("`lang` is not a condition"));
    assert!(error(&["x", "notes", "--path", "["], 4).contains("`[` is not a valid path glob"));
    assert!(error(&["x", "notes", "--collection", "y"], 4).contains("it has `default`"));
    assert!(error(&["x", "absent"], 4).contains("there is no file or folder `absent`"));
}

#[test]
fn a_query_that_is_too_long_is_an_error_that_names_no_option_of_other_commands() {
    let sandbox = indexed(&[]);
    let run = sandbox.run(["search", &"word ".repeat(9000), "notes"]);
    assert_ne!(run.status, Some(0));
    assert!(run.stderr.contains("the query has 90"), "{}", run.stderr);
    assert!(run.stderr.contains("the limit of the model is 8192"), "{}", run.stderr);
    for absent in ["truncate", "late"] {
        assert!(!run.stderr.contains(absent), "{}", run.stderr);
    }
}
