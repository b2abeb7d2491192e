//! The index tells the truth about the disk: what is away, unreadable, left out or in two indexes.

use crate::index::{content, notes, store, success};
use crate::{Run, Sandbox};
use std::fs;

/// The paths of all hits.
fn paths(run: &Run) -> Vec<String> {
    let answer: serde_json::Value = serde_json::from_slice(&run.stdout).expect("JSON");
    let hits = answer["hits"].as_array().expect("hits").iter();
    let mut paths: Vec<String> =
        hits.map(|hit| hit["path"].as_str().expect("a path").to_owned()).collect();
    paths.sort();
    paths
}

#[test]
fn nothing_is_removed_because_a_root_is_away() {
    let sandbox = notes();
    success(&sandbox.run(["index", "notes", "--store", "s.db"]));
    fs::rename(sandbox.path("notes"), sandbox.path("away")).expect("a renamed folder");
    let index = ["index", "--store", "s.db"];
    for reason in ["it does not exist", "it is an empty folder"] {
        let run = sandbox.run(index);
        let error = run.failure(3);
        assert!(error.contains("error: cannot look at ") && error.contains("notes: "), "{error}");
        assert!(error.contains(&format!("{reason}; 2 documents kept")), "{error}");
        assert!(error.contains("--prune-missing"), "{error}");
        let status = sandbox.run(["status", "--store", "s.db"]);
        assert!(status.quiet().contains("2 documents, 2 chunks"), "{}", status.text());
        assert!(status.text().contains(&format!("{reason}; 2 documents kept")));
        let found = sandbox.run(["search", "lamp", "--store", "s.db", "--json"]).json();
        assert_eq!(found["hits"][0]["stale"], "missing");
        let _ = fs::create_dir(sandbox.path("notes"));
    }
    // The folder comes back: nothing is embedded again.
    fs::remove_dir(sandbox.path("notes")).expect("a removed folder");
    fs::rename(sandbox.path("away"), sandbox.path("notes")).expect("a renamed folder");
    let back = sandbox.run(index);
    assert!(success(&back).contains("indexed 0 documents"), "{}", back.stderr);
    fs::remove_dir_all(sandbox.path("notes")).expect("a removed folder");
    let pruned = sandbox.run(index.iter().chain(&["--prune-missing"]));
    assert!(success(&pruned).contains("2 removed"), "{}", pruned.stderr);
    success(&sandbox.run(index));
}

#[test]
fn a_file_that_can_no_longer_be_read_leaves_the_collection() {
    let sandbox = notes();
    sandbox.write("notes/rows.jsonl", "{\"text\": \"The lamp is a row.\"}\n");
    success(&sandbox.run(["index", "notes"]));
    let search = || sandbox.run(["search", "lamp", "notes", "--json"]);
    assert_eq!(paths(&search()).len(), 3);
    sandbox.write("notes/ship.txt", b"\x7fELF\0\0");
    sandbox.write("notes/rows.jsonl", "{\"text\": \"The lamp is a row.\"}\n{broken\n");
    let stale = search().json();
    let stale =
        stale["hits"].as_array().expect("hits").iter().filter(|hit| hit["stale"] == "changed");
    assert_eq!(stale.count(), 2);
    let run = sandbox.run(["index", "notes"]);
    let message = run.failure(3);
    assert!(message.contains("ship.txt can no longer be read"), "{message}");
    assert!(message.contains("rows.jsonl can no longer be read"), "{message}");
    assert_eq!(paths(&search()), ["notes/lamp.md"]);
    success(&sandbox.run(["index", "notes"]));
    let status = sandbox.run(["status", "--store", "notes/.kokeshi/index.db"]);
    let text = status.quiet();
    assert!(text.contains("1 document, ") && text.contains("up to date"), "{text}");
    assert!(text.contains("left out   2 files: "), "{text}");
    // Both are readable again.
    sandbox.write("notes/ship.txt", crate::index::SHIP);
    sandbox.write("notes/rows.jsonl", "{\"text\": \"The lamp is a row.\"}\n");
    assert!(success(&sandbox.run(["index", "notes"])).contains("indexed 2 documents"));
}

