//! Moves a collection from one embedding model to another, beside the old one, while that is in use.
//!
//! A [`Plan`] is a file that people read and edit. [`run`](run()) writes a new collection from the texts
//! of the old one, as often as needed: what is there already is left alone. [`verify`](verify()) compares
//! both, and only what it accepts can be switched to. [`Ledger`] remembers how far a plan is:
//!
//! ```text
//! planned ─run→ running ─verify→ verified ─switch→ switched (the old one is kept) ─clean→ cleaned
//!                  ↑                                  │
//!                  └──────────── rollback ────────────┘
//! ```

mod detect;
mod error;
mod ledger;
mod plan;
mod preview;
mod run;
mod sample;
mod sites;
mod switch;
mod verify;

pub use detect::{Fit, detect};
pub use error::{Error, Result};
pub use ledger::{Failure, Ledger, Progress, State};
pub use plan::{Plan, Side};
pub use preview::{Preview, Ranking, Sizes, preview};
pub use run::{Limits, Summary, run};
pub use sample::sample;
pub use sites::Sites;
pub use switch::{clean, rollback, switch};
pub use verify::{Check, Report, verify};
