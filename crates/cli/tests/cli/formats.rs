//! The output formats, read back without kokeshi's own code.

use crate::{Run, Sandbox, vector};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::fs;

fn embed(options: &[&str]) -> Run {
    let texts = ["embed", "The Force", "Die Macht", "--dimensions", "20"];
    Sandbox::new().run(texts.iter().chain(options))
}

fn floats() -> Vec<Vec<f32>> {
    embed(&[]).jsonl().iter().map(vector).collect()
}

/// Sign bits of a vector, most significant first, the last byte padded with zeros.
fn signs(vector: &[f32]) -> Vec<u8> {
    let byte = |values: &[f32]| {
        values.iter().enumerate().fold(0, |byte, (i, &x)| byte | (u8::from(x > 0.0) << (7 - i)))
    };
    vector.chunks(8).map(byte).collect()
}

#[test]
fn json_has_the_fields_of_a_response_of_the_api() {
    let response = embed(&["--format", "json"]).json();
    let shape = |index: usize| {
        let embedding = &response["data"][index]["embedding"];
        json!({"object": "embedding", "index": index, "embedding": embedding})
    };
    let tokens = response["usage"]["total_tokens"].as_u64().expect("a number");
    assert!(tokens > 4);
    let expected = json!({
        "model": "starter", "object": "list", "data": [shape(0), shape(1)],
        "usage": {"total_tokens": tokens, "prompt_tokens": tokens},
    });
    assert_eq!(response, expected);
    assert_eq!(vector(&response["data"][1]), floats()[1]);
}

#[test]
fn several_types_make_each_embedding_an_object_and_agree_with_the_floats() {
    let types = "float,base64,binary,ubinary";
    let entries = embed(&["--embedding-type", types]).jsonl();
    for (entry, expected) in entries.iter().zip(floats()) {
        let embedding = &entry["embedding"];
        assert_eq!(vector(&json!({"embedding": embedding["float"]})), expected);
        let bytes = STANDARD.decode(embedding["base64"].as_str().expect("text")).expect("base64");
        let decoded = bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes")));
        assert_eq!(decoded.collect::<Vec<_>>(), expected);
        let signs = signs(&expected);
        assert_eq!(embedding["ubinary"], json!(signs));
        let signed: Vec<i16> = signs.iter().map(|&byte| i16::from(byte) - 128).collect();
        assert_eq!(embedding["binary"], json!(signed));
    }
}

#[test]
fn a_single_type_is_written_without_an_object() {
    let entry = &embed(&["--embedding-type", "base64"]).jsonl()[0];
    assert!(entry["embedding"].is_string());
    let entry = &embed(&["--embedding-type", "binary"]).jsonl()[0];
    assert_eq!(entry["embedding"].as_array().map(Vec::len), Some(3));
}

#[test]
fn npy_records_type_and_shape_and_contains_the_vectors() {
    let run = embed(&["--format", "npy"]);
    assert_eq!(&run.stdout[..8], b"\x93NUMPY\x01\x00");
    let header_end = 10 + usize::from(u16::from_le_bytes([run.stdout[8], run.stdout[9]]));
    assert_eq!(header_end % 64, 0);
    let header = std::str::from_utf8(&run.stdout[10..header_end]).expect("ASCII");
    assert_eq!(header.trim_end(), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 20), }");
    assert!(header.ends_with('\n'));
    let bytes = run.stdout[header_end..].chunks(4);
    let values = bytes.map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes")));
    assert_eq!(values.collect::<Vec<_>>(), floats().concat());

    let run = embed(&["--format", "npy", "--embedding-type", "ubinary"]);
    let data: Vec<u8> = floats().iter().flat_map(|vector| signs(vector)).collect();
    assert!(run.stdout.ends_with(&data));
    assert!(String::from_utf8_lossy(&run.stdout).contains("'descr': '|u1'"));
    assert!(String::from_utf8_lossy(&run.stdout).contains("'shape': (2, 3)"));
}

#[test]
fn csv_has_a_column_per_dimension_and_quotes_where_needed() {
    let sandbox = Sandbox::new();
    sandbox.write("a, \"b\".txt", "one\ntwo\n");
    let options = ["--chunk", "lines", "--dimensions", "20", "--format", "csv"];
    let run = sandbox.run(["embed", "--input", "a, \"b\".txt"].iter().chain(&options));
    let mut reader = csv::Reader::from_reader(run.quiet().as_bytes());
    let header: Vec<_> = reader.headers().expect("a header").iter().map(str::to_owned).collect();
    let origin = ["index", "source", "line", "document"];
    let ranges = ["byte_start", "byte_end", "char_start", "char_end"];
    assert_eq!(header[..8], [origin, ranges].concat());
    assert_eq!(header[8], "text");
    assert_eq!(header[9..], (0..20).map(|i| i.to_string()).collect::<Vec<_>>());
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("a row")).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1].iter().take(5).collect::<Vec<_>>(), ["1", "a, \"b\".txt", "", "0", "4"]);
    assert_eq!(&rows[1][8], "two");
    assert!(rows[1].iter().skip(9).all(|value| value.parse::<f32>().is_ok_and(f32::is_finite)));
}

#[test]
fn the_table_shows_texts_on_one_line_each_and_no_control_characters() {
    let run = Sandbox::new().run(["embed", "a\nb\x1b[31m", "光剑太暗了", "--format", "table"]);
    let lines: Vec<&str> = run.quiet().lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with("index text  ") && lines[0].ends_with(" dimensions)"));
    assert!(lines[1].starts_with("0     a b [31m  "), "{}", lines[1]);
    assert!(lines[2].starts_with("1     光剑太暗了 "));
    assert!(lines[3].starts_with("2 vectors, "));
    assert!(!run.text().contains('\x1b'));
}

#[test]
fn an_output_file_appears_when_it_is_complete() {
    let sandbox = Sandbox::new();
    sandbox.write("out.jsonl", "old");
    let run = sandbox.run(["embed", "a", "--dimensions", "0", "--output", "out.jsonl"]);
    assert_eq!(run.status, Some(4));
    assert_eq!(fs::read_to_string(sandbox.path("out.jsonl")).expect("the old file"), "old");
    assert_eq!(sandbox.run(["embed", "a", "--output", "out.jsonl"]).quiet(), "");
    let written = fs::read_to_string(sandbox.path("out.jsonl")).expect("a new file");
    assert_eq!(written, sandbox.run(["embed", "a"]).text());
    let names = fs::read_dir(sandbox.path("")).expect("a folder");
    assert_eq!(names.count(), 1, "nothing unfinished is left");
}

#[test]
fn the_name_of_the_output_file_chooses_the_format() {
    let sandbox = Sandbox::new();
    let starts: [(&str, &[u8]); 4] = [
        ("a.json", b"{\"model\""),
        ("a.jsonl", b"{\"object\""),
        ("a.npy", b"\x93NUMPY"),
        ("a.csv", b"index"),
    ];
    for (name, start) in starts {
        assert_eq!(sandbox.run(["embed", "a", "--output", name]).quiet(), "");
        assert!(fs::read(sandbox.path(name)).expect("a file").starts_with(start), "{name}");
    }
}
