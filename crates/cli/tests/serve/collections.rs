//! Names that are bound to a collection and follow it from one model to another.

use crate::Server;
use kokeshi_testkit::fixture;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Maximum time until a name follows.
const SOON: Duration = Duration::from_secs(1);

pub(crate) fn kokeshi(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kokeshi"));
    command.args(arguments).current_dir(folder).env_clear().env("HF_HUB_OFFLINE", "1");
    command.env("HF_HUB_CACHE", folder.join("hub")).env("KOKESHI_PRECISION", "f32");
    command.env("XDG_CONFIG_HOME", folder.join("xdg"));
    command.output().expect("a running program")
}

#[track_caller]
pub(crate) fn succeed(folder: &Path, arguments: &[&str]) {
    let output = kokeshi(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A folder with a store whose collection has vectors of a v2 model.
fn indexed_folder() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("notes")).expect("a folder");
    for (name, text) in [("a.md", "The lamp is too dark."), ("b.md", "The ship left at noon.")] {
        std::fs::write(folder.path().join("notes").join(name), text).expect("a file");
    }
    let model = fixture("v2-tiny/std_wordpiece").display().to_string();
    succeed(folder.path(), &["index", "notes", "--store", "index.db", "--model", &model]);
    let store = folder.path().join("index.db").display().to_string();
    (folder, store)
}

/// The model that a name resolves to, and the width of its vectors.
#[track_caller]
fn resolve(server: &Server, model: &str) -> (String, usize) {
    let reply = server.post("/v1/embeddings", &json!({ "model": model, "input": "a lamp" }));
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    let body: Value = serde_json::from_slice(&reply.body).expect("JSON");
    let width = body["data"][0]["embedding"].as_array().expect("a vector").len();
    (body["model"].as_str().expect("a name").to_owned(), width)
}

/// Sends requests until a name resolves to the model `after`; every response is from one model.
#[track_caller]
fn wait_until_followed(server: &Server, name: &str, before: (&str, usize), after: (&str, usize)) {
    let started = Instant::now();
    loop {
        let (model, width) = resolve(server, name);
        let current = (model.as_str(), width);
        if current == after {
            return;
        }
        assert_eq!(current, before);
        assert!(started.elapsed() < SOON, "{name} still resolves to {current:?}");
    }
}

#[test]
fn names_follow_a_switch_and_its_rollback() {
    let (folder, store) = indexed_folder();
    let (folder, old, new) = (folder.path(), ("std_wordpiece", 48), ("starter", 384));
    let server = Server::start(&[
        "--store",
        &store,
        "--collection",
        "default",
        "--collection",
        "jina-embeddings-v2-base-en=default",
    ]);
    let resolved = |name: &str| resolve(&server, name);
    assert_eq!(resolved("jina-embeddings-v2-base-en"), ("std_wordpiece".to_owned(), 48));
    assert_eq!(resolved("starter"), ("starter".to_owned(), 384));
    let list: Value = serde_json::from_slice(&server.get("/v1/models").body).expect("JSON");
    let listed: Vec<(&str, u64)> = (list["data"].as_array().expect("models").iter())
        .map(|model| {
            (model["id"].as_str().expect("a name"), model["dimensions"].as_u64().expect("a width"))
        })
        .collect();
    assert_eq!(listed, [("starter", 384), ("default", 48), ("jina-embeddings-v2-base-en", 48)]);
    let plan = ["migrate", "plan", "--store", "index.db", "--to", "new", "--model", "starter"];
    succeed(folder, &plan);
    for step in ["run", "verify", "switch"] {
        succeed(folder, &["migrate", step, "new.plan.toml"]);
    }
    wait_until_followed(&server, "jina-embeddings-v2-base-en", old, new);
    wait_until_followed(&server, "default", old, new);
    // The tasks are those of the collection, unless a request names another.
    let vector = |body: Value| {
        let reply: Value =
            serde_json::from_slice(&server.post("/v1/embeddings", &body).body).expect("JSON");
        reply["data"][0]["embedding"].clone()
    };
    let named = |model: &str, task: Option<&str>| {
        vector(json!({ "model": model, "input": "a lamp", "task": task }))
    };
    let (query, passage) = (Some("retrieval.query"), Some("retrieval.passage"));
    assert_eq!(named("default", None), named("starter", query));
    assert_eq!(named("default:query", None), named("starter", query));
    assert_eq!(named("default:passage", None), named("starter", passage));
    assert_eq!(named("default", passage), named("starter", passage));
    assert_ne!(named("starter", query), named("starter", passage));
    let ready = server.get("/ready");
    let ready = String::from_utf8_lossy(&ready.body);
    assert!(ready.contains("default: collection new, starter"), "{ready}");
    assert!(!ready.contains("std_wordpiece"), "the old model is still loaded: {ready}");
    succeed(folder, &["migrate", "rollback", "new.plan.toml"]);
    wait_until_followed(&server, "default", new, old);
}

