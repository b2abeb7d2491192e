//! `kokeshi bench`: its reports. No test depends on speed.

use crate::{Sandbox, tiny_v3};
use kokeshi::{Checkpoint, Device};
use kokeshi_kernels::Level;
use kokeshi_model::Batch;
use kokeshi_testkit::fixture;
use serde_json::Value;
use std::fs;
use std::path::Path;

const ROWS: [&str; 7] = ["1×16", "1×128", "8×128", "32 ragged", "4×512", "1×2048", "1×8192"];

fn bench(sandbox: &Sandbox, model: &Path, options: &[&str]) -> crate::Run {
    let model = model.to_str().expect("a path in UTF-8");
    sandbox.run(["bench", "--quick", "--model", model].iter().chain(options))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number instead of {value}"))
}

#[track_caller]
fn assert_measured(report: &Value, rows: &[&str]) {
    let measured = report["rows"].as_array().expect("rows");
    let names: Vec<_> = measured.iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, rows);
    for row in measured {
        let share = number(&row["share_of_floor"]);
        assert!(share > 0.0 && share < 1.5, "{row}");
        assert_eq!(row["runs_seconds"].as_array().map(Vec::len), Some(1), "{row}");
        let seconds = number(&row["median_seconds"]);
        for (quantity, rate) in [
            ("tokens", "tokens_per_second"),
            ("texts", "texts_per_second"),
            ("flops", "flops_per_second"),
        ] {
            let ratio = number(&row[rate]) * seconds / number(&row[quantity]);
            assert!((ratio - 1.0).abs() < 1e-9, "{rate}: {row}");
        }
    }
    for peak in ["flops_per_second", "bytes_per_second"] {
        assert!(number(&report["peaks"][peak]) > 1e6, "{report}");
    }
    assert!(number(&report["load_seconds"]) > 0.0);
}

#[test]
#[ignore = "slow; `.ci/run` runs it"]
fn v3_is_checked_against_the_reference_and_timed_with_all_its_tasks() {
    let sandbox = Sandbox::new();
    let report = bench(&sandbox, &tiny_v3(), &["--json", "--svg", "shares.svg"]).json();
    let tasks = ["32 ragged, one task", "32 ragged, mixed tasks"];
    assert_measured(&report, &[ROWS.as_slice(), &tasks].concat());
    assert!(number(&report["mixed_tasks_share"]) > 0.0);
    let check = &report["check"];
    assert_eq!((&check["against"], &check["texts"]), (&"the reference".into(), &3.into()));
    assert!(number(&check["value"]) <= number(&check["at_most"]), "{check}");
    if cfg!(target_os = "linux") {
        assert!(number(&report["peak_resident_bytes"]) > 1e6, "{report}");
    }
    let picture = fs::read_to_string(sandbox.path("shares.svg")).expect("a picture");
    for name in ROWS.iter().chain(&tasks) {
        assert!(picture.contains(&format!(">{name}</text>")), "{name}: {picture}");
    }
}

#[test]
fn v2_in_bf16_is_timed_without_a_mixture_of_tasks() {
    let model = fixture("v2-tiny/std_wordpiece");
    let options = ["--json", "--precision", "bf16", "--threads", "1"];
    let only = ["--batch", "1x16", "--batch", "8x128"];
    let run = bench(&Sandbox::new(), &model, &[options.as_slice(), &only].concat());
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    let report: Value = serde_json::from_str(run.text()).expect("JSON");
    assert_measured(&report, &["1×16", "8×128"]);
    let warns = run.stderr.contains("this processor cannot multiply bf16");
    assert_ne!(warns, Level::best().has_bf16_dot(), "{}", run.stderr);
    assert!(report["mixed_tasks_share"].is_null());
    assert_eq!(report["device"]["precision"], "bf16");
    assert_eq!(report["device"]["threads"], 1);
    let check = &report["check"];
    assert!(number(&check["value"]) >= number(&check["at_least"]), "{check}");
}

