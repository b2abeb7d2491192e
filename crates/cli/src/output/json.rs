//! One JSON object with the fields of the Jina API's response.

use super::wire::Entry;
use super::{Format, Row, Totals};
use kokeshi::EmbeddingType;
use serde_json::json;
use std::io::{self, Write};

/// Entries are written as they arrive, so `usage`, which is known at the end, comes last.
pub(super) struct Json<'a> {
    model: &'a str,
    kinds: &'a [EmbeddingType],
    started: bool,
}

impl<'a> Json<'a> {
    pub(super) fn new(model: &'a str, kinds: &'a [EmbeddingType]) -> Self {
        Self { model, kinds, started: false }
    }

    /// Writes what precedes the next entry.
    fn write_separator(&mut self, to: &mut dyn Write) -> io::Result<()> {
        if std::mem::replace(&mut self.started, true) {
            return to.write_all(b",\n");
        }
        writeln!(to, "{{\"model\":{},\"object\":\"list\",\"data\":[", json!(self.model))
    }
}

impl Format for Json<'_> {
    fn row(&mut self, row: &Row<'_>, to: &mut dyn Write) -> io::Result<()> {
        self.write_separator(to)?;
        Ok(serde_json::to_writer(to, &Entry::new(row, self.kinds))?)
    }

    fn finish(&mut self, totals: Totals, to: &mut dyn Write) -> io::Result<()> {
        if !self.started {
            self.write_separator(to)?;
        }
        let usage = json!({"total_tokens": totals.tokens, "prompt_tokens": totals.tokens});
        writeln!(to, "\n],\"usage\":{usage}}}")
    }
}
