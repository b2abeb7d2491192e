//! A real Chroma server.

use crate::fixtures::Case;
use crate::servers::{self, Shared, address};
use kokeshi_store::Address;

static SERVER: Shared = Shared::new("chroma");

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
