//! `kokeshi bench`: what it reports. How fast anything is, no test asks.

use crate::{Place, tiny_v3};
use kokeshi_testkit::fixture;
use serde_json::Value;
use std::fs;
use std::path::Path;

const ROWS: [&str; 7] = ["1×16", "1×128", "8×128", "32 ragged", "4×512", "1×2048", "1×8192"];

fn bench(place: &Place, model: &Path, options: &[&str]) -> crate::Run {
    let model = model.to_str().expect("a path in UTF-8");
    place.run(["bench", "--quick", "--model", model].iter().chain(options))
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
fn v3_is_checked_against_the_reference_and_timed_with_all_its_tasks() {
    let place = Place::new();
    let report = bench(&place, &tiny_v3(), &["--json", "--svg", "shares.svg"]).json();
    let tasks = ["32 ragged, one task", "32 ragged, mixed tasks"];
    assert_measured(&report, &[ROWS.as_slice(), &tasks].concat());
    assert!(number(&report["mixed_tasks_share"]) > 0.0);
    let check = &report["check"];
    assert_eq!((&check["against"], &check["texts"]), (&"the reference".into(), &3.into()));
    assert!(number(&check["value"]) <= number(&check["at_most"]), "{check}");
    if cfg!(target_os = "linux") {
        assert!(number(&report["peak_resident_bytes"]) > 1e6, "{report}");
    }
    let picture = fs::read_to_string(place.path("shares.svg")).expect("a picture");
    for name in ROWS.iter().chain(&tasks) {
        assert!(picture.contains(&format!(">{name}</text>")), "{name}: {picture}");
    }
}

#[test]
fn v2_in_bf16_is_timed_without_a_mixture_of_tasks() {
    let model = fixture("v2-tiny/std_wordpiece");
    let options = ["--json", "--precision", "bf16", "--threads", "1"];
    let run = bench(&Place::new(), &model, &options);
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    assert_eq!(run.stderr, "mixed tasks are left out: there is one task only\n");
    let report: Value = serde_json::from_str(run.text()).expect("JSON");
    assert_measured(&report, &ROWS);
    assert!(report["mixed_tasks_share"].is_null());
    assert_eq!(report["device"]["precision"], "bf16");
    assert_eq!(report["device"]["threads"], 1);
    let check = &report["check"];
    assert!(number(&check["value"]) >= number(&check["at_least"]), "{check}");
}

#[test]
fn people_get_a_table() {
    let run = bench(&Place::new(), &tiny_v3(), &[]);
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
        checked   3 texts against the reference: relative difference …, at most 3e-5

        batch                    tokens          ms   tokens/s    texts/s   GFLOP/s  of floor  bound by
        1×16                     16 …
        1×128                    128 …
        8×128                    1024 …
        32 ragged                7596 …
        4×512                    2048 …
        1×2048                   2048 …
        1×8192                   8192 …
        32 ragged, one task      7596 …
        32 ragged, mixed tasks   7596 …

        mixed tasks run at … of the speed of one task
        "##);
    });
}

#[test]
fn what_cannot_be_timed_is_refused_before_anything_runs() {
    let place = Place::new();
    let reference = place.run(["bench", "--device", "reference"]);
    assert!(reference.failure(2).contains("too slow to be timed"), "{}", reference.stderr);
    let missing = place.run(["bench", "--model", "./missing"]);
    assert!(missing.failure(1).starts_with("error: "), "{}", missing.stderr);
    let absent = place.run(["bench", "--model", "jina-embeddings-v3"]);
    assert!(absent.failure(1).contains("kokeshi models pull"), "{}", absent.stderr);
}
