//! `kokeshi embed` from files of rows to a folder of Parquet files.

use crate::index::start;
use crate::{PROGRAM, Run, Sandbox, tiny_v3};
use kokeshi_testkit::Random;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// A sandbox with files of `rows` rows each in the folder `in`.
fn rows(files: usize, rows: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("in")).expect("a folder");
    for file in 0..files {
        let row = |row: usize| {
            format!("{{\"id\": {row}, \"text\": \"Row {row} of file {file}\", \"lang\": \"en\"}}\n")
        };
        let content: String = (0..rows).map(row).collect();
        sandbox.write(&format!("in/{file}.jsonl"), content);
    }
    sandbox
}

/// The files below a folder, without those of notes and locks.
fn outputs(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let files = entries.filter(|entry| entry.path().is_file());
    let named = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().expect("a name");
        (name, fs::read(entry.path()).expect("a file"))
    };
    files.map(named).collect()
}

#[test]
fn files_of_rows_become_files_of_vectors_once() {
    let sandbox = rows(3, 5);
    let model = tiny_v3().display().to_string();
    let embed = ["embed", "--input", "in/*.jsonl", "-o", "out/", "--model", &model];
    let run = sandbox.run(embed);
    assert_eq!((run.status, run.text()), (Some(0), ""), "{}", run.stderr);
    assert!(run.stderr.starts_with("out/: wrote 3 files with 15 vectors ("), "{}", run.stderr);
    let first = outputs(&sandbox.path("out"));
    let names: Vec<&str> = first.keys().map(String::as_str).collect();
    assert_eq!(names, ["0.jsonl.parquet", "1.jsonl.parquet", "2.jsonl.parquet"]);
    let again = sandbox.run(embed);
    let message = "out/: wrote 0 files with 0 vectors (0 tokens) in ";
    assert!(again.stderr.starts_with(message), "{}", again.stderr);
    assert!(again.stderr.ends_with(" s; 3 finished before\n"), "{}", again.stderr);
    assert_eq!(outputs(&sandbox.path("out")), first);

    // The vectors are those of the command without a folder.
    let read = ["embed", "--input", "out/1.jsonl.parquet", "--text-field", "id", "--model", &model];
    let stored = sandbox.run(read).jsonl();
    let alone = sandbox.run(["embed", "--input", "in/1.jsonl", "--model", &model]).jsonl();
    for (stored, alone) in stored.iter().zip(&alone) {
        let stored = crate::vector(&stored["metadata"]);
        assert_eq!(stored, crate::vector(alone));
    }
    assert_eq!((stored.len(), alone.len()), (5, 5));
}

#[test]
fn processes_share_the_files_without_talking() {
    let sandbox = rows(5, 3);
    let model = tiny_v3().display().to_string();
    for (shard, count) in [("1/2", 3), ("2/2", 5)] {
        let options = ["--keep", "all", "--shard", shard, "--model", &model];
        let run = sandbox.run([&["embed", "--input", "in/*", "-o", "out/"], &options[..]].concat());
        assert_eq!(run.status, Some(0), "{}", run.stderr);
        assert_eq!(outputs(&sandbox.path("out")).len(), count);
    }
}

#[test]
fn a_process_takes_its_number_from_its_job() {
    let sandbox = rows(5, 3);
    let model = tiny_v3().display().to_string();
    let options =
        ["embed", "--input", "in/*", "-o", "out/", "--model", &model, "--shard", "auto/2"];
    let run = |variables: &[(&str, &str)]| {
        let mut command = sandbox.command(PROGRAM, options);
        command.envs(variables.iter().copied());
        Run::of(command, b"")
    };
    let job = |index| run(&[("JOB_COMPLETION_INDEX", index)]);
    assert_eq!(job("0").status, Some(0));
    assert_eq!(outputs(&sandbox.path("out")).len(), 3);
    let array = run(&[("SLURM_ARRAY_TASK_ID", "11"), ("SLURM_ARRAY_TASK_MIN", "10")]);
    assert_eq!(array.status, Some(0), "{}", array.stderr);
    assert_eq!(outputs(&sandbox.path("out")).len(), 5);
    assert!(job("2").failure(2).contains("this is process 3 of its job, but `auto/2` has only 2"));
    assert!(job("x").failure(2).contains("JOB_COMPLETION_INDEX is `x`, not a number"));
    assert!(run(&[]).failure(2).contains("neither JOB_COMPLETION_INDEX nor SLURM_ARRAY_TASK_ID"));
}

