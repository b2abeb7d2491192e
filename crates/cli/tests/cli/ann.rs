//! `kokeshi ann`, and the ANN index in `search` and `status`.

use crate::durable::on_a_small_disk;
use crate::index::{essay, start, store, success};
use crate::{Sandbox, tiny_v3};
use std::fs;
use std::time::Instant;

/// A folder `d` of 40 texts, indexed.
fn indexed() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).expect("a folder");
    (0..40).for_each(|file| sandbox.write(&format!("d/{file}.md"), essay(file)));
    success(&sandbox.run(["index", "d", "--model", &tiny_v3().display().to_string()]));
    sandbox
}

/// The store `n.db` of `count` short sentences, embedded with `model`.
fn sentences(count: u64, model: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).expect("a folder");
    let sentence = |at: u64| format!("Sentence {at} is short. ");
    for file in 0..40 {
        let text: String = (file * count / 40..(file + 1) * count / 40).map(sentence).collect();
        sandbox.write(&format!("d/{file}.md"), text);
    }
    let options = ["--store", "n.db", "--chunk", "sentences", "--model", model];
    success(&sandbox.run(["index", "d"].iter().chain(&options)));
    sandbox
}

#[test]
fn an_index_is_built_reported_and_used_until_it_does_not_fit() {
    let sandbox = indexed();
    let store = ["--store", "d/.kokeshi/index.db"];
    let run = |arguments: &[&str]| sandbox.run(arguments.iter().chain(&store));
    assert!(!run(&["status"]).quiet().contains("ANN"));
    let built = run(&["ann", "--json"]).json();
    let chunks = run(&["status", "--json"]).json()["collections"][0]["chunks"].clone();
    assert_eq!((&built["vectors"], &built["collection"]), (&chunks, &"default".into()));
    assert!(built["recall_10"].as_f64().is_some_and(|recall| recall > 0.97), "{built}");
    assert!(built["queries"].as_u64().is_some_and(|queries| queries >= 40), "{built}");
    for time in ["seconds", "median_ms", "exact_median_ms"] {
        assert!(built[time].as_f64().is_some_and(|time| time > 0.0), "{built}");
    }
    let status = run(&["status", "--json"]).json()["collections"][0]["near"].clone();
    assert_eq!((&status["used"], &status["newer"]), (&true.into(), &0.into()), "{status}");
    assert!(run(&["status"]).quiet().contains(&format!("{chunks} vectors, recall@10 ")));
    let text = run(&["ann"]);
    assert!(text.quiet().contains("recall@10  ") && text.text().contains("ms exact"));
    let query = ["search", "a river and its boats", "-n", "1", "--json"];
    let hits = |exact: &[&str]| run(&[&query, exact].concat());
    assert_eq!(hits(&[]).json()["hits"], hits(&["--exact"]).json()["hits"]);
    // A quarter of the texts is new.
    (100..115).for_each(|file| sandbox.write(&format!("d/{file}.md"), essay(file)));
    success(&run(&["index"]));
    let status = run(&["status"]);
    assert!(
        status.quiet().contains("are newer, and search scans all vectors: `kokeshi ann`"),
        "{}",
        status.text()
    );
    hits(&[]).quiet();
    run(&["near"]).quiet();
    let folder = sandbox.path("d/.kokeshi/index.db.near/1");
    let file = fs::read_dir(&folder).expect("a folder").next().expect("a file").expect("a file");
    fs::write(file.path(), "no graph").expect("a damaged file");
    let found = hits(&[]);
    assert_eq!(found.status, Some(0));
    assert_eq!(found.stderr.lines().count(), 1, "{}", found.stderr);
    assert!(found.stderr.contains("is not used") && found.stderr.contains("`kokeshi ann`"));
    hits(&["--exact"]).quiet();
    assert!(run(&["status"]).quiet().contains("not used: its file has 8 bytes"));
    fs::remove_dir_all(folder).expect("removed");
    hits(&[]).quiet();
}

#[test]
fn a_full_disk_is_reported_and_search_works_as_before() {
    let sandbox = sentences(4000, &tiny_v3().display().to_string());
    let script = "cp n.db small/ || exit 90; \
                  $KOKESHI ann --store small/n.db; echo status $?; \
                  test -z \"$(ls small/n.db.near/1)\" || exit 91; \
                  $KOKESHI search 'sentence' --store small/n.db -l -n 1 > hits || exit 92; \
                  rm small/ballast; \
                  $KOKESHI ann --store small/n.db > report || exit 93";
    let Some(run) = on_a_small_disk(&sandbox, 3, script) else {
        eprintln!("skipped: a small disk needs `unshare` and the right to mount a tmpfs");
        return;
    };
    assert_eq!((run.status, run.text()), (Some(0), "status 4\n"), "{}", run.stderr);
    assert!(
        run.stderr.contains("no space is left for") && run.stderr.contains("nothing was changed")
    );
    assert!(fs::read_to_string(sandbox.path("report")).expect("a text").contains("recall@10"));
}

