//! `kokeshi embed`: inputs, tasks, chunks.

use crate::{Sandbox, tiny_v3, vector};
use serde_json::{Value, json};

fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6)
}

#[test]
fn arguments_lines_jsonl_and_files_give_the_same_vectors() {
    let sandbox = Sandbox::new();
    let (a, b) = ("The Force will be with you.", "Die Macht wird mit dir sein.");
    sandbox.write("a.txt", a);
    sandbox.write("b.txt", b);
    sandbox.write("both.jsonl", format!("{}\n{}\n", json!({"id": 1, "text": a}), json!(b)));
    let vectors = |run: crate::Run| run.jsonl().iter().map(vector).collect::<Vec<_>>();
    let expected = vectors(sandbox.run(["embed", a, b]));
    assert_eq!(expected.len(), 2);
    assert_ne!(expected[0], expected[1]);
    let lines = format!("{a}\r\n{b}");
    assert_eq!(vectors(sandbox.run_with(["embed"], lines.as_bytes())), expected);
    assert_eq!(vectors(sandbox.run_with(["embed", "--input", "-"], lines.as_bytes())), expected);
    assert_eq!(vectors(sandbox.run(["embed", "--input", "*.txt"])), expected);
    assert_eq!(vectors(sandbox.run(["embed", "--input", "a.txt", "--input", "b.txt"])), expected);
    assert_eq!(vectors(sandbox.run(["embed", "--input", "both.jsonl"])), expected);
}

#[test]
fn each_vector_has_the_origin_of_its_text() {
    let sandbox = Sandbox::new();
    sandbox.write("notes.txt", "one\n\ntwo\n");
    let run = sandbox.run(["embed", "--input", "notes.txt", "--input-format", "lines"]);
    let lines: Vec<_> = run.jsonl().iter().map(|entry| entry["line"].clone()).collect();
    assert_eq!(lines, [1, 2, 3], "a blank line is a text: vector n belongs to line n");
    assert_eq!(run.jsonl()[0]["source"], "notes.txt");
    assert_eq!(sandbox.run(["embed", "one"]).jsonl()[0].get("source"), None);
}

#[test]
fn more_texts_than_a_block_keep_their_order_and_their_vectors() {
    let sandbox = Sandbox::new();
    let lines: String = (0..600).map(|i| format!("{}\n", i % 300)).collect();
    let arguments = ["embed", "--dimensions", "8"];
    let entries = sandbox.run_with(arguments, lines.as_bytes()).jsonl();
    assert_eq!(entries.len(), 600);
    for (index, entry) in entries.iter().enumerate() {
        assert_eq!((&entry["index"], &entry["line"]), (&json!(index), &json!(index + 1)));
        assert_eq!(entry["embedding"], entries[(index + 300) % 600]["embedding"]);
    }
}

#[test]
fn options_change_the_vectors_as_documented_by_the_api() {
    let sandbox = Sandbox::new();
    let embed = |options: &[&str]| {
        let arguments = ["embed", "a query"].iter().chain(options);
        vector(&sandbox.run(arguments).jsonl()[0])
    };
    let norm = |vector: &[f32]| vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    let (plain, query) = (embed(&[]), embed(&["--task", "retrieval.query"]));
    assert_ne!(plain, query);
    assert_ne!(query, embed(&["--task", "retrieval.query", "--no-instruction"]));
    let short = embed(&["--dimensions", "16"]);
    assert_eq!(short.len(), 16);
    assert!((norm(&short) - 1.0).abs() < 1e-5, "cut first, then scaled to unit length");
    let raw = embed(&["--normalized", "false"]);
    assert!((norm(&raw) - 1.0).abs() > 1e-3);
    let scaled: Vec<f32> = raw.iter().map(|x| x / norm(&raw)).collect();
    assert!(close(&scaled, &plain));
    for device in [&["--device", "reference"][..], &["--simd-level", "portable", "--threads", "1"]]
    {
        let other = embed(device);
        let difference = plain.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference < 3e-6, "{device:?}: {difference}");
    }
}

const DOCUMENT: &str = "Berlin ist schön. Es hat 3,7 Millionen Einwohner.";

fn chunks(options: &[&str]) -> Vec<Value> {
    let sandbox = Sandbox::new();
    sandbox.write("berlin.txt", DOCUMENT);
    let arguments = ["embed", "--input", "berlin.txt", "--chunk", "sentences"];
    sandbox.run(arguments.iter().chain(options)).jsonl()
}

