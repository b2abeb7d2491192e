//! Servers of stores behind a bad network, and servers that stand still.

use crate::index::{content, essay, start};
use crate::{Run, Sandbox};
use kokeshi_store::Address;
use kokeshi_testkit::proxy::{Disturbance, Proxy};
use std::fs;
use std::time::{Duration, Instant};

const FILES: u64 = 24;

fn folder_of_essays() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).expect("a folder");
    (0..FILES).for_each(|file| write(&sandbox, file, file));
    sandbox
}

fn write(sandbox: &Sandbox, file: u64, seed: u64) {
    sandbox.write(&format!("d/{file}.md"), essay(seed));
}

fn index<'a>(model: &'a str, store: &'a str) -> [&'a str; 8] {
    ["index", "d", "--threads", "1", "--model", model, "--store", store]
}

/// Runs a command that must end in time, with a result or an error.
#[track_caller]
fn bounded(sandbox: &Sandbox, arguments: &[&str], limit: Duration) -> Run {
    let started = Instant::now();
    let run = sandbox.run(arguments);
    assert!(started.elapsed() < limit, "{:?}", started.elapsed());
    assert!(matches!(run.status, Some(0 | 1 | 3 | 4)), "{:?}: {}", run.status, run.stderr);
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    run
}

/// The collection in the server at `store` equals one that was indexed undisturbed.
#[track_caller]
fn assert_complete(sandbox: &Sandbox, model: &str, store: &str) {
    drop(fs::remove_file(sandbox.path("fresh.db")));
    assert!(start(sandbox, &index(model, "fresh.db")).wait().expect("an end").success());
    let fresh = kokeshi_store::Sqlite::open(&sandbox.path("fresh.db")).expect("a store");
    let store = kokeshi_remote::open(&Address::from(store)).expect("a store");
    assert_eq!(content(&*store, "default"), content(&fresh, "default"));
}

fn a_bad_network_loses_and_duplicates_nothing(kind: &'static str) {
    let Some(server) = crate::server(kind) else { return };
    let proxy = Proxy::start(server.port());
    let (direct, behind) = (server.address(), format!("{kind}://127.0.0.1:{}", proxy.port()));
    let (sandbox, model) = (folder_of_essays(), crate::tiny_v3().display().to_string());
    let limit = Duration::from_secs(240);
    let disturbances = [
        Disturbance::Delay(Duration::from_millis(20)),
        Disturbance::Cut(100),
        Disturbance::Cut(1000),
        Disturbance::Cut(20_000),
        Disturbance::Corrupt(1),
        Disturbance::Corrupt(3),
        Disturbance::Corrupt(10),
    ];
    for (round, disturbance) in (1..).zip(disturbances) {
        proxy.disturb(disturbance);
        bounded(&sandbox, &index(&model, &behind), limit);
        bounded(&sandbox, &["search", "--store", &behind, "words", "--json"], limit);
        (0..FILES / 3).for_each(|file| write(&sandbox, 3 * file, 1000 * round + file));
    }
    proxy.disturb(Disturbance::None);
    let run = bounded(&sandbox, &index(&model, &behind), limit);
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    assert_complete(&sandbox, &model, &direct);
}

#[test]
#[ignore = "takes a minute: retries"]
fn a_bad_network_loses_and_duplicates_nothing_in_chroma() {
    a_bad_network_loses_and_duplicates_nothing("chroma");
}

#[test]
#[ignore = "takes a minute: retries"]
fn a_bad_network_loses_and_duplicates_nothing_in_qdrant() {
    a_bad_network_loses_and_duplicates_nothing("qdrant");
}

/// A server that stands still for a while delays, and one that stays so is an error in bounded time.
fn a_server_may_stand_still(kind: &'static str) {
    let Some(mut server) = crate::server(kind) else { return };
    let (sandbox, store) = (folder_of_essays(), server.address());
    let model = crate::tiny_v3().display().to_string();
    for pause in [100, 400, 900] {
        let mut child = start(&sandbox, &index(&model, &store));
        std::thread::sleep(Duration::from_millis(pause));
        server.pause();
        std::thread::sleep(Duration::from_secs(3));
        server.resume();
        assert!(child.wait().expect("an end").success());
        (0..FILES).for_each(|file| write(&sandbox, file, 1000 * pause + file));
    }
    let mut child = start(&sandbox, &index(&model, &store));
    std::thread::sleep(Duration::from_millis(500));
    server.pause();
    let started = Instant::now();
    let search = ["search", "--store", &store, "words"];
    let run = bounded(&sandbox, &search, Duration::from_secs(60));
    assert!(run.failure(4).contains(" does not answer: "), "{}", run.stderr);
    child.wait().expect("an end");
    assert!(started.elapsed() < Duration::from_secs(240), "{:?}", started.elapsed());
    server.resume();
    assert!(start(&sandbox, &index(&model, &store)).wait().expect("an end").success());
    assert_complete(&sandbox, &model, &store);
}

#[test]
#[ignore = "takes minutes: timeouts"]
fn a_server_that_stands_still_loses_nothing_in_chroma() {
    a_server_may_stand_still("chroma");
}

#[test]
#[ignore = "takes minutes: timeouts"]
fn a_server_that_stands_still_loses_nothing_in_qdrant() {
    a_server_may_stand_still("qdrant");
}
