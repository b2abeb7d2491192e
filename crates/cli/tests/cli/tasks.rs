//! `kokeshi cluster`, `classify` and `dedupe`: groups, classes, duplicates.

use crate::Sandbox;
use serde_json::{Value, json};
use std::fs;

const MAIL: &str = "My battery does not hold a charge.\nHas my order been shipped?\n\
    When will my order arrive?\nThe battery is empty after an hour.\nWhere is my order?\n\
    How do I charge the battery?\n";
const TRAIN: &str = "text,label\nHow do I charge the battery?,battery\nMy battery is dead.,battery\n\
    The battery needs a new cell.,battery\nThe delivery is three days late.,delivery\n\
    When is my order delivered?,delivery\nMy package has not arrived.,delivery\n";
const LINES: [&str; 2] = ["--input-format", "lines"];

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("mail.txt", MAIL);
    sandbox.write("train.csv", TRAIN);
    sandbox
}

/// The best label of each text.
#[track_caller]
fn labels(answer: &Value) -> Vec<&str> {
    let texts = answer["texts"].as_array().expect("texts");
    texts.iter().map(|text| text["predictions"][0]["label"].as_str().expect("a label")).collect()
}

const EXPECTED: [&str; 6] = ["battery", "delivery", "delivery", "battery", "delivery", "battery"];

#[test]
fn labels_that_only_look_alike_are_errors_that_name_the_row() {
    let sandbox = Sandbox::new();
    for (label, expected) in [
        ("", "the label \"\" of line 3 of train.csv is empty"),
        (" ", "the label \" \" of line 3 of train.csv is empty"),
        ("light ", "the label \"light \" of line 3 of train.csv begins or ends with a space"),
    ] {
        sandbox.write("train.csv", format!("text,label\na lamp,light\na bulb,{label}\nx,y\n"));
        let run = sandbox.run(["classify", "--train", "train.csv", "a text"]);
        assert!(run.failure(4).contains(expected), "{}", run.stderr);
    }
    let run = sandbox.run(["classify", "--labels", "light, light", "a text"]);
    assert!(run.failure(2).contains("--labels has `light` twice"), "{}", run.stderr);
}

#[test]
fn labels_are_chosen_by_their_meaning() {
    let sandbox = sandbox();
    let arguments = ["classify", "--labels", "battery,delivery", "--input", "mail.txt", "--json"];
    let answer = sandbox.run(arguments.iter().chain(&LINES)).json();
    assert_eq!(labels(&answer), EXPECTED, "{answer}");
    let run = sandbox.run(arguments[..5].iter().chain(&LINES));
    let first = run.quiet().lines().next().expect("a line");
    assert!(first.starts_with("battery "), "{first}");
    assert!(first.ends_with("My battery does not hold a charge."), "{first}");
}

#[test]
fn a_saved_classifier_predicts_like_the_trained_one() {
    let sandbox = sandbox();
    let texts = ["--input", "mail.txt", "--json"];
    let run = sandbox.run(
        ["classify", "--train", "train.csv", "--save", "c.json"].iter().chain(&texts).chain(&LINES),
    );
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    let trained: Value = serde_json::from_slice(&run.stdout).expect("JSON");
    assert_eq!(labels(&trained), EXPECTED, "{trained}");
    let saved = ["classify", "--classifier", "c.json"];
    let answer = sandbox.run(saved.iter().chain(&texts).chain(&LINES)).json();
    assert_eq!(answer["texts"], trained["texts"]);
    let whole = fs::read_to_string(sandbox.path("c.json")).expect("the classifier");
    sandbox.write("c.json", whole.replacen("\"battery\"", "\"bakery\"", 1));
    let refused = sandbox.run(saved.iter().chain(&texts).chain(&LINES));
    assert!(refused.failure(4).contains("checksum"), "{}", refused.stderr);
    sandbox.write("c.json", &whole[..whole.len() / 2]);
    let refused = sandbox.run(saved.iter().chain(&texts).chain(&LINES));
    assert!(refused.failure(4).contains("cannot use c.json as a classifier"), "{}", refused.stderr);
}

#[test]
fn truth_adds_accuracy_and_a_confusion_matrix() {
    let sandbox = sandbox();
    let row = |(text, label): (&str, &str)| json!({ "text": text, "wanted": label });
    let mut rows: Vec<Value> = MAIL.lines().zip(EXPECTED).map(row).collect();
    rows[0]["wanted"] = "delivery".into();
    let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
    sandbox.write("mail.jsonl", rows);
    let arguments =
        ["classify", "--train", "train.csv", "--input", "mail.jsonl", "--truth", "wanted"];
    let run = sandbox.run(arguments);
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    assert!(run.text().contains("accuracy 0.8333"), "{}", run.text());
    assert!(run.text().contains("over 6 texts and 2 classes"), "{}", run.text());
}