#[test]
fn a_killed_build_leaves_a_whole_index() {
    let sandbox = sentences(1000, "starter");
    let build = ["ann", "--store", "n.db"];
    let search = ["search", "Sentence 77 is short.", "--store", "n.db", "-n", "1", "--json"];
    let nearest = sandbox.run(search).json()["hits"][0]["text"].clone();
    let started = Instant::now();
    sandbox.run(build).quiet();
    let duration = started.elapsed();
    let index = || {
        let status = sandbox.run(["status", "--store", "n.db", "--json"]).json();
        status["collections"][0]["near"].clone()
    };
    let first = index();
    for round in 1..=10 {
        let mut child = start(&sandbox, &build);
        std::thread::sleep(duration * round / 12);
        child.kill().expect("a kill");
        child.wait().expect("an end");
        let hits = sandbox.run(search).json()["hits"].clone();
        assert_eq!(hits[0]["text"], nearest, "round {round}: {hits}");
        // In a late round, the build may have ended: then the index is another one.
        let current = index();
        assert_eq!(
            (&current["used"], &current["vectors"]),
            (&true.into(), &first["vectors"]),
            "{current}"
        );
    }
    assert!(store(&sandbox, "n.db").check().expect("a check").is_empty());
    sandbox.run(build).quiet();
    let files = fs::read_dir(sandbox.path("n.db.near/1")).expect("a folder");
    assert_eq!(files.count(), 1);
}

#[test]
fn an_unknown_collection_or_store_cannot_have_an_index() {
    let sandbox = indexed();
    let missing = sandbox.run(["ann", "--store", "d/.kokeshi/index.db", "--collection", "x"]);
    assert!(missing.failure(4).contains("no collection `x`"));
    assert!(sandbox.run(["ann"]).failure(4).contains("no index"));
}

#[test]
fn a_damaged_index_never_ends_a_search() {
    const TRIALS: usize = 24;
    let sandbox = sentences(4000, &tiny_v3().display().to_string());
    let search = ["search", "Sentence 77 is short.", "--store", "n.db", "-n", "1"];
    let exact = sandbox.run(search).text().to_owned();
    sandbox.run(["ann", "--store", "n.db"]).quiet();
    let folder = sandbox.path("n.db.near/1");
    let file =
        fs::read_dir(folder).expect("a folder").next().expect("a file").expect("a file").path();
    let whole = fs::read(&file).expect("a file");
    let mut random = kokeshi_testkit::Random::new(3);
    let mut unused = 0;
    for trial in 0..TRIALS {
        let mut damaged = whole.clone();
        match trial % 4 {
            // Random bytes in some pages, a page of another place, one bit, and everything.
            0 => (0..8).for_each(|_| {
                let page = random.below(damaged.len() / 4096) * 4096;
                damaged[page..page + 64]
                    .iter_mut()
                    .for_each(|byte| *byte = random.below(256) as u8);
            }),
            1 => (0..4).for_each(|_| {
                let [from, to] = [0; 2].map(|_| random.below(damaged.len() / 4096) * 4096);
                damaged.copy_within(from..from + 4096, to);
            }),
            2 => (0..2000).for_each(|_| {
                let at = random.below(damaged.len());
                damaged[at] ^= 1 << random.below(8);
            }),
            _ => damaged.iter_mut().step_by(7).for_each(|byte| *byte = random.below(256) as u8),
        }
        fs::write(&file, damaged).expect("a damaged file");
        let found = sandbox.run(search);
        assert_eq!(found.status, Some(0), "trial {trial}: {}", found.stderr);
        assert_eq!(found.text(), exact, "trial {trial}");
        unused += usize::from(found.stderr.contains("the ANN index is not used"));
        if trial % 6 == 0 {
            let status = sandbox.run(["status", "--store", "n.db"]);
            assert_eq!(status.status, Some(0), "trial {trial}: {}", status.stderr);
        }
    }
    assert!(unused >= TRIALS / 4, "only {unused} of {TRIALS} damages were noticed");
}