#[test]
fn a_plan_is_followed_where_no_collection_records_its_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let (folder, model) = (folder.path(), fixture("v2-tiny/std_wordpiece").display().to_string());
    let texts = ["The lamp is too dark.", "The ship left at noon."];
    let embed = ["embed", texts[0], texts[1], "--format", "json", "--model", &model];
    let embedded: Value = serde_json::from_slice(&kokeshi(folder, &embed).stdout).expect("JSON");
    let row = |at: usize| {
        let vector = &embedded["data"][at]["embedding"];
        json!({ "id": at, "text": texts[at], "vector": vector }).to_string() + "\n"
    };
    std::fs::write(folder.join("old.jsonl"), row(0) + &row(1)).expect("a file");
    let plan = ["migrate", "plan", "--source", "old.jsonl", "--store", "new.db", "--to", "new"];
    let plan: Vec<&str> =
        plan.iter().chain(&["--model", "starter", "--candidate", &model]).copied().collect();
    succeed(folder, &plan);
    let file = folder.join("new.plan.toml").display().to_string();
    let text = std::fs::read_to_string(&file).expect("a plan");
    let unknown = folder.join("unknown.toml").display().to_string();
    let from = text.find("[from]").expect("a side");
    let of_an_unknown_model = text[from..].replacen("revision = \"", "revision = \"unknown\" #", 1);
    std::fs::write(&unknown, text[..from].to_owned() + &of_an_unknown_model).expect("a plan");
    let refused = kokeshi(folder, &["serve", "--port", "0", "--check", "--migration", &unknown]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && error.contains("the vectors of `vector` is unknown"),
        "{error}"
    );
    let named = format!("docs={file}");
    let server = Server::start(&["--migration", &named, "--migration", &file]);
    let (old, new) = (("std_wordpiece", 48), ("starter", 384));
    for step in ["run", "verify"] {
        succeed(folder, &["migrate", step, "new.plan.toml"]);
    }
    for name in ["docs", "new"] {
        assert_eq!(resolve(&server, name), ("std_wordpiece".to_owned(), 48));
    }
    succeed(folder, &["migrate", "switch", "new.plan.toml"]);
    wait_until_followed(&server, "docs", old, new);
    wait_until_followed(&server, "new", old, new);
}

#[test]
fn a_collection_that_cannot_be_read_stays_bound_and_is_reported() {
    let (folder, store) = indexed_folder();
    let server = Server::start(&["--store", &store, "--collection", "default"]);
    let away = folder.path().join("away.db");
    std::fs::rename(&store, &away).expect("renamed");
    succeed(folder.path(), &["forget", "--store", "away.db", "--all", "--yes"]);
    let started = Instant::now();
    loop {
        assert_eq!(resolve(&server, "default"), ("std_wordpiece".to_owned(), 48));
        let ready = server.get("/ready");
        assert_eq!(ready.status, 200);
        if String::from_utf8_lossy(&ready.body).contains("collections are not followed: no") {
            break;
        }
        assert!(started.elapsed() < 5 * SOON, "{}", String::from_utf8_lossy(&ready.body));
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_collection_that_cannot_be_served_is_an_error_at_the_start() {
    let (folder, _store) = indexed_folder();
    for (arguments, expected) in [
        (&["--collection", "nothing"][..], "no collection `nothing`"),
        (&["--collection", "starter=default"], "two models have the name `starter`"),
        (&["--collection", "default", "--store", "none.db"], "no index at"),
    ] {
        let serve = ["serve", "--port", "0", "--check", "--store", "index.db"];
        let serve: Vec<&str> = match arguments.contains(&"--store") {
            true => serve[..4].iter().chain(arguments).copied().collect(),
            false => serve.iter().chain(arguments).copied().collect(),
        };
        let output = kokeshi(folder.path(), &serve);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(expected), "{error}");
    }
}
