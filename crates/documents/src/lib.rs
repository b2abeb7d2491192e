//! Files to texts and chunks.
//!
//! A file's way: [`walk`] finds it, [`read`] reads it as what it is ([`Format`]) into a [`Text`]
//! whose parts are what an embedding may see together, and [`cut`] cuts every part into chunks at
//! its own structure.

mod cut;
mod error;
mod format;
mod html;
mod markdown;
mod pdf;
mod rows;
mod text;
mod walk;

pub use cut::{Piece, cut};
pub use error::{Error, Result};
pub use format::{Extractor, Format, MAX_FILE_BYTES, read};
pub use html::text_of_html;
pub use pdf::text_of_pdf;
pub use text::{Part, Text};
pub use walk::{Found, WalkOptions, walk};
