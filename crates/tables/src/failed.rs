//! Rows that could not be embedded, as JSON lines.

use crate::error::{Error, Result};
use crate::rows::RowText;
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// The file of rows that could not be embedded, which exists only if there are any.
pub(crate) struct FailedRows {
    path: PathBuf,
    to: Option<BufWriter<File>>,
    count: u64,
}

impl FailedRows {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), to: None, count: 0 }
    }

    pub(crate) fn add(&mut self, row: &RowText, reason: &str) -> Result<()> {
        let io = Error::io("write", &self.path);
        let to = match &mut self.to {
            Some(to) => to,
            None => self.to.insert(BufWriter::new(File::create(&self.path).map_err(&io)?)),
        };
        self.count += 1;
        let RowText { location, id, document, .. } = row;
        let line = json!({ "at": location, "id": id, "document": document, "reason": reason });
        writeln!(to, "{line}").map_err(&io)
    }

    /// Completes the file, and returns the number of rows.
    pub(crate) fn finish(mut self) -> Result<u64> {
        if let Some(to) = &mut self.to {
            to.flush().map_err(Error::io("write", &self.path))?;
        }
        Ok(self.count)
    }
}
