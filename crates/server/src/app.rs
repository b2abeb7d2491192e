//! What all handlers share.

use crate::config::Config;
use crate::registry::Registry;

/// The state of a server.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) registry: Registry,
}
