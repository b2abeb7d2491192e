//! A real Chroma server.

use crate::suite::Case;
use crate::{Shared, address, suite};
use kokeshi_store::Address;

static SERVER: Shared = Shared::new("chroma");

fn with(case: impl FnOnce(&Address)) {
    SERVER.with(|server| case(&address(server)));
}

conforms!(with);

#[test]
fn a_server_that_starts_again_loses_and_doubles_nothing() {
    SERVER.with(|server| {
        let case = Case { address: &address(server), name: "starts again" };
        suite::a_server_that_starts_again_loses_and_doubles_nothing(&case, server);
    });
}
