//! `kokeshi ann`, and the ANN index in `search` and `status`.

use crate::Sandbox;
use crate::durable::on_a_small_disk;
use crate::index::{essay, said, start, store};
use std::fs;
use std::time::Instant;

/// A folder `d` of 40 texts, indexed.
fn indexed() -> Sandbox {
    let place = Sandbox::new();
    fs::create_dir(place.path("d")).expect("a folder");
    (0..40).for_each(|file| place.write(&format!("d/{file}.md"), essay(file)));
    said(&place.run(["index", "d"]));
    place
}

/// The store `n.db` of 4000 short sentences.
fn sentences() -> Sandbox {
    let place = Sandbox::new();
    fs::create_dir(place.path("d")).expect("a folder");
    let sentence = |at: u64| format!("Sentence {at} is short. ");
    for file in 0..40 {
        let text: String = (100 * file..100 * (file + 1)).map(sentence).collect();
        place.write(&format!("d/{file}.md"), text);
    }
    said(&place.run(["index", "d", "--store", "n.db", "--chunk", "sentences"]));
    place
}

#[test]
fn an_index_is_built_reported_and_used_until_it_does_not_fit() {
    let place = indexed();
    let store = ["--store", "d/.kokeshi/index.db"];
    let run = |arguments: &[&str]| place.run(arguments.iter().chain(&store));
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
    (100..115).for_each(|file| place.write(&format!("d/{file}.md"), essay(file)));
    said(&run(&["index"]));
    let status = run(&["status"]);
    assert!(
        status.quiet().contains("are newer, and search scans all vectors: `kokeshi ann`"),
        "{}",
        status.text()
    );
    hits(&[]).quiet();
    run(&["near"]).quiet();
    let folder = place.path("d/.kokeshi/index.db.near/1");
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
    let place = sentences();
    let script = "cp n.db small/ || exit 90; \
                  $KOKESHI ann --store small/n.db; echo status $?; \
                  test -z \"$(ls small/n.db.near/1)\" || exit 91; \
                  $KOKESHI search 'sentence' --store small/n.db -l -n 1 > hits || exit 92; \
                  rm small/ballast; \
                  $KOKESHI ann --store small/n.db > made || exit 93";
    let Some(run) = on_a_small_disk(&place, script) else {
        eprintln!("skipped: a small disk needs `unshare` and the right to mount a tmpfs");
        return;
    };
    assert_eq!((run.status, run.text()), (Some(0), "status 1\n"), "{}", run.stderr);
    assert!(
        run.stderr.contains("no space is left for") && run.stderr.contains("nothing was changed")
    );
    assert!(fs::read_to_string(place.path("made")).expect("a text").contains("recall@10"));
}

#[test]
fn a_killed_build_leaves_a_whole_index() {
    let place = sentences();
    let build = ["ann", "--store", "n.db"];
    let begun = Instant::now();
    place.run(build).quiet();
    let whole = begun.elapsed();
    let made = || {
        let status = place.run(["status", "--store", "n.db", "--json"]).json();
        status["collections"][0]["near"].clone()
    };
    let first = made();
    for round in 1..=10 {
        let mut child = start(&place, &build);
        std::thread::sleep(whole * round / 12);
        child.kill().expect("a kill");
        child.wait().expect("an end");
        let search = ["search", "Sentence 77 is short.", "--store", "n.db", "-n", "1", "--json"];
        let hits = place.run(search).json()["hits"].clone();
        assert_eq!(hits[0]["text"], "Sentence 77 is short.", "round {round}: {hits}");
        // In a late round, the build may have ended: then the index is another one.
        let left = made();
        assert_eq!((&left["used"], &left["vectors"]), (&true.into(), &first["vectors"]), "{left}");
    }
    assert!(store(&place, "n.db").check().expect("a check").is_empty());
    place.run(build).quiet();
    let files = fs::read_dir(place.path("n.db.near/1")).expect("a folder");
    assert_eq!(files.count(), 1);
}

#[test]
fn an_unknown_collection_or_store_cannot_have_an_index() {
    let place = indexed();
    let missing = place.run(["ann", "--store", "d/.kokeshi/index.db", "--collection", "x"]);
    assert!(missing.failure(1).contains("no collection `x`"));
    assert!(place.run(["ann"]).failure(1).contains("no index"));
}