#[test]
fn people_get_a_table() {
    let batches = ["1x16", "8x128", "32 ragged, one task", "32 ragged, mixed tasks"];
    let options: Vec<_> = batches.iter().flat_map(|name| ["--batch", name]).collect();
    let run = bench(&Sandbox::new(), &tiny_v3(), &options);
    insta::with_settings!({filters => vec![
        (r"/\S*fixtures", "…"),
        (r"cpu, \S+, \d+ threads?", "cpu, …"),
        (r"(?m)^(load|memory|peaks) .*$", "$1 …"),
        (r"difference \S+,", "difference …,"),
        (r"(?m)^(.{24}) +(\d+) .*(arithmetic|memory)$", "$1 $2 …"),
        (r"run at \S+ of", "run at … of"),
    ]}, {
        insta::assert_snapshot!(run.quiet(), @r##"
        model     …/v3-tiny/original
        device    cpu, …, f32
        peaks …
        load …
        memory …
        checked   3 texts, 48 tokens, against the reference: relative difference …, at most 3e-5

        batch                    tokens          ms   tokens/s    texts/s   GFLOP/s  of floor  bound by
        1×16                     16 …
        8×128                    1024 …
        32 ragged, one task      7596 …
        32 ragged, mixed tasks   7596 …

        mixed tasks run at … of the speed of one task
        "##);
    });
}

#[test]
#[ignore = "slow; `.ci/run` runs it"]
fn memory_does_not_grow_over_many_batches() {
    let (sandbox, model) = (Sandbox::new(), tiny_v3());
    let model = model.to_str().expect("a path in UTF-8");
    let run = sandbox.run(["bench", "--memory", "300", "--json", "--model", model]);
    if !cfg!(target_os = "linux") {
        println!("skipped: only Linux reports the memory of a process");
        assert!(run.failure(4).contains("does not report"), "{}", run.stderr);
        return;
    }
    let report = run.json();
    let bytes = |name: &str| number(&report[&format!("{name}_bytes")]);
    assert!(bytes("before") < bytes("loaded") && bytes("loaded") < bytes("largest_batch"));
    assert_eq!(report["batches"], 300);
    assert_eq!(bytes("growth"), bytes("last") - bytes("first_tenth"));
    // A leak of one vector of states per batch would be 270 times 100 kB.
    assert!(bytes("growth") < 4e6, "{report}");
}

#[test]
fn what_cannot_be_timed_is_refused_before_anything_runs() {
    let sandbox = Sandbox::new();
    let reference = sandbox.run(["bench", "--device", "reference"]);
    assert!(
        reference.failure(2).contains("cannot time `--device reference`"),
        "{}",
        reference.stderr
    );
    let missing = sandbox.run(["bench", "--model", "./missing"]);
    assert!(missing.failure(4).starts_with("error: "), "{}", missing.stderr);
    let absent = sandbox.run(["bench", "--model", "jina-embeddings-v3"]);
    assert!(absent.failure(4).contains("kokeshi models pull"), "{}", absent.stderr);
}

#[test]
fn batches_are_exchanged_as_lines_and_their_vectors_match_the_reference() {
    let sandbox = Sandbox::new();
    let model = tiny_v3();
    let model = model.to_str().expect("a path in UTF-8");
    let printed = sandbox.run(["bench", "--model", model, "--print-batches"]);
    let batches = printed.jsonl();
    let names: Vec<_> = batches.iter().filter_map(|batch| batch["name"].as_str()).collect();
    assert_eq!(names[..7], ROWS);
    assert_eq!(names.len(), 9);
    let mixed: Vec<_> = batches[8]["texts"].as_array().expect("texts")[..2].to_vec();
    assert_eq!([&mixed[0]["task"], &mixed[1]["task"]], [&Value::Null, &"retrieval.query".into()]);

    let lines: Vec<_> = printed.text().lines().collect();
    let mixed = serde_json::json!({ "name": "two", "texts": mixed }).to_string();
    let input = [lines[0], "", &mixed].join("\n");
    let arguments = ["bench", "--model", model, "--read-batches", "--threads", "1"];
    let results = sandbox.run_with(arguments, input.as_bytes()).jsonl();
    assert_eq!(results.len(), 3);
    assert_eq!(results[0]["device"]["threads"], 1);
    assert_eq!((&results[1]["name"], &results[2]["name"]), (&"1×16".into(), &"two".into()));
    assert!(results[1..].iter().all(|answer| number(&answer["seconds"]) > 0.0));
    let vectors =
        |answer: &Value| serde_json::from_value::<Vec<Vec<f32>>>(answer["vectors"].clone());
    let mut got = vectors(&results[1]).expect("vectors");
    got.extend(vectors(&results[2]).expect("vectors"));
    let mut batch = Batch::new();
    for (text, adapter) in
        [&batches[0]["texts"][0], &batches[8]["texts"][0], &batches[8]["texts"][1]]
            .into_iter()
            .zip([None, None, Some(0)])
    {
        let ids: Vec<u32> = serde_json::from_value(text["ids"].clone()).expect("ids");
        batch.push(&ids, adapter);
    }
    let checkpoint = Checkpoint::open(&tiny_v3()).expect("a checkpoint");
    let reference = kokeshi_model::load(&checkpoint, &Device::Reference).expect("an encoder");
    let spans: Vec<_> = batch.sequences().collect();
    let sums = reference.pool(&batch, &spans).expect("sums");
    for ((got, sum), span) in got.iter().zip(sums.chunks(64)).zip(&spans) {
        for (x, sum) in got.iter().zip(sum) {
            assert!((x - sum / span.len() as f32).abs() < 2e-5, "{x}");
        }
    }
}

#[test]
fn a_batch_that_cannot_run_is_refused_with_its_line() {
    let model = tiny_v3();
    let model = model.to_str().expect("a path in UTF-8");
    let cases = [
        ("{", "error: line 2 of standard input is not a batch: "),
        (r#"{"name": "a", "texts": [], "rows": 1}"#, "unknown field `rows`"),
        (r#"{"name": "a", "texts": []}"#, "the batch has 0 tokens; the limits are 1 and 65536"),
        (r#"{"name": "a", "texts": [{"ids": [5]}, {"ids": []}]}"#, "text 2: it has 0 tokens"),
        (r#"{"name": "a", "texts": [{"ids": [5, 90000]}]}"#, "no token has the id 90000"),
        (
            r#"{"name": "a", "texts": [{"ids": [5], "task": "b"}]}"#,
            "unknown task `b`; the model has `ret",
        ),
    ];
    let long = format!(r#"{{"name": "a", "texts": [{{"ids": [{}5]}}]}}"#, "5,".repeat(9000));
    let cases =
        cases.into_iter().chain([(long.as_str(), "it has 9001 tokens; the limits are 1 and ")]);
    for (line, expected) in cases {
        let input = format!("{{\"name\": \"fine\", \"texts\": [{{\"ids\": [5]}}]}}\n{line}\n");
        let run = Sandbox::new()
            .run_with(["bench", "--model", model, "--read-batches"], input.as_bytes());
        assert_eq!((run.status, run.text().lines().count()), (Some(4), 2), "{line:.60}");
        assert!(run.stderr.contains("line 2 of standard input"), "{}", run.stderr);
        assert!(run.stderr.contains(expected), "{expected}: {}", run.stderr);
    }
}
