//! `kokeshi watch` over folders that live.

use crate::index::notes;
use crate::{PROGRAM, Sandbox, tiny_v3};
use kokeshi_store::{Source, Sqlite};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A running `kokeshi watch`, whose messages go to a file; ended when it is dropped.
struct Watch {
    child: Child,
    log: PathBuf,
}

impl Watch {
    /// Starts it in `sandbox`, with a tiny model, and waits until it watches.
    fn start(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        Self::logging(sandbox, arguments, "watch.log")
    }

    fn logging(sandbox: &Sandbox, arguments: &[&str], log: &str) -> Self {
        let (model, log) = (tiny_v3().display().to_string(), sandbox.path(log));
        let arguments = [&["watch"], arguments, &["--model", &model]].concat();
        let mut command = sandbox.command(PROGRAM, arguments);
        let file = File::create(&log).expect("a file");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
        let watch = Self { child: child.expect("a program"), log };
        watch.wait_until(|messages| messages.contains("watching for changes"));
        watch
    }

    fn messages(&self) -> String {
        fs::read_to_string(&self.log).expect("the messages")
    }

    /// Number of updates so far.
    fn updates(&self) -> usize {
        self.messages().matches(": indexed ").count()
    }

    #[track_caller]
    fn wait_until(&self, holds: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds(&self.messages()) {
            assert!(Instant::now() < deadline, "{}", self.messages());
            thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    fn wait_for(&self, message: &str) {
        self.wait_until(|messages| messages.contains(message));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The paths of the documents in the store of `folder`, and how many chunks each has.
fn documents(sandbox: &Sandbox, store: &str) -> Vec<(String, usize)> {
    let store = Sqlite::open(&sandbox.path(store)).expect("a store");
    let entries = store.list_after("default", "", 1000).expect("documents");
    entries.into_iter().map(|entry| (entry.path, entry.chunks)).collect()
}

#[track_caller]
fn wait_for_document(sandbox: &Sandbox, store: &str, path: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !documents(sandbox, store).iter().any(|(known, _)| known.ends_with(path)) {
        assert!(Instant::now() < deadline, "{:?}", documents(sandbox, store));
        thread::sleep(Duration::from_millis(50));
    }
}

/// Appends to a file every tenth of a second while `work` runs.
fn while_appending(sandbox: &Sandbox, name: &str, work: impl FnOnce()) {
    let (path, is_over) = (sandbox.path(name), AtomicBool::new(false));
    thread::scope(|scope| {
        let _end = kokeshi_testkit::SetOnDrop(&is_over);
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let mut file = OpenOptions::new().create(true).append(true).open(&path);
                writeln!(file.as_mut().expect("a file"), "one more line").expect("a line");
                thread::sleep(Duration::from_millis(100));
            }
        });
        work();
    });
}

#[test]
fn a_file_that_is_written_all_the_time_does_not_keep_others_waiting() {
    let sandbox = notes();
    let watch = Watch::start(&sandbox, &["notes"]);
    while_appending(&sandbox, "notes/log.txt", || {
        thread::sleep(Duration::from_millis(300));
        let start = Instant::now();
        sandbox.write("notes/new.md", "Something new.");
        wait_for_document(&sandbox, "notes/.kokeshi/index.db", "new.md");
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    });
    assert!(watch.updates() >= 2);
}

#[test]
#[ignore = "waits for seconds; CI runs it"]
fn ignored_files_and_folders_never_count() {
    let sandbox = notes();
    fs::create_dir(sandbox.path("notes/target")).expect("a folder");
    sandbox.write("notes/.gitignore", "target/\n*.tmp\n");
    let watch = Watch::start(&sandbox, &["notes"]);
    let before = watch.updates();
    for name in ["notes/target/x.txt", "notes/y.tmp"] {
        while_appending(&sandbox, name, || thread::sleep(Duration::from_secs(1)));
        fs::remove_file(sandbox.path(name)).expect("the file");
    }
    thread::sleep(Duration::from_secs(1));
    assert_eq!(watch.updates(), before, "{}", watch.messages());
    sandbox.write("notes/new.md", "Something new.");
    wait_for_document(&sandbox, "notes/.kokeshi/index.db", "new.md");
}

#[test]
#[ignore = "waits for seconds; CI runs it"]
fn own_files_never_count_wherever_they_are() {
    let sandbox = notes();
    let options = ["notes", "--store", "notes/own.db"];
    let watch = Watch::logging(&sandbox, &options, "notes/watch.txt");
    sandbox.write("notes/new.md", "Something new.");
    wait_for_document(&sandbox, "notes/own.db", "new.md");
    // What it writes itself must not wake it.
    thread::sleep(Duration::from_secs(1));
    let before = watch.updates();
    thread::sleep(Duration::from_secs(3));
    assert_eq!(watch.updates(), before, "{}", watch.messages());
}

#[test]
fn a_file_that_is_saved_by_renaming_is_seen_each_time() {
    let sandbox = notes();
    let watch = Watch::start(&sandbox, &["notes/lamp.md"]);
    for round in 1..4 {
        sandbox.write("notes/.lamp.md.swp", format!("# Lamps\n\nRound {round}.\n"));
        let (from, to) = (sandbox.path("notes/.lamp.md.swp"), sandbox.path("notes/lamp.md"));
        fs::rename(from, to).expect("a saved file");
        watch.wait_until(|messages| messages.matches("indexed 1 document (").count() > round);
        thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(documents(&sandbox, "notes/.kokeshi/index.db").len(), 1);
}

#[test]
fn folders_that_are_made_moved_and_removed_are_followed() {
    let sandbox = notes();
    let _watch = Watch::start(&sandbox, &["notes"]);
    let store = "notes/.kokeshi/index.db";
    fs::create_dir_all(sandbox.path("notes/a/b")).expect("folders");
    sandbox.write("notes/a/b/c.md", "Deep.");
    wait_for_document(&sandbox, store, "a/b/c.md");
    fs::rename(sandbox.path("notes/a"), sandbox.path("notes/z")).expect("a moved folder");
    wait_for_document(&sandbox, store, "z/b/c.md");
    sandbox.write("notes/z/b/d.md", "Deeper.");
    wait_for_document(&sandbox, store, "z/b/d.md");
    fs::remove_dir_all(sandbox.path("notes/z")).expect("a removed folder");
    let deadline = Instant::now() + Duration::from_secs(60);
    while documents(&sandbox, store).iter().any(|(path, _)| path.contains("/c.md")) {
        assert!(Instant::now() < deadline, "{:?}", documents(&sandbox, store));
        thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_queue_that_overflows_loses_nothing() {
    use rustix::process::{Pid, Signal, kill_process};
    let sandbox = notes();
    let watch = Watch::start(&sandbox, &["notes"]);
    let pid = Pid::from_child(&watch.child);
    kill_process(pid, Signal::STOP).expect("a signal");
    let queue = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("a limit");
    let events: usize = queue.trim().parse().expect("a number");
    // The folder comes after the queue is full, so that nobody hears of it.
    for _ in 0..=events / 2 {
        sandbox.write("notes/a.txt", "a");
        fs::remove_file(sandbox.path("notes/a.txt")).expect("a file");
    }
    fs::create_dir(sandbox.path("notes/later")).expect("a folder");
    sandbox.write("notes/later/one.md", "One.");
    kill_process(pid, Signal::CONT).expect("a signal");
    let store = "notes/.kokeshi/index.db";
    wait_for_document(&sandbox, store, "later/one.md");
    sandbox.write("notes/later/two.md", "Two.");
    wait_for_document(&sandbox, store, "later/two.md");
}

#[test]
fn a_store_that_is_away_is_waited_for_and_said_once() {
    let Some(server) = crate::server("chroma") else { return };
    let proxy = kokeshi_testkit::proxy::Proxy::start(server.port());
    let address = format!("chroma://127.0.0.1:{}", proxy.port());
    let sandbox = notes();
    let watch = Watch::start(&sandbox, &["notes", "--store", &address]);
    proxy.disturb(kokeshi_testkit::proxy::Disturbance::Cut(0));
    sandbox.write("notes/new.md", "Something new.");
    watch.wait_for("waiting for the store");
    thread::sleep(Duration::from_secs(3));
    proxy.disturb(kokeshi_testkit::proxy::Disturbance::None);
    watch.wait_for("indexed 1 document (");
    assert_eq!(watch.messages().matches("waiting for the store").count(), 1);
}
