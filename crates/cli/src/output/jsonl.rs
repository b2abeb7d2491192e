//! One JSON object per vector, one vector per line.

use super::wire::Entry;
use super::{Format, Row, Totals};
use kokeshi::EmbeddingType;
use std::io::{self, Write};

pub(super) struct Jsonl<'a> {
    kinds: &'a [EmbeddingType],
}

impl<'a> Jsonl<'a> {
    pub(super) fn new(kinds: &'a [EmbeddingType]) -> Self {
        Self { kinds }
    }
}

impl Format for Jsonl<'_> {
    fn row(&mut self, row: &Row<'_>, to: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer(&mut *to, &Entry::new(row, self.kinds))?;
        to.write_all(b"\n")
    }

    fn finish(&mut self, _: Totals, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}
