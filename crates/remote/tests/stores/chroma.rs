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
fn a_server_that_restarts_loses_and_doubles_nothing() {
    SERVER.with(|server| {
        let case = Case { address: &address(server), name: "starts again" };
        servers::a_server_that_restarts_loses_and_doubles_nothing(&case, server);
    });
}
