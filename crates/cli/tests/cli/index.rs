//! `kokeshi index`, `watch`, `status` and `forget`: what is kept up to date, and what survives.

use crate::{Run, Sandbox, tiny_v3};
use kokeshi_store::{Filter, Query, Source as _, Sqlite, Store};
use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) const LAMP: &str = "# Lamps\n\nThe lamp in the hall is too dark. A brighter bulb helps.\n\n\
                               ## Care\n\nWipe the glass with a dry cloth once a month.\n";
pub(crate) const SHIP: &str =
    "Our parcels leave by ship. Delivery to the islands takes three days.\n";

/// A folder `notes` with two documents.
pub(crate) fn notes() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("notes")).expect("a folder");
    sandbox.write("notes/lamp.md", LAMP);
    sandbox.write("notes/ship.txt", SHIP);
    // As if written a while ago: the times of new files are not reliable.
    age(&sandbox, "notes/lamp.md");
    age(&sandbox, "notes/ship.txt");
    sandbox
}

/// Sets the time of change an hour back.
fn age(sandbox: &Sandbox, name: &str) {
    let file = fs::File::options().write(true).open(sandbox.path(name)).expect("a file");
    let hour = Duration::from_secs(3600);
    file.set_modified(std::time::SystemTime::now() - hour).expect("a time");
}

/// The messages of a successful run.
#[track_caller]
pub(crate) fn success(run: &Run) -> &str {
    assert_eq!((run.status, run.text()), (Some(0), ""), "{}", run.stderr);
    &run.stderr
}

pub(crate) fn store(sandbox: &Sandbox, file: &str) -> Sqlite {
    Sqlite::open(&sandbox.path(file)).expect("a store")
}

/// Documents by path: their hash, and the texts of their chunks in order.
pub(crate) fn content(
    store: &dyn Store,
    collection: &str,
) -> BTreeMap<String, (String, Vec<String>)> {
    let found = store.collection(collection).expect("a store").expect("a collection");
    let mut content: BTreeMap<String, (String, Vec<String>)> = store
        .list(collection)
        .expect("documents")
        .into_iter()
        .map(|entry| (entry.path, (entry.hash, Vec::new())))
        .collect();
    let vector = vec![1.0; found.provenance.dimensions];
    let filter = Filter::default();
    let limit = 1 + store.count(collection).expect("counts").chunks;
    let all = Query { vector: &vector, words: None, limit, filter: &filter, exact: true };
    let mut hits = store.search(collection, &all).expect("hits");
    hits.sort_by_key(|hit| hit.ordinal);
    for hit in hits {
        content.get_mut(&hit.path).expect("a document").1.push(hit.text);
    }
    content
}

#[test]
fn a_folder_becomes_searchable_and_a_second_run_embeds_only_what_changed() {
    let sandbox = notes();
    assert!(success(&sandbox.run(["index", "notes"])).contains("indexed 2 documents (2 chunks, "));
    let again = sandbox.run(["index", "notes"]);
    assert!(
        success(&again).contains("indexed 0 documents (0 chunks, 0 tokens)"),
        "{}",
        again.stderr
    );
    assert!(success(&again).contains("2 unchanged"), "{}", again.stderr);
    // A new time but the same content: read, but not embedded.
    sandbox.write("notes/ship.txt", SHIP);
    let touched = sandbox.run(["index", "notes"]);
    assert!(
        success(&touched).contains("indexed 0 documents")
            && success(&touched).contains("2 unchanged")
    );
    // The same time and size would hide a change, but the time of a new file is never reliable.
    sandbox.write("notes/ship.txt", SHIP.replace("three", "seven"));
    sandbox.write("notes/new.txt", "A third text.\n");
    fs::remove_file(sandbox.path("notes/lamp.md")).expect("a removed file");
    let changed = sandbox.run(["index", "notes"]);
    assert!(
        success(&changed).contains("indexed 2 documents")
            && success(&changed).contains("1 removed")
    );
    let content = content(&store(&sandbox, "notes/.kokeshi/index.db"), "default");
    assert_eq!(content.keys().collect::<Vec<_>>(), ["new.txt", "ship.txt"]);
    assert!(content["ship.txt"].1[0].contains("seven days"));
    assert!(store(&sandbox, "notes/.kokeshi/index.db").check().expect("a check").is_empty());
}

