//! Invalid, unusual and enormous input: one clear error, or a defined result.

use crate::{Sandbox, tiny_v3, vector};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

fn messages(arguments: &[&str], stdin: &[u8], status: i32) -> String {
    let sandbox = Sandbox::new();
    sandbox.run_with(arguments, stdin).failure(status).to_owned()
}

#[test]
fn an_empty_input_is_an_error_with_a_hint() {
    insta::assert_snapshot!(messages(&["embed"], b"", 4), @r##"
    error: no text to embed: the input is empty
    hint: pass texts as arguments, with --input, or one per line on standard input
    "##);
    assert!(messages(&["similarity"], b"", 4).starts_with("error: no text to embed"));
    let sandbox = Sandbox::new();
    sandbox.write("empty.jsonl", "\n\n");
    assert!(sandbox.run(["embed", "--input", "empty.jsonl"]).failure(4).contains("no text"));
}

#[test]
fn empty_text_white_space_nul_and_special_tokens_are_texts_like_any_other() {
    let sandbox = Sandbox::new();
    let lines = b"\n   \na\0b\n</s>\n<s> a </s>\nend\n";
    let entries = sandbox.run_with(["embed"], lines).jsonl();
    assert_eq!(entries.len(), 6);
    for entry in entries {
        let norm: f32 = vector(&entry).iter().map(|x| x * x).sum();
        assert!((norm - 1.0).abs() < 1e-4, "{entry}");
    }
    let empty = sandbox.run(["embed", ""]).jsonl();
    assert_eq!(vector(&empty[0]), vector(&sandbox.run_with(["embed"], b"\n").jsonl()[0]));
}

#[test]
fn broken_utf8_is_named_by_line_and_byte() {
    let run = Sandbox::new().run_with(["embed"], b"caf\xc3\xa9\ncaf\xe9\n");
    assert_eq!((run.status, run.text().lines().count()), (Some(4), 1));
    insta::assert_snapshot!(run.stderr, @r##"
    error: line 2 of standard input is not UTF-8: byte 0xe9 at offset 9 of the input
    hint: convert text of another encoding, for example with `iconv -f LATIN1 -t UTF-8`
    "##);
}

#[test]
fn a_line_of_50_megabytes_is_refused_by_its_number() {
    let line = ["small\n".as_bytes(), &vec![b'x'; 50 << 20]].concat();
    let sandbox = Sandbox::new();
    let error = sandbox.run_with(["embed", "--dimensions", "2"], &line);
    assert_eq!(error.status, Some(4));
    insta::assert_snapshot!(error.stderr, @r##"
    error: line 2 of standard input is over the limit of 16 MiB for one text
    hint: split it into several texts
    "##);
}

#[test]
fn invalid_jsonl_is_named_by_line() {
    let jsonl = ["embed", "--input-format", "jsonl"];
    insta::assert_snapshot!(messages(&jsonl, b"{\"txt\": \"a\"}", 4), @r##"
    error: line 1 of standard input contains no text
    hint: a record is an object such as `{"text": "…"}`, or a string; this one has `txt`, and --text-field names the field to use
    "##);
    insta::assert_snapshot!(messages(&jsonl, b"{\"text\": \"a\"", 4), @"error: line 1 of standard input is not valid JSON: EOF while parsing an object at column 12");
}

#[test]
fn missing_files_are_named() {
    insta::assert_snapshot!(messages(&["embed", "--input", "absent.txt"], b"", 4), @r##"
    error: no file matches `absent.txt`
    hint: --input accepts a file, a glob, or `-` for standard input
    "##);
    insta::assert_snapshot!(messages(&["embed", "--input", "."], b"", 4), @r##"
    error: `.` is a folder
    hint: `--input './*.txt'` reads the files in it
    "##);
    insta::assert_snapshot!(messages(&["embed", "a", "--output", "absent/out"], b"", 4), @"error: cannot write absent/out: No such file or directory (os error 2)");
}

#[test]
fn options_out_of_range_name_the_range() {
    let (sandbox, model) = (Sandbox::new(), tiny_v3());
    let embed = |option: &str, value: &str| {
        let arguments = ["embed", "a", option, value, "--model"].map(OsStr::new);
        sandbox.run(arguments.into_iter().chain([model.as_os_str()])).failure(4).to_owned()
    };
    insta::assert_snapshot!(embed("--task", "retrieval"), @"error: text 0: unknown task `retrieval`; this model has `retrieval.query`, `retrieval.passage`, `separation`, `classification`, `text-matching`");
    insta::assert_snapshot!(embed("--dimensions", "0"), @"error: text 0: dimensions 0 is out of range: this model supports 1 to 64");
    insta::assert_snapshot!(embed("--dimensions", "65"), @"error: text 0: dimensions 65 is out of range: this model supports 1 to 64");
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &["embed", "a", "--chunk", "words"][..],
        &["embed", "a", "--embedding-type", "int4"],
        &["embed", "a", "--threads", "0"],
        &["embed", "a", "--simd-level", "sse9"],
        &["embed", "a", "--format", "npy", "--embedding-type", "base64"],
        &["embed", "a", "--format", "csv", "--embedding-type", "float,binary"],
        &["embed", "a", "--device", "reference", "--threads", "2"],
        &["models", "pull", "."],
        &["embed", "--no-such-option"],
        &[],
    ] {
        let message = messages(arguments, b"", 2);
        assert!(message.contains("Usage: ") || message.contains("error: "), "{message}");
    }
}

#[test]
fn missing_models_are_named_with_the_command_that_downloads_them() {
    let embed = |model: &str| messages(&["embed", "a", "--model", model], b"", 4);
    insta::assert_snapshot!(embed("jina-embeddings-v3"), @r##"
    error: model `jina-embeddings-v3` is not on this machine
    hint: download it with `kokeshi models pull jina-embeddings-v3`
    "##);
    insta::assert_snapshot!(embed("jina-embedings-v3"), @"error: unknown model `jina-embedings-v3`; did you mean `jina-embeddings-v3`?");
    insta::assert_snapshot!(embed("./absent"), @"error: ./absent has no config.json: a checkpoint folder contains config.json and model.safetensors (or model.safetensors.index.json and its parts)");
}

#[test]
fn a_damaged_checkpoint_is_one_error() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path("model");
    fs::create_dir(&folder).expect("a folder");
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(tiny_v3().join(name), folder.join(name)).expect("a copy");
    }
    let error = || sandbox.run(["embed", "a", "--model", "./model"]).failure(4).to_owned();
    let weights = fs::read(folder.join("model.safetensors")).expect("weights");
    sandbox.write("model/model.safetensors", &weights[..weights.len() - 1]);
    assert!(error().contains("is not a complete safetensors file"), "{}", error());
    sandbox.write("model/model.safetensors", &weights);
    sandbox.write("model/tokenizer.json", "{}");
    assert!(error().contains("tokenizer"), "{}", error());
    sandbox.write("model/config.json", "{");
    assert!(error().contains("config.json"), "{}", error());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported() {
    let error = messages(&["embed", "a", "--output", "/dev/full"], b"", 4);
    assert!(error.starts_with("error: cannot write /dev/full: No space left"), "{error}");
}

#[test]
fn a_reader_that_goes_away_ends_the_program_quietly() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kokeshi"))
        .args(["embed", "--chunk", "tokens:1"])
        .arg("word ".repeat(2000))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a running program");
    let mut first = [0];
    child.stdout.take().expect("a pipe").read_exact(&mut first).expect("a byte");
    let output = child.wait_with_output().expect("a finished program");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}