#[test]
fn chunks_have_their_ranges_in_bytes_and_characters() {
    for entries in [chunks(&[]), chunks(&["--late-chunking"])] {
        assert_eq!(entries.len(), 2);
        let chunk = &entries[1]["chunk"];
        let range = |name: &str| {
            let ends: Vec<usize> = serde_json::from_value(chunk[name].clone()).expect("two ends");
            ends[0]..ends[1]
        };
        assert_eq!(&DOCUMENT[range("bytes")], "Es hat 3,7 Millionen Einwohner.");
        let characters: String =
            DOCUMENT.chars().skip(range("chars").start).take(range("chars").len()).collect();
        assert_eq!(characters, "Es hat 3,7 Millionen Einwohner.");
        assert_eq!((&chunk["document"], &entries[1]["source"]), (&json!(0), &json!("berlin.txt")));
    }
}

#[test]
fn ranges_can_be_in_the_units_of_javascript() {
    let sandbox = Sandbox::new();
    sandbox.write("rockets.txt", "🚀 one.\n🚀 two.");
    let options = ["embed", "--input", "rockets.txt", "--chunk", "lines", "--offsets", "utf16"];
    let chunk = &sandbox.run(options).jsonl()[1]["chunk"];
    assert_eq!((&chunk["utf16"], &chunk["bytes"]), (&json!([8, 15]), &json!([10, 19])));
    assert!(chunk.get("chars").is_none());
    let run = sandbox.run(options.iter().chain(&["--format", "csv"]));
    let table = run.quiet();
    assert!(
        table.starts_with("index,source,line,document,byte_start,byte_end,utf16_start,utf16_end,")
    );
}

#[test]
fn late_chunks_depend_on_their_document_and_plain_chunks_do_not() {
    let sandbox = Sandbox::new();
    let alone = vector(&sandbox.run(["embed", "Es hat 3,7 Millionen Einwohner."]).jsonl()[0]);
    assert!(close(&vector(&chunks(&[])[1]), &alone));
    assert!(!close(&vector(&chunks(&["--late-chunking"])[1]), &alone));
}

#[test]
fn late_chunking_without_chunk_treats_the_texts_as_parts_of_one_document() {
    let sandbox = Sandbox::new();
    let (a, b) = ("Berlin is large.", "The city is old.");
    let parts = sandbox.run(["embed", "--late-chunking", a, b]).jsonl();
    let lines = sandbox.run_with(["embed", "--late-chunking"], format!("{a}\n{b}\n").as_bytes());
    assert_eq!(parts.len(), 2);
    assert_eq!(parts[1]["embedding"], lines.jsonl()[1]["embedding"]);
    assert!(!close(&vector(&parts[1]), &vector(&sandbox.run(["embed", b]).jsonl()[0])));

    // A file is a document of its own: the context of its parts does not include the command line.
    sandbox.write("parts.txt", format!("{a}\n{b}\n"));
    let both = sandbox.run(["embed", "--late-chunking", b, "--input", "parts.txt"]).jsonl();
    assert_eq!(both.len(), 3);
    assert!(close(&vector(&both[0]), &vector(&sandbox.run(["embed", b]).jsonl()[0])));
    assert_eq!(both[2]["embedding"], parts[1]["embedding"]);
}

#[test]
fn a_document_without_chunks_gets_a_warning() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_with(["embed", "--chunk", "lines"], b" \n\n");
    assert_eq!((run.status, run.text()), (Some(0), ""));
    let warning = "warning: standard input has no chunks: it contains only white space\n";
    assert_eq!(run.stderr, warning);
}

#[test]
fn a_text_is_truncated_only_on_request_and_with_a_warning() {
    let sandbox = Sandbox::new();
    let model = tiny_v3();
    let model = model.to_str().expect("a path in UTF-8");
    let long = format!("short\n{}\n", "a ".repeat(9000));
    let after_a_block = "\n".repeat(300) + &long;
    let run = sandbox.run_with(["embed", "--model", model], after_a_block.as_bytes());
    assert_eq!((run.status, run.text().lines().count()), (Some(4), 256), "the block is out");
    let expected = "error: line 302 of standard input: text 301 has 9002 tokens; the limit of the \
                    model is 8192\nhint: use --truncate to drop the tail,";
    assert!(run.stderr.starts_with(expected), "{}", run.stderr);

    let run = sandbox.run_with(["embed", "--model", model, "--truncate"], long.as_bytes());
    assert_eq!((run.status, run.text().lines().count()), (Some(0), 2));
    let expected = "warning: text 1 (line 2 of standard input) was truncated for `";
    assert!(run.stderr.starts_with(expected), "{}", run.stderr);
    assert!(run.stderr.ends_with("`: the vector lacks 810 of its 9002 tokens\n"));
}