#[test]
fn a_changed_model_or_option_is_refused_with_both_sides_and_a_hint() {
    let sandbox = notes();
    success(&sandbox.run(["index", "notes"]));
    let model = tiny_v3().display().to_string();
    for (options, parts) in [
        (vec!["--model", &model], vec!["weights is starter (sha256:", "not ", "v3-tiny"]),
        (vec!["--dimensions", "128"], vec!["its dimensions is 384, not 128"]),
        (vec!["--storage", "int8"], vec!["its storage is f16, not int8"]),
        (vec!["--chunk", "sentences"], vec!["its chunking is structure:256, not sentences"]),
        (vec!["--late-chunking", "false"], vec!["its late chunking is true, not false"]),
    ] {
        let run = sandbox.run(["index", "notes"].iter().chain(&options));
        let error = run.failure(4);
        assert!(parts.iter().all(|part| error.contains(part)), "{options:?}: {error}");
        assert!(error.contains("hint: index into another collection with --collection"), "{error}");
    }
    let other = ["index", "notes", "--collection", "small", "--model", &model, "--storage", "int8"];
    success(&sandbox.run(other));
    // Options that are left out keep their values.
    assert!(
        success(&sandbox.run(["index", "notes", "--collection", "small"])).contains("2 unchanged")
    );
    let status = sandbox.run(["status", "--json", "--store", "notes/.kokeshi/index.db"]).json();
    let names = status["collections"].as_array().expect("collections").iter();
    let models: Vec<_> = names.map(|c| (c["name"].clone(), c["storage"].clone())).collect();
    assert_eq!(models, [("default".into(), "f16".into()), ("small".into(), "int8".into())]);
}

#[test]
fn weights_that_changed_under_the_same_name_are_noticed() {
    let sandbox = notes();
    fs::create_dir(sandbox.path("model")).expect("a folder");
    for file in fs::read_dir(tiny_v3()).expect("a checkpoint") {
        let file = file.expect("a file");
        if file.path().is_file() {
            fs::copy(file.path(), sandbox.path("model").join(file.file_name())).expect("a copy");
        }
    }
    success(&sandbox.run(["index", "notes", "--model", "./model"]));
    assert_eq!(sandbox.run(["search", "lamp", "notes"]).status, Some(0));
    let config = fs::read_to_string(sandbox.path("model/config.json")).expect("a configuration");
    sandbox.write("model/config.json", config + "\n");
    let run = sandbox.run(["search", "lamp", "notes"]);
    let error = run.failure(4);
    assert!(
        error.contains("are now sha256:") && error.contains("were produced with sha256:"),
        "{error}"
    );
}

#[test]
fn a_second_writer_is_refused() {
    let sandbox = notes();
    success(&sandbox.run(["index", "notes"]));
    let lock = store(&sandbox, "notes/.kokeshi/index.db").lock().expect("a lock");
    for command in [&["index", "notes"][..], &["forget", "notes/ship.txt"]] {
        let run = sandbox.run(command);
        let error = run.failure(4);
        assert!(error.contains("another kokeshi process is writing to "), "{error}");
        assert!(error.contains("hint: wait until it is done"), "{error}");
    }
    assert_eq!(sandbox.run(["search", "lamp", "notes"]).status, Some(0), "readers need no lock");
    drop(lock);
    success(&sandbox.run(["index", "notes"]));
}

