//! Building blocks for implementations of [`Source`](crate::Source) and [`Store`](crate::Store).

pub use crate::fields::Field;
pub use crate::record::{latest, merged, now};
pub use crate::rows::{Rows, SourceRow, Texts, field_of, insert_own, with_id};
pub use crate::sqlite::open::{check as check_store, harden, is_store, open_for_reading};
pub use crate::terms::of as terms_of;