#[cfg(unix)]
#[test]
fn a_change_that_keeps_size_and_time_is_noticed() {
    let sandbox = notes();
    success(&sandbox.run(["index", "notes"]));
    let path = sandbox.path("notes/ship.txt");
    let modified = fs::metadata(&path).and_then(|file| file.modified()).expect("a time");
    // As if the run had been long after the last change.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    success(&sandbox.run(["index", "notes"]));
    sandbox.write("notes/ship.txt", crate::index::SHIP.replace("three", "seven"));
    let file = fs::File::options().write(true).open(&path).expect("a file");
    file.set_modified(modified).expect("a time");
    let run = sandbox.run(["index", "notes"]);
    assert!(success(&run).contains("indexed 1 document "), "{}", run.stderr);
}

#[test]
fn a_store_does_not_index_its_own_files() {
    let sandbox = notes();
    let index = ["index", "notes", "--store", "notes/x.db"];
    success(&sandbox.run(index));
    let again = sandbox.run(index);
    assert!(!success(&again).contains("left out"), "{}", again.stderr);
    let content = content(&store(&sandbox, "notes/x.db"), "default");
    let names: Vec<_> = content.keys().filter_map(|path| path.rsplit('/').next()).collect();
    assert_eq!(names, ["lamp.md", "ship.txt"]);
}

#[test]
fn a_folder_above_the_root_means_everything() {
    let sandbox = notes();
    for options in [&[][..], &["--store", "s.db"]] {
        success(&sandbox.run(["index", "notes"].iter().chain(options)));
    }
    for store in ["notes/.kokeshi/index.db", "s.db"] {
        let run = sandbox.run(["search", "lamp", "/", "--store", store, "--json"]);
        assert_eq!(paths(&run).len(), 2, "{store}");
        let run = sandbox.run(["forget", "/", "--store", store]);
        assert!(success(&run).contains("removed 2 documents"), "{}", run.stderr);
    }
    success(&sandbox.run(["index", "."]));
    assert!(sandbox.run(["status"]).quiet().contains("paths      .\n"));
    fs::remove_dir_all(sandbox.path("notes/.kokeshi")).expect("a removed index");
    assert_eq!(paths(&sandbox.run(["search", "lamp", "/", "--json"])).len(), 2);
}

#[test]
fn the_nearest_index_that_is_up_to_date_answers() {
    let sandbox = notes();
    fs::create_dir(sandbox.path("notes/sub")).expect("a folder");
    sandbox.write("notes/sub/a.txt", "The old text is about tides.");
    success(&sandbox.run(["index", "notes/sub"]));
    let outer = sandbox.run(["index", "notes"]);
    assert!(success(&outer).contains("sub/.kokeshi/index.db is an index of its own"));
    let search = || sandbox.run(["search", "tides", "notes/sub", "--json"]);
    assert_eq!(paths(&search()), ["notes/sub/a.txt"]);
    assert!(search().stderr.is_empty(), "{}", search().stderr);
    sandbox.write("notes/sub/a.txt", "The new text is about tides, and longer.");
    success(&sandbox.run(["index", "notes"]));
    let run = search();
    assert!(run.stderr.contains("sub/.kokeshi/index.db is out of date (1 file to look at)"));
    assert!(run.text().contains("The new text"), "{}", run.text());
    success(&sandbox.run(["forget", "notes/sub"]));
    let joined = sandbox.run(["index", "notes", "--take-over"]);
    assert_eq!(joined.status, Some(0), "{}", joined.stderr);
    assert!(!sandbox.path("notes/sub/.kokeshi").exists());
    assert_eq!(paths(&search()), ["notes/sub/a.txt"]);
}

#[test]
fn an_inner_index_is_taken_over_with_its_vectors() {
    let sandbox = notes();
    fs::create_dir(sandbox.path("notes/sub")).expect("a folder");
    sandbox.write("notes/sub/a.txt", "The text is about tides.");
    success(&sandbox.run(["index", "notes/sub"]));
    let joined = sandbox.run(["index", "notes", "--take-over"]);
    let message = success(&joined);
    assert!(message.contains("copied 1 document"), "{message}");
    assert!(
        message.contains("indexed 2 documents") && message.contains("1 unchanged"),
        "{message}"
    );
    assert!(!sandbox.path("notes/sub/.kokeshi").exists());
    let names = content(&store(&sandbox, "notes/.kokeshi/index.db"), "default");
    assert_eq!(names.keys().collect::<Vec<_>>(), ["lamp.md", "ship.txt", "sub/a.txt"]);
}

