//! Moves a collection from one embedding model to another: the new collection is filled next to the
//! old one, which stays in use until the switch.
//!
//! A [`Plan`] is a file that people read and edit. [`run`](run()) fills the new collection with the
//! texts of the old one, as often as needed: documents that are already there are left alone.
//! [`verify`](verify()) compares both, and only a verified collection can be switched to. The
//! [`Ledger`] records the progress of each plan:
//!
//! ```text
//! planned ─run→ running ─verify→ verified ─switch→ switched (the old one is kept) ─clean→ cleaned
//!                  ↑                                  │
//!                  └──────────── rollback ────────────┘
//! ```

mod comparison;
mod detect;
mod error;
mod ledger;
mod ledger_file;
mod locations;
mod plan;
mod preview;
mod read;
mod run;
mod sample;
mod switch;
mod vectors;
mod verify;

pub use comparison::Check;
pub use detect::{ModelFit, detect};
pub use error::{Error, Result};
pub use ledger::{FailedDocument, Ledger, MigrationProgress, MigrationRecord, State};
pub use locations::Locations;
pub use plan::{Plan, Side};
pub use preview::{Preview, Ranking, VectorSizes, preview};
pub use run::{RunLimits, RunSummary, run};
pub use sample::sample;
pub use switch::{Removal, clean, removal, rollback, switch};
pub use verify::{Verification, verify};