#[test]
fn a_missing_or_foreign_store_is_refused() {
    let sandbox = notes();
    let error = sandbox.run(["search", "lamp"]);
    assert!(error.failure(4).contains("no index at "), "{}", error.stderr);
    sandbox.write("text.db", "this is a text, and longer than the header of a database file");
    let error = sandbox.run(["search", "lamp", "--store", "text.db"]);
    assert!(error.failure(4).contains("is not an index of kokeshi"), "{}", error.stderr);
    let error = sandbox.run(["index", "absent"]);
    assert!(error.failure(4).contains("cannot read absent"), "{}", error.stderr);
    assert!(!sandbox.path(".kokeshi").exists());
}

#[test]
fn files_that_no_longer_exist_can_be_forgotten() {
    let sandbox = notes();
    success(&sandbox.run(["index", "notes"]));
    fs::remove_file(sandbox.path("notes/ship.txt")).expect("a removed file");
    assert!(success(&sandbox.run(["forget", "notes/ship.txt"])).contains("removed 1 document"));
    let run = sandbox.run(["forget", "notes/ship.txt"]);
    assert!(run.failure(4).contains("nothing at notes/ship.txt"), "{}", run.stderr);
    let warned = sandbox.run(["forget", "notes/lamp.md"]);
    assert!(success(&warned).contains("comes back with the next"), "{}", warned.stderr);
    success(&sandbox.run(["index", "notes"]));
    success(&sandbox.run(["forget", "notes"]));
    let status = sandbox.run(["status", "--json", "--store", "notes/.kokeshi/index.db"]).json();
    assert_eq!(status["collections"][0]["documents"], 0);
    assert_eq!(status["collections"][0]["paths"], serde_json::json!([]));
    success(&sandbox.run(["forget", "--all", "--yes", "--store", "notes/.kokeshi/index.db"]));
    let status = sandbox.run(["status", "--store", "notes/.kokeshi/index.db"]);
    assert!(status.quiet().contains("no collection yet"));
}

#[test]
fn status_counts_the_files_that_have_changed_since() {
    let sandbox = notes();
    success(&sandbox.run(["index", "notes"]));
    let status =
        || sandbox.run(["status", "--store", "notes/.kokeshi/index.db"]).quiet().to_owned();
    let fresh = status();
    for part in ["2 documents, 2 chunks", "starter (sha256:", "384 dimensions", "up to date", "f16"]
    {
        assert!(fresh.contains(part), "{part}: {fresh}");
    }
    sandbox.write("notes/new.txt", "new");
    fs::remove_file(sandbox.path("notes/lamp.md")).expect("a removed file");
    assert!(status().contains("1 file to look at, 1 gone"), "{}", status());
}

#[test]
fn unreadable_files_are_left_out_with_a_reason_and_the_rest_is_indexed() {
    let sandbox = notes();
    sandbox.write("notes/half.txt", b"\xff\xfe\0\xd8");
    sandbox.write("notes/rows.jsonl", "{\"text\": \"a row\"}\n{broken\n");
    sandbox.write("notes/broken.pdf", "%PDF-1.4 and nothing else");
    sandbox.write("notes/program", b"\x7fELF\0\0");
    let run = sandbox.run(["index", "notes"]);
    let warnings = success(&run);
    for part in
        ["half.txt: it is marked as UTF-16LE", "rows.jsonl: line 2 is not JSON", "broken.pdf: "]
    {
        assert!(warnings.contains(part), "{part}: {warnings}");
    }
    assert!(
        warnings.contains("indexed 2 documents") && warnings.contains("4 left out"),
        "{warnings}"
    );
    assert!(warnings.contains("1 without ending (binary)"), "{warnings}");
    assert!(!warnings.contains("program"), "binary files are only counted: {warnings}");
    let lacks = warnings.contains("broken.pdf: this build lacks the feature `pdf`");
    assert_eq!(lacks, cfg!(not(feature = "pdf")), "{warnings}");
}

