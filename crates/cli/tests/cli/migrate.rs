//! `kokeshi migrate`: complete migrations, plans, and what survives kills.

use crate::index::{essay, notes, said};
use crate::{Run, Sandbox, tiny_v3};
use kokeshi_store::{Address, Document, Provenance, Store};
use kokeshi_testkit::fixture;
use kokeshi_testkit::servers::Server;
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
    let place = notes();
    said(&place.run(["index", "notes", "--model", &v2(V2[0]), "--store", store]));
    let plan = plan(&place, store, &[]);
    assert_eq!(plan.status, Some(0), "{}", plan.stderr);
    place
}

pub(crate) fn plan(place: &Sandbox, store: &str, more: &[&str]) -> Run {
    let plan = ["migrate", "plan", "--to", "new", "--model", "starter", "--store", store];
    place.run(plan.iter().chain(more))
}

pub(crate) fn step(place: &Sandbox, store: &str, step: &str) -> Run {
    place.run(["migrate", step, "new.plan.toml", "--store", store])
}

pub(crate) fn open(store: &str, place: &Sandbox) -> Box<dyn Store> {
    let address = match store.contains("://") {
        true => Address::from(store),
        false => Address::File(place.path(store)),
    };
    // A server that was killed may need a while to recover.
    let begun = Instant::now();
    loop {
        match kokeshi_remote::open(&address) {
            Ok(store) => return store,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "a store: {error}"),
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
fn whole_migration(store: &str, renames: bool) {
    let place = planned(store);
    let plan = fs::read_to_string(place.path("new.plan.toml")).expect("a plan");
    for part in [
        "cosine 1.0000, so it was this one",
        "2 documents, 2 chunks",
        "48 dimensions",
        "256 dimensions: all that the model has",
        "passage_task = \"retrieval.passage\"",
        "kokeshi migrate run new.plan.toml",
    ] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    assert!(!plan.contains("kokeshi-test"), "a password is shown: {plan}");
    for (wanted, next) in [("switch", "the ledger does not contain it"), ("rollback", "the ledger")]
    {
        let refused = step(&place, store, wanted);
        assert!(refused.failure(1).contains(next), "{}", refused.stderr);
    }
    assert!(said(&step(&place, store, "run")).contains("wrote 2 documents with 2 chunks"));
    let refused = step(&place, store, "switch");
    assert!(
        refused.failure(1).contains("is running, and cannot be switched"),
        "{}",
        refused.stderr
    );
    let again = step(&place, store, "run");
    assert!(said(&again).contains("wrote 0 documents with 0 chunks"), "{}", again.stderr);
    assert!(again.stderr.contains("2 already up to date"), "{}", again.stderr);
    let verified = step(&place, store, "verify");
    assert_eq!(verified.status, Some(0), "{}{}", verified.text(), verified.stderr);
    assert!(!verified.text().contains("FAILED"), "{}", verified.text());
    assert!(verified.text().contains("2 of 2 chunks of 2 documents"), "{}", verified.text());
    let search = |wanted: &str| {
        let found = place
            .run(["search", "how long does shipping take?", "--json", "--store", store])
            .json();
        assert_eq!(found["collection"].as_str().unwrap_or(wanted), wanted, "{found}");
        found["hits"].as_array().expect("hits").len()
    };
    assert_eq!(search("default"), 2);
    let dry = ["migrate", "switch", "new.plan.toml", "--store", store, "--dry-run"];
    assert!(place.run(dry).quiet().contains("new"));
    let switched = step(&place, store, "switch");
    if !renames {
        let error = switched.failure(1);
        assert!(error.contains("aliases: let readers use one"), "{error}");
        return;
    }
    assert!(said(&switched).contains("`default` is now `new`"), "{}", switched.stderr);
    let name = |name: &str| open(store, &place).collection(name).expect("a store").map(|c| c.name);
    assert_eq!(name("default").as_deref(), Some("new"));
    assert_eq!(name("default-before").as_deref(), Some("default-before"));
    assert_eq!(search("new"), 2);
    // The new collection is kept up to date as well: nothing changed, so nothing is embedded.
    let index = place.run(["index", "--store", store]);
    assert!(said(&index).contains("2 unchanged"), "{}", index.stderr);
    let refused = step(&place, store, "run");
    assert!(refused.failure(1).contains("is switched, and cannot be run"), "{}", refused.stderr);
    let dry = ["migrate", "rollback", "new.plan.toml", "--store", store, "--dry-run"];
    let calls = place.run(dry);
    assert!(!calls.quiet().contains("SET name"), "nothing is renamed back: {}", calls.text());
    said(&step(&place, store, "rollback"));
    assert_eq!(name("default").as_deref(), Some("default-before"));
    assert_eq!(search("default-before"), 2);
    assert_eq!(step(&place, store, "run").status, Some(0));
    assert_eq!(step(&place, store, "verify").status, Some(0));
    said(&step(&place, store, "switch"));
    let refused = step(&place, store, "clean");
    assert!(
        refused.failure(1).contains("use --yes to skip the confirmation"),
        "{}",
        refused.stderr
    );
    let clean = ["migrate", "clean", "new.plan.toml", "--store", store, "--yes"];
    assert!(said(&place.run(clean)).contains("removed `default-before`"));
    assert_eq!((name("default").as_deref(), name("default-before")), (Some("new"), None));
    let status =
        place.run(["migrate", "status", "new.plan.toml", "--store", store, "--json"]).json();
    assert_eq!(status[0]["state"], "cleaned", "{status}");
}

#[test]
fn a_collection_moves_and_comes_back_in_a_file() {
    whole_migration("index.db", true);
}

#[test]
fn a_collection_moves_and_comes_back_in_postgres() {
    if let Some(server) = crate::server("postgres") {
        whole_migration(&server.address(), true);
    }
}

#[test]
fn a_store_that_cannot_rename_says_that_readers_need_an_alias() {
    if let Some(server) = crate::server("chroma") {
        whole_migration(&server.address(), false);
    }
}

/// Kills `run` at random moments. After one more run, the new collection is that of an undisturbed
/// one.
fn kills_lose_and_duplicate_nothing(store: &str, server: Option<&mut Server>, rounds: u64) {
    const FILES: u64 = 120;
    let mut server = server;
    let place = Sandbox::new();
    fs::create_dir(place.path("d")).expect("a folder");
    (0..FILES).for_each(|file| place.write(&format!("d/{file}.md"), essay(file)));
    let model = v2(V2[0]);
    assert_eq!(place.run(["index", "d", "--model", &model, "--store", store]).status, Some(0));
    assert_eq!(plan(&place, store, &[]).status, Some(0));
    let run = ["migrate", "run", "new.plan.toml", "--threads", "1", "--store", store];
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below.max(1)
    };
    // With the precision that `verify` has in tests.
    let start = |place: &Sandbox, run: &[&str]| {
        place.command(crate::PROGRAM, run).stderr(Stdio::null()).spawn().expect("a running program")
    };
    let begun = Instant::now();
    assert!(start(&place, &run).wait().expect("an end").success());
    let whole = begun.elapsed().as_millis() as u64;
    let undisturbed = content(&*open(store, &place), "new");
    assert_eq!(undisturbed.len(), FILES as usize);
    for round in 0..rounds {
        // What is there stays: some documents have to be written again in each round.
        let gone: Vec<String> = undisturbed.keys().filter(|_| random(3) > 0).cloned().collect();
        open(store, &place).remove("new", &gone).expect("removed");
        let mut child = start(&place, &run);
        std::thread::sleep(Duration::from_millis(random(whole)));
        if round % 5 == 4
            && let Some(server) = &mut server
        {
            server.crash();
        }
        // It may have ended.
        let _ = child.kill();
        child.wait().expect("an end");
    }
    drop(open(store, &place));
    assert!(start(&place, &run).wait().expect("an end").success());
    assert!(start(&place, &run).wait().expect("an end").success());
    assert_eq!(content(&*open(store, &place), "new"), undisturbed);
    let verified = step(&place, store, "verify");
    assert_eq!(verified.status, Some(0), "{}{}", verified.text(), verified.stderr);
}

#[test]
fn kills_lose_and_duplicate_nothing_in_a_file() {
    kills_lose_and_duplicate_nothing("index.db", None, 30);
}

#[test]
fn kills_lose_and_duplicate_nothing_in_postgres() {
    if let Some(mut server) = crate::server("postgres") {
        kills_lose_and_duplicate_nothing(&server.address(), Some(&mut server), 30);
    }
}

#[test]
fn changes_of_the_old_collection_are_caught_up_and_writes_of_others_are_kept() {
    let place = planned("index.db");
    assert_eq!(step(&place, "index.db", "run").status, Some(0));
    assert_eq!(step(&place, "index.db", "verify").status, Some(0));
    // The old collection changes by `kokeshi index`, and somebody else writes to the new one.
    place.write("notes/ship.txt", "Everything leaves by train now.\n");
    said(&place.run(["index", "notes", "--store", "index.db"]));
    let switch = step(&place, "index.db", "switch");
    assert!(switch.failure(1).contains("has changed since it began: it was verified with"));
    let mut store = open("index.db", &place);
    let mut theirs = documents(&*store, "new").into_values().next().expect("a document");
    theirs.path = "theirs".to_owned();
    theirs.hash = "theirs".to_owned();
    store.upsert("new", &[theirs]).expect("written");
    let run = step(&place, "index.db", "run");
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    let new = documents(&*store, "new");
    assert!(new.contains_key("theirs"));
    let ship = new.iter().find(|(path, _)| path.ends_with("ship.txt")).expect("a document").1;
    assert!(ship.chunks[0].text.contains("by train"), "{ship:?}");
    let verified = step(&place, "index.db", "verify");
    assert_eq!(verified.status, Some(0), "{}", verified.text());
    assert!(verified.text().contains("1 more only in the new collection"), "{}", verified.text());
    let prune = place.run(["migrate", "run", "new.plan.toml", "--prune"]);
    assert!(said(&prune).contains("1 removed"), "{}", prune.stderr);
    assert!(!documents(&*store, "new").contains_key("theirs"));
    assert_eq!(step(&place, "index.db", "verify").status, Some(0));
    said(&step(&place, "index.db", "switch"));
}

#[test]
fn every_v2_model_is_recognized_and_foreign_vectors_are_not() {
    let place = notes();
    // Several candidates can be distinguished only by their vectors of more than two texts.
    (0..6).for_each(|seed| place.write(&format!("notes/{seed}.md"), essay(seed)));
    let candidates = V2.map(v2);
    let options: Vec<&str> =
        candidates.iter().flat_map(|model| ["--candidate", model.as_str()]).collect();
    for (at, model) in candidates.iter().enumerate() {
        let store = format!("{at}.db");
        said(&place.run(["index", "notes", "--model", model, "--store", &store]));
        // The collection's own record must not be what decides.
        let mut opened = open(&store, &place);
        let made = opened.collection("default").expect("a store").expect("a collection").provenance;
        let moved = Provenance { model: "starter".to_owned(), ..made };
        opened.create("moved", &moved).expect("a collection");
        let all: Vec<Document> = documents(&*opened, "default").into_values().collect();
        opened.upsert("moved", &all).expect("written");
        let output = ["--from", "moved", "--output", &format!("{at}.toml")].map(str::to_owned);
        let more: Vec<&str> = output.iter().map(String::as_str).chain(options.clone()).collect();
        let said = plan(&place, &store, &more);
        assert_eq!(said.status, Some(0), "{}", said.stderr);
        let named = said.text().lines().find(|line| line.contains("so it was this one"));
        assert!(named.is_some_and(|line| line.contains(V2[at])), "{model}: {}", said.text());
        change_all(&mut *opened, "moved");
        let output =
            ["--from", "moved", "--output", &format!("foreign-{at}.toml")].map(str::to_owned);
        let more: Vec<&str> = output.iter().map(String::as_str).chain(options.clone()).collect();
        let said = plan(&place, &store, &more);
        assert!(said.text().contains("unknown: none of "), "{}", said.text());
    }
}

#[track_caller]
fn said_data(run: &Run) {
    assert_eq!(run.status, Some(0), "{}", run.stderr);
}

fn change_all(store: &mut dyn Store, collection: &str) {
    let mut all: Vec<Document> = documents(store, collection).into_values().collect();
    let chunks = all.iter_mut().flat_map(|document| &mut document.chunks);
    chunks.for_each(|chunk| chunk.vector.reverse());
    store.upsert(collection, &all).expect("written");
}

#[test]
fn texts_that_are_too_long_are_listed_with_the_reason() {
    let place = Sandbox::new();
    fs::create_dir(place.path("d")).expect("a folder");
    place.write("d/short.txt", "A short text.\n");
    place.write("d/tall.txt", "Another one.\n");
    said(&place.run(["index", "d", "--late-chunking", "false", "--store", "index.db"]));
    // A chunk over the model's limit, as a foreign store may have it.
    let mut store = open("index.db", &place);
    let mut all: Vec<Document> = documents(&*store, "default").into_values().collect();
    all[1].chunks[0].text = "word ".repeat(9000);
    store.upsert("default", &all).expect("written");
    let tiny = tiny_v3().display().to_string();
    let plan = ["migrate", "plan", "--to", "new", "--model", &tiny, "--late-chunking", "false"];
    said_data(&place.run(plan.iter().chain(&["--store", "index.db", "--sample", "1"])));
    let run = step(&place, "index.db", "run");
    assert_eq!(run.status, Some(1), "{}", run.stderr);
    let dead = fs::read_to_string(place.path("new.plan.failed.jsonl")).expect("a file");
    assert!(dead.contains("tall.txt") && dead.contains("the model's limit is"), "{dead}");
    let verified = step(&place, "index.db", "verify");
    assert_eq!(verified.status, Some(1));
    assert!(verified.text().contains("FAILED  no document failed"), "{}", verified.text());
}

#[test]
fn queries_are_ranked_and_a_page_is_written() {
    let place = notes();
    said(&place.run(["index", "notes", "--model", &v2(V2[0]), "--store", "index.db"]));
    let ship = open("index.db", &place).list("default").expect("a list").pop().expect("one").path;
    let query = serde_json::json!({ "query": "how long does shipping take?", "relevant": [ship] });
    place.write("q.jsonl", format!("{query}\n{{\"query\": \"<b>lamps</b>\"}}\n"));
    assert_eq!(plan(&place, "index.db", &["--queries", "q.jsonl"]).status, Some(0));
    assert_eq!(step(&place, "index.db", "run").status, Some(0));
    let verify = ["migrate", "verify", "new.plan.toml", "--json", "--html", "report.html"];
    let verified = place.run(verify);
    assert_eq!(verified.status, Some(0), "{}", verified.stderr);
    let report: serde_json::Value = serde_json::from_str(verified.text()).expect("JSON");
    assert_eq!(report["passed"], true);
    assert_eq!(report["quality"]["new"]["recall@10"], 1.0, "{report}");
    assert_eq!(report["rankings"][0]["new"].as_array().expect("paths").len(), 2);
    let page = fs::read_to_string(place.path("report.html")).expect("a page");
    assert!(page.contains("&lt;b&gt;lamps&lt;/b&gt;") && !page.contains("<b>lamps"), "{page}");
    assert!(page.contains("nDCG@10, after") && page.ends_with("</html>\n"));
    place.write("q.jsonl", "{\"question\": 1}\n");
    let refused = place.run(verify);
    assert!(refused.failure(1).contains("line 1 of"), "{}", refused.stderr);
}

#[test]
fn impossible_plans_are_refused() {
    let place = planned("index.db");
    let again = plan(&place, "index.db", &[]);
    assert!(again.failure(1).contains("new.plan.toml already exists"), "{}", again.stderr);
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
        let run = place.run(arguments.iter().chain(more));
        assert!(run.failure(1).contains(wanted), "{more:?}: {}", run.stderr);
    }
    let text = fs::read_to_string(place.path("new.plan.toml")).expect("a plan");
    assert_eq!(step(&place, "index.db", "run").status, Some(0));
    place.write("new.plan.toml", text.replace("dimensions = 256", "dimensions = 128"));
    let changed = step(&place, "index.db", "run");
    assert!(changed.failure(1).contains("has changed since it began"), "{}", changed.stderr);
    place.write("new.plan.toml", "name = 1");
    let broken = step(&place, "index.db", "run");
    assert!(broken.failure(1).contains("is not a plan of a migration"), "{}", broken.stderr);
}

#[test]
fn an_empty_collection_moves_as_well() {
    let place = Sandbox::new();
    fs::create_dir(place.path("notes")).expect("a folder");
    said(&place.run(["index", "notes", "--model", &v2(V2[0]), "--store", "index.db"]));
    assert_eq!(plan(&place, "index.db", &[]).status, Some(0));
    for next in ["run", "verify", "switch"] {
        let run = step(&place, "index.db", next);
        assert_eq!(run.status, Some(0), "{next}: {}{}", run.text(), run.stderr);
    }
}
