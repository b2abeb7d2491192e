//! `kokeshi migrate`: complete migrations, plans, and what survives kills.

use crate::foreign::passed;
use crate::index::{essay, notes, success};
use crate::{Run, Sandbox, tiny_v3};
use kokeshi_store::{Address, Document, Provenance, Store};
use kokeshi_testkit::servers::Server;
use kokeshi_testkit::{Random, fixture};
use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

pub(crate) const V2: [&str; 4] = ["std_wordpiece", "std_zh_f16", "code_bpe", "code_reglu_bf16"];

pub(crate) fn v2(name: &str) -> String {
    fixture(&format!("v2-tiny/{name}")).display().to_string()
}

/// A folder with two documents, indexed with a v2 model, and a plan to move them.
pub(crate) fn planned(store: &str) -> Sandbox {
    let sandbox = notes();
    success(&sandbox.run(["index", "notes", "--model", &v2(V2[0]), "--store", store]));
    let plan = plan(&sandbox, store, &[]);
    assert_eq!(plan.status, Some(0), "{}", plan.stderr);
    sandbox
}

pub(crate) fn plan(sandbox: &Sandbox, store: &str, more: &[&str]) -> Run {
    let plan = ["migrate", "plan", "--to", "new", "--model", "starter", "--store", store];
    sandbox.run(plan.iter().chain(more))
}

pub(crate) fn step(sandbox: &Sandbox, store: &str, step: &str) -> Run {
    sandbox.run(["migrate", step, "new.plan.toml", "--store", store])
}