#[test]
fn texts_of_one_kind_are_one_group() {
    let sandbox = sandbox();
    let arguments = ["cluster", "--input", "mail.txt", "-k", "2", "--json"];
    let answer = sandbox.run(arguments.iter().chain(&LINES)).json();
    let groups = answer["texts"].as_array().expect("texts").iter();
    let groups: Vec<u64> = groups.map(|text| text["group"].as_u64().expect("a group")).collect();
    for (group, expected) in groups.iter().zip(EXPECTED) {
        assert_eq!(group == &groups[0], expected == EXPECTED[0], "{groups:?}");
    }
    let sizes: Vec<&Value> =
        answer["groups"].as_array().expect("groups").iter().map(|group| &group["size"]).collect();
    assert_eq!(sizes, [3, 3]);
    let many = sandbox.run(["cluster", "--input", "mail.txt", "-k", "7"].iter().chain(&LINES));
    assert!(many.failure(4).contains("use a smaller number with -k"), "{}", many.stderr);
}

#[test]
fn duplicates_are_dropped_and_the_rest_is_unchanged() {
    let sandbox = Sandbox::new();
    let lines = [
        "Where is my parcel?",
        "The lamp is too dark.",
        "Where is my parcel?",
        "The lamp is far too dark.",
        "How do I return the lamp?",
    ];
    sandbox.write("lines.txt", lines.join("\n"));
    let arguments = ["dedupe", "--input", "lines.txt", "--threshold", "0.8"];
    let run = sandbox.run(arguments.iter().chain(&LINES));
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    let kept = [lines[0], lines[1], lines[4]];
    assert_eq!(run.text().lines().collect::<Vec<_>>(), kept);
    assert!(
        run.stderr.contains("5 texts: 3 kept; dropped 1 copy and 1 near duplicate"),
        "{}",
        run.stderr
    );
    let run = sandbox.run(arguments.iter().chain(&LINES).chain(&["--json", "-o", "kept.txt"]));
    let answer: Value = serde_json::from_slice(&run.stdout).expect("JSON");
    assert_eq!(
        fs::read_to_string(sandbox.path("kept.txt")).expect("a file").lines().collect::<Vec<_>>(),
        kept
    );
    assert_eq!(answer["threshold"], 0.8);
    let near = &answer["groups"][1];
    assert_eq!((&near["kept"]["index"], &near["dropped"][0]["index"]), (&1.into(), &3.into()));
    let cosine = near["dropped"][0]["cosine"].as_f64().expect("a cosine");
    assert!((0.8..1.0).contains(&cosine), "{answer}");
    assert_eq!(answer["groups"][0]["dropped"][0]["copy"], true);
}

#[test]
fn kept_lines_keep_their_line_breaks() {
    let sandbox = Sandbox::new();
    for (input, wanted) in [
        ("one lamp\r\none lamp\r\ntwo ships\n\r\nlast", "one lamp\r\ntwo ships\n\r\nlast"),
        ("\u{feff}one lamp\r\ntwo ships\r\n", "one lamp\r\ntwo ships\r\n"),
        ("last\nlast", "last\n"),
    ] {
        sandbox.write("lines.txt", input);
        let run = sandbox.run(["dedupe", "--input", "lines.txt"].iter().chain(&LINES));
        assert_eq!((run.status, run.text()), (Some(0), wanted), "{input:?}");
    }
    sandbox.write("a.txt", "one lamp");
    sandbox.write("b.txt", "two ships\n");
    let two = ["dedupe", "--input", "a.txt", "--input", "b.txt"];
    assert_eq!(sandbox.run(two.iter().chain(&LINES)).text(), "one lamp\ntwo ships\n");
    let rows = "\"a lamp\"\r\n{\"text\": \"two  ships\"}\r\n\"three\"";
    sandbox.write("rows.jsonl", rows);
    assert_eq!(sandbox.run(["dedupe", "--input", "rows.jsonl"]).text(), rows);
}

#[test]
fn an_empty_input_is_an_error() {
    let sandbox = Sandbox::new();
    for command in [vec!["cluster"], vec!["dedupe"], vec!["classify", "--labels", "a,b"]] {
        let run = sandbox.run(&command);
        assert!(
            run.failure(4).contains("no texts") || run.stderr.contains("no text"),
            "{}",
            run.stderr
        );
    }
    let run = sandbox.run(["classify", "x"]);
    assert!(run.failure(2).contains("--labels"), "{}", run.stderr);
}
