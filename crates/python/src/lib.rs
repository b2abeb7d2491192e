//! The extension module `kokeshi._kokeshi`: models, tables and the program, for the Python files of
//! the package, which give them their Python forms.
//!
//! No call holds the interpreter's lock while it computes, and every loop asks for signals between
//! two blocks.

mod arrow;
mod collection;
mod engines;
mod errors;
mod model;
mod tables;

use pyo3::prelude::*;
use std::ffi::OsString;

/// The exit status of the program with `arguments`, whose first is its name. `program` is the command
/// that starts it in another process.
#[pyfunction]
fn main(py: Python<'_>, arguments: Vec<OsString>, program: Vec<OsString>) -> u8 {
    py.detach(|| kokeshi_cli::main(arguments, program))
}

/// Models and tables of kokeshi.
#[pymodule]
mod _kokeshi {
    #[pymodule_export]
    use super::arrow::{ArrowVectors, texts_of};
    #[pymodule_export]
    use super::collection::CollectionFile;
    #[pymodule_export]
    use super::main;
    #[pymodule_export]
    use super::model::Engine;
    #[pymodule_export]
    use super::tables::{TableJob, matching};

    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