#[test]
fn what_is_left_out_is_counted_by_kind_and_settles() {
    let sandbox = notes();
    for name in ["notes/a.gz", "notes/b.gz", "notes/c.png"] {
        sandbox.write(name, b"\x1f\x8b\0\0\0");
    }
    sandbox.write("notes/empty.txt", " \n");
    for _ in 0..2 {
        let run = sandbox.run(["index", "notes"]);
        let wanted = "left out 4 files: 2 .gz (binary), 1 .png (binary), 1 .txt (no text)";
        assert!(success(&run).contains(wanted), "{}", run.stderr);
        let status = sandbox.run(["status", "--store", "notes/.kokeshi/index.db"]);
        assert!(status.quiet().contains("state      up to date"), "{}", status.text());
        assert!(status.text().contains("2 documents, 2 chunks"), "{}", status.text());
    }
    let named = sandbox.run(["index", "notes/a.gz"]);
    let error = named.failure(3);
    assert!(error.contains("a.gz is not indexed: it is not a text"), "{error}");
    fs::remove_file(sandbox.path("notes/c.png")).expect("a removed file");
    let run = sandbox.run(["index", "notes"]);
    assert!(success(&run).contains("left out 3 files"), "{}", run.stderr);
    assert!(!run.stderr.contains("removed"), "{}", run.stderr);
}

#[test]
fn identical_texts_are_shown_once() {
    let sandbox = notes();
    for name in ["notes/x.txt", "notes/y.txt"] {
        sandbox.write(name, crate::index::SHIP);
    }
    success(&sandbox.run(["index", "notes"]));
    let run = sandbox.run(["search", "parcels leave by ship", "notes", "-n", "2"]);
    assert!(run.quiet().contains("+2 identical: notes/"), "{}", run.text());
    assert!(run.text().contains("notes/lamp.md:"), "the limit counts texts: {}", run.text());
    let answer = sandbox.run(["search", "parcels leave by ship", "notes", "--json"]).json();
    assert_eq!(answer["hits"].as_array().map(Vec::len), Some(2));
    assert_eq!(answer["hits"][0]["identical"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_search_without_an_index_names_those_below_and_the_latest() {
    let sandbox = notes();
    success(&sandbox.run(["index", "notes"]));
    let run = sandbox.run(["search", "lamp"]);
    assert!(run.stderr.contains("there is one in notes: "), "{}", run.stderr);
    let run_at = |folder: &str, arguments: &[&str]| {
        let mut command = sandbox.command(crate::PROGRAM, arguments);
        command.current_dir(sandbox.path(folder)).env("HOME", sandbox.path("home"));
        Run::of(command, b"")
    };
    fs::create_dir(sandbox.path("else")).expect("a folder");
    assert!(!run_at("else", &["search", "lamp"]).stderr.contains("made lately"));
    success(&run_at("notes", &["index", "."]));
    let run = run_at("else", &["search", "lamp"]);
    assert!(run.stderr.contains("made lately: ") && run.stderr.contains("notes"), "{}", run.stderr);
}

#[test]
fn conditions_compare_stored_values_as_they_are() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).expect("a folder");
    let rows = [
        r#"{"text": "one", "lang": "nan", "id": 9007199254740993, "zip": "01234"}"#,
        r#"{"text": "two", "lang": "de", "id": 9007199254740992, "zip": 1234, "version": "1.10"}"#,
        r#"{"text": "three", "commit": "99e9999", "version": "1.1"}"#,
    ];
    sandbox.write("d/rows.jsonl", rows.join("\n"));
    success(&sandbox.run(["index", "d"]));
    for (condition, wanted) in [
        ("lang=nan", 1),
        ("id=9007199254740993", 1),
        ("zip=01234", 1),
        ("zip=1234", 1),
        ("version=1.1", 1),
        ("commit=12e9999", 0),
        ("commit=99e9999", 1),
    ] {
        let run = sandbox.run(["search", "x", "d", "--json", "--where", condition]);
        assert_eq!(paths(&run).len(), wanted, "{condition}");
    }
}
