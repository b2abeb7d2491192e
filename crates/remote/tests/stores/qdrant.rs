//! Qdrant's server is not in package registries. Qdrant's own Python client stands in for it, in
//! its local mode behind the published HTTP API: `crates/testkit/servers/qdrant.py`.

use crate::fixtures::{Case, document, provenance, vector};
use crate::servers::{self, Shared, address};
use kokeshi_remote::open;
use kokeshi_store::{Address, Filter, Provenance, Query, Storage};

static SERVER: Shared = Shared::new("qdrant");

fn with(case: impl FnOnce(&Address)) {
    SERVER.with(|server| case(&address(server)));
}

conforms!(with);

#[test]
fn a_restarting_server_loses_and_duplicates_nothing() {
    SERVER.with(|server| {
        let case = Case { address: &address(server), name: "restarts" };
        servers::a_restarting_server_loses_and_duplicates_nothing(&case, server);
    });
}

#[test]
fn collections_with_short_lists_are_created_and_searched_as_the_api_says() {
    with(|address| {
        let mut store = open(address).expect("a store");
        for codes in ["bits", "int8"] {
            let provenance = Provenance { codes: codes.parse().ok(), ..provenance(Storage::F32) };
            store.create(codes, &provenance).expect("a collection");
            store.upsert(codes, &[document("a", 0..30)]).expect("written");
            for exact in [false, true] {
                let (near, filter) = (vector(7), Filter::default());
                let query = Query { vector: &near, words: None, limit: 3, filter: &filter, exact };
                let hits = store.search(codes, &query).expect("hits");
                assert_eq!((hits.len(), hits[0].ordinal), (3, 7));
            }
        }
    });
}
