//! Turns files into texts and chunks.
//!
//! [`walk`] finds files. [`read`] reads a file as its [`Format`] into a [`DocumentText`], each part
//! of which one pass of the model may cover. [`cut`] cuts each part into chunks at its structure.
//!
//! PDF files need the feature `pdf`, office documents and e-books the feature `office`.

mod blobs;
mod cut;
mod encoding;
mod error;
mod format;
mod front_matter;
mod html;
mod markdown;
mod notebook;
mod office;
mod pages;
mod pdf;
mod reader;
mod rows;
mod text;
mod utf16;
mod walk;

pub use cut::cut;
pub use encoding::{DecodedText, decode};
pub use error::{Error, Result};
pub use format::{Extractor, Format, MAX_FILE_BYTES, read};
pub use html::text_of_html;
pub use office::text_of_office;
pub use pdf::text_of_pdf;
pub use reader::reader;
pub use rows::{Segments, TEXT_FIELDS, Table, TableRow};
pub use text::{DocumentPart, DocumentText};
pub use utf16::{Utf8Source, utf16_to_utf8};
pub use walk::{FileEntry, WalkOptions, changed, is_walked, walk, walk_folders};
