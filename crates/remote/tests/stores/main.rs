//! One suite for all engines: SQLite, and the real servers that are installed (see
//! `kokeshi_testkit::servers`).

mod suite;

use kokeshi_store::Address;
use kokeshi_testkit::servers::Server;
use std::sync::Mutex;
use suite::Case;

/// The cases of the suite as tests of a module; `$with` runs a case with the engine's address.
macro_rules! conforms {
    ($with:path, $($case:ident),+ $(,)?) => {
        $(
            #[test]
            fn $case() {
                $with(|address| crate::suite::$case(&crate::Case {
                    address,
                    name: stringify!($case),
                }));
            }
        )+
    };
    ($with:path) => {
        conforms!(
            $with,
            a_collection_is_what_it_was_made_as,
            documents_are_written_replaced_and_removed,
            vectors_of_another_width_are_refused,
            search_finds_the_order_of_the_exact_cosines,
            filters_count_before_the_limit_does,
            an_alias_moves_in_one_step,
            documents_come_back_as_they_were_written,
            what_is_there_is_not_added_again,
            a_switch_leads_a_name_elsewhere_and_back,
            roots_and_times_are_remembered,
            what_the_engine_cannot_store_is_refused_with_what_it_can,
        );
    };
}

mod sqlite {
    use super::Address;

    fn with(case: impl FnOnce(&Address)) {
        let folder = tempfile::tempdir().expect("a folder");
        case(&Address::File(folder.path().join("index.db")));
    }

    conforms!(with);
}

/// A server that all tests of a module share, one after the other.
struct Shared {
    kind: &'static str,
    server: Mutex<Option<Server>>,
}

impl Shared {
    const fn new(kind: &'static str) -> Self {
        Self { kind, server: Mutex::new(None) }
    }

    /// Runs `test` with the server, if it is installed.
    fn with(&self, test: impl FnOnce(&mut Server)) {
        let mut slot = self.server.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if slot.is_none() {
            *slot = Server::start(self.kind);
        }
        if let Some(server) = slot.as_mut() {
            test(server);
        }
    }
}

fn address(server: &Server) -> Address {
    server.address().as_str().into()
}

mod chroma;
mod milvus;
mod postgres;
mod qdrant;
