//! A migration touches what it has recorded, and nothing else.

use crate::Sandbox;
use crate::index::success;
use crate::migrate::{open, plan, planned, step};
use rusqlite::Connection;
use std::fs;
use std::path::Path;

/// A switched migration, with another collection in the same store.
fn switched(store: &str) -> Sandbox {
    let sandbox = planned(store);
    for next in ["run", "verify", "switch"] {
        let run = step(&sandbox, store, next);
        assert_eq!(run.status, Some(0), "{next}: {}{}", run.text(), run.stderr);
    }
    let mut opened = open(store, &sandbox);
    let provenance = opened.collection("new").expect("a store").expect("a collection").provenance;
    opened.create("precious", &provenance).expect("a collection");
    sandbox
}

fn names(store: &str, sandbox: &Sandbox) -> Vec<String> {
    let all = open(store, sandbox).collections().expect("collections").into_iter();
    all.map(|found| found.name).collect()
}

fn edit(sandbox: &Sandbox, from: &str, to: &str) {
    let text = fs::read_to_string(sandbox.path("new.plan.toml")).expect("a plan");
    assert!(text.contains(from), "{from}: {text}");
    sandbox.write("new.plan.toml", text.replace(from, to));
}

/// Edits of a plan after the switch that lead a step elsewhere, each with the line as it is quoted.
const EDITS: [(&str, &str, &str); 4] = [
    ("kept = \"default-before\"", "kept = \"precious\"", "`kept = \"precious\"`"),
    ("kept = \"default-before\"", "kept = \"new\"", "`kept = \"new\"`"),
    ("switch = \"default\"", "switch = \"precious\"", "`switch = \"precious\"`"),
    ("collection = \"default\"", "collection = \"precious\"", "`from.collection = \"precious\"`"),
];

fn an_edited_plan_is_refused_and_removes_nothing(store: &str) {
    let sandbox = switched(store);
    let before = names(store, &sandbox);
    assert_eq!(before, ["default-before", "new", "precious"]);
    for (from, to, line) in EDITS {
        edit(&sandbox, from, to);
        for next in [&["clean", "--yes"][..], &["clean", "--dry-run"], &["rollback"], &["verify"]] {
            let arguments = ["migrate", next[0], "new.plan.toml", "--store", store];
            let run = sandbox.run(arguments.iter().chain(&next[1..]));
            let error = run.failure(4);
            let recorded = from.rsplit(" = ").next().expect("a value");
            assert!(error.contains(line) && error.contains(recorded), "{next:?}: {error}");
        }
        edit(&sandbox, to, from);
        assert_eq!(names(store, &sandbox), before, "{line}");
        let name = open(store, &sandbox).collection("default").expect("a store").map(|c| c.name);
        assert_eq!(name.as_deref(), Some("new"), "{line}");
    }
    let clean = ["migrate", "clean", "new.plan.toml", "--store", store, "--yes"];
    assert!(success(&sandbox.run(clean)).contains("removed `default-before`"));
    assert_eq!(names(store, &sandbox), ["new", "precious"]);
}

#[test]
fn an_edited_plan_is_refused_and_removes_nothing_in_a_file() {
    an_edited_plan_is_refused_and_removes_nothing("index.db");
}

#[test]
fn an_edited_plan_is_refused_and_removes_nothing_in_postgres() {
    if let Some(server) = crate::server("postgres") {
        an_edited_plan_is_refused_and_removes_nothing(&server.address());
    }
}

#[test]
fn names_that_others_have_moved_are_neither_switched_nor_cleaned() {
    let sandbox = switched("index.db");
    let mut store = open("index.db", &sandbox);
    let clean = ["migrate", "clean", "new.plan.toml", "--yes"];
    // Readers use the old collection again: it is live.
    store.set_alias("default", "default-before").expect("an alias");
    let refused = sandbox.run(clean);
    assert!(refused.failure(4).contains("that readers no longer use"), "{}", refused.stderr);
    // Readers use a third one.
    store.set_alias("default", "precious").expect("an alias");
    for next in ["rollback", "clean"] {
        let refused = sandbox.run(["migrate", next, "new.plan.toml"]);
        assert_eq!(refused.status, Some(4), "{next}: {}", refused.stderr);
    }
    let rollback = sandbox.run(["migrate", "rollback", "new.plan.toml"]);
    assert!(rollback.failure(4).contains("`default` points to `precious`"), "{}", rollback.stderr);
    // Another name leads to the old one.
    store.set_alias("default", "new").expect("an alias");
    store.set_alias("others", "default-before").expect("an alias");
    let refused = sandbox.run(clean);
    assert!(refused.failure(4).contains("`others` still points to"), "{}", refused.stderr);
    store.set_alias("others", "precious").expect("an alias");
    assert_eq!(names("index.db", &sandbox), ["default-before", "new", "precious"]);
    // The old collection is gone, and another one has its name.
    let provenance = store.collection("new").expect("a store").expect("a collection").provenance;
    store.drop_collection("default-before").expect("removed");
    store.create("default-before", &provenance).expect("a collection");
    rename_time(&sandbox.path("index.db"));
    let cleaned = sandbox.run(clean);
    assert!(success(&cleaned).contains("the old collection no longer existed"));
    assert_eq!(names("index.db", &sandbox), ["default-before", "new", "precious"]);
}