pub(crate) fn open(store: &str, sandbox: &Sandbox) -> Box<dyn Store> {
    let address = match store.contains("://") {
        true => Address::from(store),
        false => Address::File(sandbox.path(store)),
    };
    // A server that was killed may need a while to recover.
    let started = Instant::now();
    loop {
        match kokeshi_remote::open(&address) {
            Ok(store) => return store,
            Err(error) => assert!(started.elapsed() < Duration::from_secs(60), "a store: {error}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// All documents of a collection.
pub(crate) fn documents(store: &dyn Store, collection: &str) -> BTreeMap<String, Document> {
    let paths: Vec<String> =
        store.list(collection).expect("a list").into_iter().map(|entry| entry.path).collect();
    let documents = store.documents(collection, &paths).expect("documents");
    documents.into_iter().map(|document| (document.path.clone(), document)).collect()
}

type Content = BTreeMap<String, (String, Vec<(String, Vec<f32>)>)>;

/// Hash, texts and vectors of every document.
fn content(store: &dyn Store, collection: &str) -> Content {
    let chunks = |document: Document| {
        document.chunks.into_iter().map(|chunk| (chunk.text, chunk.vector)).collect()
    };
    let all = documents(store, collection).into_iter();
    all.map(|(path, document)| (path, (document.hash.clone(), chunks(document)))).collect()
}

/// Plan, run, verify, switch, roll back, switch again, clean.
fn complete_migration(store: &str, can_rename: bool) {
    let sandbox = planned(store);
    let plan = fs::read_to_string(sandbox.path("new.plan.toml")).expect("a plan");
    for part in [
        "cosine 1.0000, so it was this one",
        "2 documents, 2 chunks",
        "48 dimensions",
        "384 dimensions: all that the model has",
        "passage_task = \"retrieval.passage\"",
        "kokeshi migrate run new.plan.toml",
    ] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    assert!(!plan.contains("kokeshi-test"), "a password is shown: {plan}");
    for (wanted, next) in [("switch", "the ledger does not contain it"), ("rollback", "the ledger")]
    {
        let refused = step(&sandbox, store, wanted);
        assert!(refused.failure(4).contains(next), "{}", refused.stderr);
    }
    assert!(success(&step(&sandbox, store, "run")).contains("wrote 2 documents with 2 chunks"));
    let refused = step(&sandbox, store, "switch");
    assert!(
        refused.failure(4).contains("is running, and cannot be switched"),
        "{}",
        refused.stderr
    );
    let again = step(&sandbox, store, "run");
    assert!(success(&again).contains("wrote 0 documents with 0 chunks"), "{}", again.stderr);
    assert!(again.stderr.contains("2 already up to date"), "{}", again.stderr);
    let verified = step(&sandbox, store, "verify");
    assert_eq!(verified.status, Some(0), "{}{}", verified.text(), verified.stderr);
    assert!(!verified.text().contains("FAILED"), "{}", verified.text());
    assert!(verified.text().contains("2 of 2 chunks of 2 documents"), "{}", verified.text());
    let search = |wanted: &str| {
        let found = sandbox
            .run(["search", "how long does shipping take?", "--json", "--store", store])
            .json();
        assert_eq!(found["collection"].as_str().unwrap_or(wanted), wanted, "{found}");
        found["hits"].as_array().expect("hits").len()
    };
    assert_eq!(search("default"), 2);
    let dry = ["migrate", "switch", "new.plan.toml", "--store", store, "--dry-run"];
    assert!(sandbox.run(dry).quiet().contains("new"));
    let switched = step(&sandbox, store, "switch");
    if !can_rename {
        let error = switched.failure(4);
        assert!(error.contains("aliases: let readers use one"), "{error}");
        return;
    }
    assert!(success(&switched).contains("`default` is now `new`"), "{}", switched.stderr);
    let name =
        |name: &str| open(store, &sandbox).collection(name).expect("a store").map(|c| c.name);
    assert_eq!(name("default").as_deref(), Some("new"));
    assert_eq!(name("default-before").as_deref(), Some("default-before"));
    assert_eq!(search("new"), 2);
    // The new collection is kept up to date as well: nothing changed, so nothing is embedded.
    let index = sandbox.run(["index", "--store", store]);
    assert!(success(&index).contains("2 unchanged"), "{}", index.stderr);
    let refused = step(&sandbox, store, "run");
    assert!(refused.failure(4).contains("is switched, and cannot be run"), "{}", refused.stderr);
    let dry = ["migrate", "rollback", "new.plan.toml", "--store", store, "--dry-run"];
    let calls = sandbox.run(dry);
    assert!(!calls.quiet().contains("SET name"), "nothing is renamed back: {}", calls.text());
    success(&step(&sandbox, store, "rollback"));
    let status = sandbox.run(["migrate", "status", "new.plan.toml", "--store", store]);
    assert!(status.quiet().contains(": verified, rolled back; "), "{}", status.text());
    assert_eq!(name("default").as_deref(), Some("default-before"));
    assert_eq!(search("default-before"), 2);
    assert_eq!(step(&sandbox, store, "run").status, Some(0));
    assert_eq!(step(&sandbox, store, "verify").status, Some(0));
    success(&step(&sandbox, store, "switch"));
    let refused = step(&sandbox, store, "clean");
    assert!(
        refused.failure(4).contains("use --yes to skip the confirmation"),
        "{}",
        refused.stderr
    );
    let clean = ["migrate", "clean", "new.plan.toml", "--store", store, "--yes"];
    assert!(success(&sandbox.run(clean)).contains("removed `default-before`"));
    assert_eq!((name("default").as_deref(), name("default-before")), (Some("new"), None));
    let status =
        sandbox.run(["migrate", "status", "new.plan.toml", "--store", store, "--json"]).json();
    assert_eq!(status[0]["state"], "cleaned", "{status}");
}

#[test]
fn a_collection_moves_and_comes_back_in_a_file() {
    complete_migration("index.db", true);
}

#[test]
fn a_collection_moves_and_comes_back_in_postgres() {
    if let Some(server) = crate::server("postgres") {
        complete_migration(&server.address(), true);
    }
}

#[test]
fn a_store_that_cannot_rename_says_that_readers_need_an_alias() {
    if let Some(server) = crate::server("chroma") {
        complete_migration(&server.address(), false);
    }
}

/// Kills `run` at random moments. After one more run, the new collection is that of an undisturbed
/// one.
fn kills_lose_and_duplicate_nothing(store: &str, server: Option<&mut Server>, rounds: u64) {
    // More text than one batch of a migration.
    const FILES: u64 = 80;
    let mut server = server;
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).expect("a folder");
    (0..FILES).for_each(|file| sandbox.write(&format!("d/{file}.md"), essay(file)));
    let model = v2(V2[0]);
    assert_eq!(sandbox.run(["index", "d", "--model", &model, "--store", store]).status, Some(0));
    let tiny = tiny_v3().display().to_string();
    let plan = ["migrate", "plan", "--to", "new", "--model", &tiny, "--store", store];
    assert_eq!(sandbox.run(plan).status, Some(0));
    let run = ["migrate", "run", "new.plan.toml", "--threads", "1", "--store", store];
    let mut generator = Random::new(7);
    let mut random = |bound: u64| generator.below(bound.max(1) as usize) as u64;
    // With the precision that `verify` has in tests.
    let start = |sandbox: &Sandbox, run: &[&str]| {
        sandbox
            .command(crate::PROGRAM, run)
            .stderr(Stdio::null())
            .spawn()
            .expect("a running program")
    };
    let started = Instant::now();
    assert!(start(&sandbox, &run).wait().expect("an end").success());
    let duration = started.elapsed().as_millis() as u64;
    let undisturbed = content(&*open(store, &sandbox), "new");
    assert_eq!(undisturbed.len(), FILES as usize);
    for round in 0..rounds {
        // A run keeps what is there, so some documents are removed before each round.
        let gone: Vec<String> = undisturbed.keys().filter(|_| random(3) == 0).cloned().collect();
        open(store, &sandbox).remove("new", &gone).expect("removed");
        let mut child = start(&sandbox, &run);
        std::thread::sleep(Duration::from_millis(random(duration / 2)));
        if round % 5 == 4
            && let Some(server) = &mut server
        {
            server.crash();
        }
        // It may have ended.
        let _ = child.kill();
        child.wait().expect("an end");
    }
    drop(open(store, &sandbox));
    assert!(start(&sandbox, &run).wait().expect("an end").success());
    assert!(start(&sandbox, &run).wait().expect("an end").success());
    assert_eq!(content(&*open(store, &sandbox), "new"), undisturbed);
    let verified = step(&sandbox, store, "verify");
    assert_eq!(verified.status, Some(0), "{}{}", verified.text(), verified.stderr);
}

#[test]
#[ignore = "takes a minute; CI runs it"]
fn kills_lose_and_duplicate_nothing_in_a_file() {
    kills_lose_and_duplicate_nothing("index.db", None, 30);
}

#[test]
fn kills_lose_and_duplicate_nothing_in_postgres() {
    if let Some(mut server) = crate::server("postgres") {
        kills_lose_and_duplicate_nothing(&server.address(), Some(&mut server), 10);
    }
}

#[test]
fn changes_of_the_old_collection_are_caught_up_and_writes_of_others_are_kept() {
    let sandbox = planned("index.db");
    assert_eq!(step(&sandbox, "index.db", "run").status, Some(0));
    assert_eq!(step(&sandbox, "index.db", "verify").status, Some(0));
    // The old collection changes by `kokeshi index`, and somebody else writes to the new one.
    sandbox.write("notes/ship.txt", "Everything leaves by train now.\n");
    success(&sandbox.run(["index", "notes", "--store", "index.db"]));
    let switch = step(&sandbox, "index.db", "switch");
    assert!(switch.failure(4).contains("has changed since it began: it was verified with"));
    let mut store = open("index.db", &sandbox);
    let mut added = documents(&*store, "new").into_values().next().expect("a document");
    added.path = "added".to_owned();
    added.hash = "added".to_owned();
    store.upsert("new", &[added]).expect("written");
    let run = step(&sandbox, "index.db", "run");
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    let new = documents(&*store, "new");
    assert!(new.contains_key("added"));
    let ship = new.iter().find(|(path, _)| path.ends_with("ship.txt")).expect("a document").1;
    assert!(ship.chunks[0].text.contains("by train"), "{ship:?}");
    let verified = step(&sandbox, "index.db", "verify");
    assert_eq!(verified.status, Some(0), "{}", verified.text());
    assert!(verified.text().contains("1 more only in the new collection"), "{}", verified.text());
    let prune = sandbox.run(["migrate", "run", "new.plan.toml", "--prune"]);
    assert!(success(&prune).contains("1 removed"), "{}", prune.stderr);
    assert!(!documents(&*store, "new").contains_key("added"));
    assert_eq!(step(&sandbox, "index.db", "verify").status, Some(0));
    success(&step(&sandbox, "index.db", "switch"));
}

#[test]
#[ignore = "takes ten seconds; CI runs it"]
fn every_v2_model_is_recognized_and_foreign_vectors_are_not() {
    let sandbox = notes();
    // Several candidates can be distinguished only by their vectors of more than two texts.
    let letter =
        |seed: u64| format!("Letter {seed} is about ships, bread and the sea.\n\nGoodbye.");
    (0..6).for_each(|seed| sandbox.write(&format!("notes/{seed}.md"), letter(seed)));
    let candidates = V2.map(v2);
    let options: Vec<&str> =
        candidates.iter().flat_map(|model| ["--candidate", model.as_str()]).collect();
    for (at, model) in candidates.iter().enumerate() {
        let store = format!("{at}.db");
        success(&sandbox.run(["index", "notes", "--model", model, "--store", &store]));
        // The collection's own record must not decide the result.
        let mut opened = open(&store, &sandbox);
        let provenance =
            opened.collection("default").expect("a store").expect("a collection").provenance;
        let moved = Provenance { model: "starter".to_owned(), ..provenance };
        opened.create("moved", &moved).expect("a collection");
        let all: Vec<Document> = documents(&*opened, "default").into_values().collect();
        opened.upsert("moved", &all).expect("written");
        let output = ["--from", "moved", "--output", &format!("{at}.toml")].map(str::to_owned);
        let more: Vec<&str> = output.iter().map(String::as_str).chain(options.clone()).collect();
        let planned = plan(&sandbox, &store, &more);
        assert_eq!(planned.status, Some(0), "{}", planned.stderr);
        let named = planned.text().lines().find(|line| line.contains("so it was this one"));
        assert!(named.is_some_and(|line| line.contains(V2[at])), "{model}: {}", planned.text());
        change_all(&mut *opened, "moved");
        let output =
            ["--from", "moved", "--output", &format!("foreign-{at}.toml")].map(str::to_owned);
        let more: Vec<&str> = output.iter().map(String::as_str).chain(options.clone()).collect();
        let planned = plan(&sandbox, &store, &more);
        assert!(planned.text().contains("unknown: none of "), "{}", planned.text());
    }
}

fn change_all(store: &mut dyn Store, collection: &str) {
    let mut all: Vec<Document> = documents(store, collection).into_values().collect();
    let chunks = all.iter_mut().flat_map(|document| &mut document.chunks);
    chunks.for_each(|chunk| chunk.vector.reverse());
    store.upsert(collection, &all).expect("written");
}

#[test]
fn texts_that_are_too_long_are_listed_with_the_reason() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).expect("a folder");
    sandbox.write("d/short.txt", "A short text.\n");
    sandbox.write("d/tall.txt", "Another one.\n");
    success(&sandbox.run(["index", "d", "--late-chunking", "false", "--store", "index.db"]));
    // A chunk over the model's limit, as a foreign store may have it.
    let mut store = open("index.db", &sandbox);
    let mut all: Vec<Document> = documents(&*store, "default").into_values().collect();
    all[1].chunks[0].text = "word ".repeat(9000);
    store.upsert("default", &all).expect("written");
    let tiny = tiny_v3().display().to_string();
    let plan = ["migrate", "plan", "--to", "new", "--model", &tiny, "--late-chunking", "false"];
    passed(&sandbox.run(plan.iter().chain(&["--store", "index.db", "--sample", "1"])));
    let run = step(&sandbox, "index.db", "run");
    assert_eq!(run.status, Some(3), "{}", run.stderr);
    let failures = fs::read_to_string(sandbox.path("new.plan.failed.jsonl")).expect("a file");
    assert!(
        failures.contains("tall.txt") && failures.contains("the model's limit is"),
        "{failures}"
    );
    let verified = step(&sandbox, "index.db", "verify");
    assert_eq!(verified.status, Some(1));
    assert!(verified.text().contains("FAILED  no document failed"), "{}", verified.text());
}

#[test]
fn queries_are_ranked_and_a_page_is_written() {
    let sandbox = notes();
    success(&sandbox.run(["index", "notes", "--model", &v2(V2[0]), "--store", "index.db"]));
    let ship = open("index.db", &sandbox).list("default").expect("a list").pop().expect("one").path;
    let query = serde_json::json!({ "query": "how long does shipping take?", "relevant": [ship] });
    sandbox.write("q.jsonl", format!("{query}\n{{\"query\": \"<b>lamps</b>\"}}\n"));
    assert_eq!(plan(&sandbox, "index.db", &["--queries", "q.jsonl"]).status, Some(0));
    assert_eq!(step(&sandbox, "index.db", "run").status, Some(0));
    let verify = ["migrate", "verify", "new.plan.toml", "--json", "--html", "report.html"];
    let verified = sandbox.run(verify);
    assert_eq!(verified.status, Some(0), "{}", verified.stderr);
    let report: serde_json::Value = serde_json::from_str(verified.text()).expect("JSON");
    assert_eq!(report["passed"], true);
    assert_eq!(report["quality"]["new"]["recall@10"], 1.0, "{report}");
    assert_eq!(report["rankings"][0]["new"].as_array().expect("paths").len(), 2);
    let page = fs::read_to_string(sandbox.path("report.html")).expect("a page");
    assert!(page.contains("&lt;b&gt;lamps&lt;/b&gt;") && !page.contains("<b>lamps"), "{page}");
    assert!(page.contains("nDCG@10, after") && page.ends_with("</html>\n"));
    sandbox.write("q.jsonl", "{\"question\": 1}\n");
    let refused = sandbox.run(verify);
    assert!(refused.failure(4).contains("line 1 of"), "{}", refused.stderr);
}

#[test]
fn impossible_plans_are_refused() {
    let sandbox = planned("index.db");
    let again = plan(&sandbox, "index.db", &[]);
    assert!(again.failure(4).contains("new.plan.toml already exists"), "{}", again.stderr);
    for (more, wanted) in [
        (&["--from", "nothing", "--output", "p"][..], "no collection `nothing`"),
        (&["--dimensions", "999", "--output", "p"], "999"),
        (&["--to", "default", "--output", "p"], "collection `default` already exists"),
    ] {
        let mut arguments =
            vec!["migrate", "plan", "--model", "starter", "--store", "index.db", "--to", "other"];
        if more.contains(&"--to") {
            arguments.truncate(arguments.len() - 2);
        }
        let run = sandbox.run(arguments.iter().chain(more));
        assert!(run.failure(4).contains(wanted), "{more:?}: {}", run.stderr);
    }
    let text = fs::read_to_string(sandbox.path("new.plan.toml")).expect("a plan");
    assert_eq!(step(&sandbox, "index.db", "run").status, Some(0));
    sandbox.write("new.plan.toml", text.replace("dimensions = 384", "dimensions = 128"));
    let changed = step(&sandbox, "index.db", "run");
    assert!(
        changed
            .failure(4)
            .contains("the line `to.dimensions = 128` of the plan of `new` was `384`"),
        "{}",
        changed.stderr
    );
    sandbox.write("new.plan.toml", "name = 1");
    let broken = step(&sandbox, "index.db", "run");
    assert!(broken.failure(4).contains("is not a plan of a migration"), "{}", broken.stderr);
}

#[test]
fn an_empty_collection_moves_as_well() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("notes")).expect("a folder");
    success(&sandbox.run(["index", "notes", "--model", &v2(V2[0]), "--store", "index.db"]));
    assert_eq!(plan(&sandbox, "index.db", &[]).status, Some(0));
    for next in ["run", "verify", "switch"] {
        let run = step(&sandbox, "index.db", next);
        assert_eq!(run.status, Some(0), "{next}: {}{}", run.text(), run.stderr);
    }
}
