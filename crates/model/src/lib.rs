//! What the network is: checkpoint files to token states, on interchangeable backends.

mod batch;
mod error;

pub use batch::Batch;
pub use error::{Error, Result};