/// Collections that are created in the same second may have the same id.
fn rename_time(store: &Path) {
    let connection = Connection::open(store).expect("a store");
    let sql = "UPDATE collections SET created = created + 9 WHERE name = 'default-before'";
    assert_eq!(connection.execute(sql, []).expect("changed"), 1);
}

#[test]
fn a_ledger_of_an_earlier_version_leads_to_the_same_collections() {
    let sandbox = switched("index.db");
    let connection = Connection::open(sandbox.path("index.db")).expect("a store");
    connection
        .execute_batch("ALTER TABLE migrations DROP COLUMN record; DROP TABLE migration_ledger")
        .expect("an earlier ledger");
    let status = sandbox.run(["migrate", "status", "new.plan.toml"]);
    assert!(status.quiet().contains("new: switched"), "{}", status.text());
    // The plan of an earlier version is not recorded, so only the state tells what is old.
    edit(&sandbox, "kept = \"default-before\"", "kept = \"precious\"");
    for next in [&["clean", "--yes"][..], &["rollback"]] {
        let run = sandbox.run(["migrate", next[0], "new.plan.toml"].iter().chain(&next[1..]));
        let error = run.failure(4);
        assert!(error.contains("`precious` is not in the state that was verified"), "{error}");
    }
    edit(&sandbox, "kept = \"precious\"", "kept = \"default-before\"");
    let back = sandbox.run(["migrate", "rollback", "new.plan.toml"]);
    assert!(success(&back).contains("`default` is `default-before` again"), "{}", back.stderr);
    for next in ["run", "verify", "switch"] {
        assert_eq!(step(&sandbox, "index.db", next).status, Some(0), "{next}");
    }
    let clean = ["migrate", "clean", "new.plan.toml", "--yes"];
    assert!(success(&sandbox.run(clean)).contains("removed `default-before`"));
}

#[test]
fn a_newer_ledger_is_refused() {
    let sandbox = switched("index.db");
    let connection = Connection::open(sandbox.path("index.db")).expect("a store");
    connection.execute("UPDATE migration_ledger SET version = 9", []).expect("changed");
    for next in [&["status"][..], &["clean", "--yes"], &["run"]] {
        let run = sandbox.run(["migrate", next[0], "new.plan.toml"].iter().chain(&next[1..]));
        assert!(run.failure(4).contains("has version 9"), "{}", run.stderr);
    }
}

/// The names and contents of all files of a folder.
fn snapshot(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file"));
    let mut all: Vec<_> = files
        .filter(|file| file.path().is_file())
        .map(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            (name, fs::read(file.path()).expect("a file"))
        })
        .collect();
    all.sort();
    all
}

#[test]
fn status_and_serve_change_no_file_of_others() {
    let sandbox = planned("index.db");
    // A store on a server has its ledger next to the plan.
    let text = fs::read_to_string(sandbox.path("new.plan.toml")).expect("a plan");
    let store = sandbox.path("index.db").display().to_string();
    let at_server =
        text.replace(&format!("store = \"{store}\""), "store = \"chroma://127.0.0.1:1\"");
    assert_ne!(text, at_server);
    sandbox.write("server.plan.toml", at_server);
    sandbox.write("mine.plan.toml", text.replace(&store, "mine.db"));
    sandbox.write("empty.plan.toml", text.replace(&store, "empty.db"));
    for name in ["mine.db", "server.plan.ledger"] {
        let connection = Connection::open(sandbox.path(name)).expect("a file");
        let journal = "PRAGMA journal_mode = WAL; CREATE TABLE mine (x); PRAGMA user_version = 77";
        connection.execute_batch(journal).expect("a table");
    }
    sandbox.write("empty.db", "");
    let before = snapshot(&sandbox.path("."));
    for plan in ["mine", "server", "empty"] {
        let file = format!("{plan}.plan.toml");
        sandbox.run(["migrate", "status", &file]);
        sandbox.run(["serve", "--migration", &file, "--check"]);
        for step in ["verify", "switch", "rollback", "clean"] {
            if plan != "server" {
                let run = sandbox.run(["migrate", step, &file]);
                assert_eq!(run.status, Some(4), "{step} {plan}: {}", run.stderr);
            }
        }
    }
    let status = sandbox.run(["migrate", "status", "--store", "mine.db"]);
    assert!(status.failure(4).contains("is not the ledger of a migration"), "{}", status.stderr);
    let after = snapshot(&sandbox.path("."));
    let names =
        |all: &[(String, Vec<u8>)]| all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&before), names(&after));
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        assert_eq!(before, after, "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_plan_or_store_that_is_a_pipe_is_refused() {
    let sandbox = planned("index.db");
    let pipe = sandbox.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    for arguments in [
        &["migrate", "status", "pipe"][..],
        &["migrate", "run", "pipe"],
        &["migrate", "run", "/dev/zero"],
        &["migrate", "status", "--store", "pipe"],
        &["search", "x", "--store", "pipe"],
        &["status", "--store", "/dev/zero"],
    ] {
        let run = sandbox.run(arguments);
        assert_eq!(run.status, Some(4), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains("is not "), "{arguments:?}: {}", run.stderr);
    }
    let again = plan(&sandbox, "pipe", &["--output", "other.toml"]);
    assert_eq!(again.status, Some(4), "{}", again.stderr);
}