#[test]
fn web_pages_tables_and_code_are_read_in_their_formats() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).expect("a folder");
    sandbox.write(
        "d/page.html",
        "<html><head><style>p{}</style></head><body><h1>Tea</h1><p>Boil <b>water</b>.</p>",
    );
    sandbox.write("d/faq.csv", "question,answer\nWhere?,Here\nWhen?,Now\n");
    sandbox.write("d/rows.jsonl", "{\"title\":\"T\",\"text\":\"caf\\u00e9\",\"lang\":\"fr\"}\n");
    sandbox.write("d/code.rs", "fn one() {}\n\nfn two() {}\n");
    success(&sandbox.run(["index", "d"]));
    let content = content(&store(&sandbox, "d/.kokeshi/index.db"), "default");
    assert_eq!(content["page.html"].1, ["# Tea\n\nBoil **water**."]);
    assert_eq!(
        content["faq.csv"].1,
        ["question: Where?\nanswer: Here", "question: When?\nanswer: Now"]
    );
    assert_eq!(content["rows.jsonl"].1, ["T\ncafé"]);
    assert_eq!(content["code.rs"].1, ["fn one() {}\n\nfn two() {}"]);
    let rows = ["search", "x", "d", "--where", "lang=fr", "--json"];
    let hits = sandbox.run(rows).json();
    assert_eq!(hits["hits"].as_array().map(Vec::len), Some(1));
    assert_eq!(hits["hits"][0]["metadata"]["lang"], "fr");
}

pub(crate) fn start(sandbox: &Sandbox, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_kokeshi"))
        .args(arguments)
        .current_dir(sandbox.folder.path())
        .env_clear()
        .env("XDG_CONFIG_HOME", sandbox.path("xdg"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a running program")
}

/// A text that differs with `seed`, of several chunks.
pub(crate) fn essay(seed: u64) -> String {
    let paragraph =
        |at: u64| format!("Paragraph {at} of essay {seed}: {}\n\n", "words go on. ".repeat(10));
    (0..5).map(paragraph).collect()
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_was_indexed() {
    const FILES: u64 = 120;
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).expect("a folder");
    for file in 0..FILES {
        sandbox.write(&format!("d/{file}.md"), essay(file));
    }
    let model = crate::tiny_v3().display().to_string();
    let mut child = start(&sandbox, &["index", "d", "--threads", "1", "--model", &model]);
    let path = sandbox.path("d/.kokeshi/index.db");
    let deadline = Instant::now() + Duration::from_secs(60);
    let count = || {
        let store = Sqlite::open(&path).ok()?;
        Some(store.count("default").ok()?.documents)
    };
    while count().unwrap_or(0) == 0 {
        assert!(Instant::now() < deadline, "nothing was written");
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("a signal");
    assert_eq!(child.wait().expect("an end").code(), Some(130));
    let kept = count().expect("a store");
    assert!((1..FILES as usize).contains(&kept), "{kept}");
    let run = sandbox.run(["index", "d"]);
    let rest = format!("indexed {} documents", FILES as usize - kept);
    assert!(success(&run).contains(&rest), "{}", run.stderr);
}

#[test]
fn watch_indexes_changes() {
    let sandbox = notes();
    let mut child = start(&sandbox, &["watch", "notes"]);
    let path = sandbox.path("notes/.kokeshi/index.db");
    let wait_for = |wanted: usize| {
        let deadline = Instant::now() + Duration::from_secs(60);
        let count = || Sqlite::open(&path).and_then(|store| store.count("default")).ok();
        while count().is_none_or(|counts| counts.documents != wanted) {
            assert!(Instant::now() < deadline, "{:?}", count());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    wait_for(2);
    sandbox.write("notes/new.txt", "Something new.");
    wait_for(3);
    fs::remove_file(sandbox.path("notes/ship.txt")).expect("a removed file");
    wait_for(2);
    child.kill().expect("a kill");
    child.wait().expect("an end");
    assert!(Sqlite::open(&path).expect("a store").check().expect("a check").is_empty());
}
