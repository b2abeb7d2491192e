//! Speed and memory of a migration, with the starter model.
//!
//! ```sh
//! cargo run --release -p kokeshi-migrate --example bars -- throughput [STORE]
//! cargo run --release -p kokeshi-migrate --example bars -- memory 10000
//! ```
//!
//! `throughput` alternates between embedding all documents in one call and migrating them; `memory`
//! prints the peak resident memory of a migration of N one-line documents, and that before it.

#![expect(clippy::print_stdout, reason = "it prints figures")]

use kokeshi::{LoadOptions, Model};
use kokeshi_collections::{Embedder, Embeddings};
use kokeshi_migrate::{Locations, Plan, RunLimits, Side, run};
use kokeshi_store::{Address, Chunk, ChunkLocation, Document, Provenance, Storage, Store};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const DOCUMENTS: usize = 1500;
const WORDS: [&str; 12] =
    ["the", "lamp", "in", "hall", "is", "too", "dark", "a", "brighter", "bulb", "helps", "people"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["throughput"] => with_folder(|folder| {
            throughput(&Address::File(folder.join("a.db")), folder);
        }),
        ["throughput", store] => with_folder(|folder| throughput(&store.into(), folder)),
        ["memory", count] => {
            let count = count.parse().expect("a number");
            with_folder(|folder| memory(count, folder));
        }
        _ => panic!("throughput [STORE] or memory N"),
    }
}

fn with_folder(work: impl FnOnce(&Path)) {
    work(tempfile::tempdir().expect("a folder").path());
}

/// A document with `chunks` chunks of `length` words each.
fn document(number: usize, chunks: usize, length: usize) -> Document {
    let (mut end, mut all) = (0, Vec::new());
    for at in 0..chunks {
        let word = |n: usize| WORDS[(number * 7 + at * 5 + n * n) % WORDS.len()];
        let text = format!("{number} {}. ", (0..length).map(word).collect::<Vec<_>>().join(" "));
        let location = ChunkLocation { bytes: end..end + text.len(), ..ChunkLocation::default() };
        end += text.len();
        let vector = vec![1.0; 8];
        all.push(Chunk { location, text, metadata: serde_json::Map::new(), vector });
    }
    Document {
        path: format!("{number:08}"),
        hash: number.to_string(),
        modified: 1,
        size: end as u64,
        format: "text".to_owned(),
        metadata: serde_json::Map::new(),
        chunks: all,
    }
}

/// The plan of a migration from made-up vectors to those of the starter model.
fn plan(to: &str, address: &Address) -> Plan {
    let old = Provenance {
        model: "old".to_owned(),
        revision: "1".to_owned(),
        passage_task: None,
        query_task: None,
        dimensions: 8,
        normalized: true,
        chunking: "structure:256".to_owned(),
        late: true,
        storage: Storage::F16,
        codes: None,
    };
    let new = Provenance {
        model: "starter".to_owned(),
        passage_task: Some("retrieval.passage".to_owned()),
        dimensions: 256,
        ..old.clone()
    };
    Plan {
        name: to.to_owned(),
        store: address.to_string(),
        source: None,
        fields: None,
        switch: "old".to_owned(),
        kept: "kept".to_owned(),
        sample: 10,
        queries: None,
        from: Side::of("old", &old),
        to: Side::of(to, &new),
    }
}

fn embedder() -> Embedder {
    let model = Arc::new(Model::starter(&LoadOptions::default()).expect("a model"));
    let passage_task = Some("retrieval.passage".to_owned());
    Embedder { model, passage_task, query_task: None, dimensions: 384, late: true }
}

fn fill(address: &Address, count: usize, document: impl Fn(usize) -> Document) -> Box<dyn Store> {
    let mut store = kokeshi_remote::create(address).expect("a store");
    if store.collection("old").expect("a store").is_some() {
        store.drop_collection("old").expect("dropped");
    }
    let provenance = plan("new", address).from.provenance().expect("a provenance");
    store.create("old", &provenance).expect("a collection");
    for first in (0..count).step_by(1000) {
        let documents: Vec<Document> = (first..count.min(first + 1000)).map(&document).collect();
        store.upsert("old", &documents).expect("written");
    }
    store
}

/// Migrates to the collection `to`, and returns the number of tokens.
fn migrate(to: &str, address: &Address, embedder: &Embedder, ledger: &Path) -> usize {
    let stop = AtomicBool::new(false);
    let limits = RunLimits { rate: None, prune: false, stop: &stop };
    let (locations, plan) = (Locations::within(address.clone()), plan(to, address));
    let source = locations.open_source("old").expect("a store");
    let summary = run(&plan, source, (&locations, ledger), embedder, limits, &mut |_| ());
    let summary = summary.expect("a run");
    assert_eq!((summary.failed, summary.stopped), (0, false));
    summary.tokens
}

fn throughput(address: &Address, folder: &Path) {
    let mut store = fill(address, DOCUMENTS, |number| document(number, 6, 40));
    let all: Vec<Document> = (0..DOCUMENTS).map(|number| document(number, 6, 40)).collect();
    let (embedder, ledger) = (embedder(), folder.join("ledger"));
    let mut ratios = Vec::new();
    for round in 0..=ROUNDS {
        let start = Instant::now();
        let Embeddings { vectors, tokens } = embedder.documents(&all).expect("vectors");
        let alone = tokens as f64 / start.elapsed().as_secs_f64();
        let to = format!("new-{round}");
        let start = Instant::now();
        assert_eq!(migrate(&to, address, &embedder, &ledger), tokens);
        let moved = tokens as f64 / start.elapsed().as_secs_f64();
        // The written vectors are those that the engine computes.
        let first = store.documents(&to, &["00000000".to_owned()]).expect("a document");
        assert_eq!(first[0].chunks[0].vector, Storage::F16.rounded(&vectors[0]));
        store.drop_collection(&to).expect("dropped");
        // The first round warms up.
        if round > 0 {
            println!(
                "engine {alone:.0} tokens/s, migration {moved:.0} tokens/s: {:.3}",
                moved / alone
            );
            ratios.push(moved / alone);
        }
    }
    ratios.sort_by(f64::total_cmp);
    println!("median of {ROUNDS} rounds: {:.3} of the engine's tokens/s", ratios[ROUNDS / 2]);
}

fn memory(count: usize, folder: &Path) {
    let address = Address::File(folder.join("a.db"));
    drop(fill(&address, count, |number| document(number, 1, 3)));
    let (embedder, ledger) = (embedder(), folder.join("ledger"));
    embedder.documents(&[document(0, 1, 3)]).expect("vectors");
    let (before, start, done) = (resident(), Instant::now(), AtomicBool::new(false));
    let (tokens, peak) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut peak = 0;
            while !done.load(Ordering::Relaxed) {
                peak = peak.max(resident());
                std::thread::sleep(Duration::from_millis(20));
            }
            peak
        });
        let tokens = migrate("new", &address, &embedder, &ledger);
        done.store(true, Ordering::Relaxed);
        (tokens, watch.join().expect("a peak"))
    });
    println!(
        "{count} documents, {tokens} tokens in {:.1} s: {} MiB at most, {} MiB before the run",
        start.elapsed().as_secs_f64(),
        peak >> 10,
        before >> 10
    );
}

/// Resident memory of the process that is not backed by a file, in kilobytes.
fn resident() -> u64 {
    status("RssAnon:")
}

fn status(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