#[test]
fn rows_without_vectors_and_damaged_files_give_a_status_of_their_own() {
    let sandbox = rows(1, 2);
    let model = tiny_v3().display().to_string();
    sandbox.write("in/bad.csv", "id,text\n1,\"open\n");
    sandbox.write("in/empty.csv", "id,text\n1,one\n2\n");
    let run = sandbox.run(["embed", "--input", "in/*", "-o", "out/", "--model", &model]);
    assert_eq!(run.status, Some(3), "{}", run.stderr);
    let parts = [
        "left out in/bad.csv: cannot read in/bad.csv: the quote that opens a field in line 2 has no end",
        "wrote 2 files with 3 vectors",
        "1 left out",
        "1 row could not be embedded: out/_kokeshi/*.failed.jsonl says why",
    ];
    for part in parts {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
    let failed = fs::read_to_string(sandbox.path("out/_kokeshi/empty.csv.failed.jsonl"));
    let expected = r#"{"at":"line 3","id":"2","document":null,"reason":"it has no text"}"#;
    assert_eq!(failed.expect("the rows").trim(), expected);
    // The same run again finds the same rows missing.
    let again = sandbox.run(["embed", "--input", "in/*", "-o", "out/", "--model", &model]);
    assert_eq!(again.status, Some(3), "{}", again.stderr);
}

#[test]
fn what_cannot_be_is_said_before_anything_is_written() {
    let sandbox = rows(1, 1);
    let model = tiny_v3().display().to_string();
    let fail = |options: &[&str], status: i32| {
        let model = ["--model", &model];
        let run = sandbox.run([&["embed"], options, &model].concat());
        let message = run.failure(status).to_owned();
        assert!(!sandbox.path("out").exists(), "{options:?}");
        message
    };
    let input = ["--input", "in/0.jsonl", "-o", "out/"];
    let with = |more: &[&'static str]| [&input, more].concat();
    for (options, status, part) in [
        (vec!["a text", "-o", "out/"], 4, "a folder as --output needs files of rows"),
        (vec!["--input", "none/*", "-o", "out/"], 4, "no file matches `none/*`"),
        (with(&["--format", "jsonl"]), 2, "--format does not apply to a folder of Parquet files"),
        (with(&["--embedding-type", "binary"]), 2, "--vector-type does"),
        (with(&["--late-chunking"]), 4, "late chunking of tables needs chunks, or the column"),
        (with(&["--shard", "3/2"]), 2, "from `1/8` to `8/8`"),
        (vec!["a text", "--keep", "all"], 2, "--keep needs a folder of Parquet files as --output"),
        (vec!["a text", "-o", "a.parquet"], 2, "Parquet files are written to a folder"),
    ] {
        let message = fail(&options, status);
        assert!(message.contains(part), "{options:?}: {message}");
    }
    // A column that is missing is known only when its file is read.
    let keep = with(&["--keep", "title"]);
    let run = sandbox.run([&["embed"], &keep[..], &["--model", &model]].concat());
    let message = "in/0.jsonl has no column `title`; it has `id`, `text`, `lang`";
    assert!(run.failure(4).contains(message), "{}", run.stderr);
}

#[test]
fn vectors_of_two_models_are_not_mixed() {
    let sandbox = rows(1, 1);
    let model = tiny_v3().display().to_string();
    let embed = ["embed", "--input", "in/*", "-o", "out/", "--model", &model];
    assert_eq!(sandbox.run(embed).status, Some(0));
    let other = sandbox.run([&embed[..], &["--dimensions", "32"]].concat());
    assert!(other.failure(4).contains("has vectors with dimensions null, not 32"));
    assert!(other.stderr.contains("to start again, remove this one"), "{}", other.stderr);
}

#[test]
#[ignore = "takes half a minute; CI runs it"]
fn thirty_kills_lose_and_double_nothing() {
    let sandbox = rows(8, 200);
    let model = tiny_v3().display().to_string();
    let to = |output: &'static str| {
        let input = ["embed", "--input", "in/*.jsonl", "--threads", "1", "--shard-size", "4kB"];
        [&input[..], &["--model", &model, "-o", output]].concat()
    };
    let run = |output| {
        let run = sandbox.run(to(output));
        assert_eq!(run.status, Some(0), "{}", run.stderr);
    };
    let started = Instant::now();
    run("whole/");
    let duration = started.elapsed().as_millis() as usize;
    let mut random = Random::new(1);
    let mut kills = 0;
    for round in 0.. {
        // After each run that comes to its end, a few files change.
        for file in (0..8).filter(|file| file % 4 == round % 4) {
            let path = sandbox.path(&format!("in/{file}.jsonl"));
            let content = fs::read(&path).expect("a file");
            fs::write(path, content).expect("the file again");
            let _ = fs::remove_file(sandbox.path(&format!("out/{file}.jsonl.parquet")));
        }
        let mut child = start(&sandbox, &to("out/"));
        std::thread::sleep(Duration::from_millis(random.below(duration.max(2)) as u64));
        child.kill().expect("a kill");
        kills += usize::from(!child.wait().expect("an end").success());
        if kills == 30 {
            break;
        }
        assert!(round < 300, "only {kills} runs were killed");
        if round % 10 == 9 {
            let _ = fs::remove_dir_all(sandbox.path("out"));
        }
    }
    run("out/");
    assert_eq!(outputs(&sandbox.path("out")), outputs(&sandbox.path("whole")));
}
