//! Real servers, and the restarts that a store must survive.

use crate::fixtures::{Case, all_texts, document};
use kokeshi_store::{Address, Counts, Document};
use kokeshi_testkit::servers::Server;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// A server that all tests of a module share, one at a time.
pub(crate) struct Shared {
    kind: &'static str,
    server: Mutex<Option<Server>>,
}

impl Shared {
    pub(crate) const fn new(kind: &'static str) -> Self {
        Self { kind, server: Mutex::new(None) }
    }

    /// Runs `test` with the server, if it is installed.
    pub(crate) fn with(&self, test: impl FnOnce(&mut Server)) {
        let mut slot = self.server.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if slot.is_none() {
            *slot = Server::start(self.kind);
        }
        if let Some(server) = slot.as_mut() {
            test(server);
        }
    }
}

pub(crate) fn address(server: &Server) -> Address {
    server.address().as_str().into()
}

/// The server is stopped and killed while documents are written to it.
pub(crate) fn a_restarting_server_loses_and_duplicates_nothing(
    case: &Case<'_>,
    server: &mut Server,
) {
    let mut store = case.create();
    let documents: Vec<Document> =
        (0..120).map(|at| document(&format!("{at}.md"), 10 * at..10 * at + 5)).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for restart in [Server::restart, Server::crash] {
                thread::sleep(Duration::from_millis(150));
                restart(server);
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut rounds = 0;
        while rounds == 0 || !done.load(Ordering::Relaxed) {
            for batch in documents.chunks(8) {
                store.upsert(case.name, batch).expect("written");
            }
            rounds += 1;
        }
    });
    assert_eq!(case.texts(&*store), all_texts(&documents));
    assert_eq!(store.count(case.name).expect("counts"), Counts { documents: 120, chunks: 600 });
    assert!(store.list(case.name).expect("entries").iter().all(|entry| !entry.hash.is_empty()));
    drop(store);
    assert_eq!(case.texts(&*case.open()), all_texts(&documents));
}
