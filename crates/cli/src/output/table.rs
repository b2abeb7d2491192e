//! A table for people: each text with the first values of its vector.

use super::{Format, Row, Totals};
use crate::layout::{counted, fitted};
use crate::printer::Printer;
use std::io::{self, Write};

/// Columns of one value, such as ` -0.0123`.
const VALUE_WIDTH: usize = 8;
/// Columns of the row number with the space that follows.
const INDEX_WIDTH: usize = 6;

pub(super) struct Table<'p> {
    printer: &'p Printer,
}

impl<'p> Table<'p> {
    pub(super) fn new(printer: &'p Printer) -> Self {
        Self { printer }
    }

    /// Columns of the text, and the number of values that fit next to it.
    fn columns(&self) -> (usize, usize) {
        let text = (self.printer.width() * 2 / 5).clamp(10, 60);
        let left = self.printer.width().saturating_sub(INDEX_WIDTH + text + 2);
        (text, (left / VALUE_WIDTH).max(1))
    }
}

impl Format for Table<'_> {
    fn row(&mut self, row: &Row<'_>, to: &mut dyn Write) -> io::Result<()> {
        let (text_width, values) = self.columns();
        if row.index == 0 {
            let dimensions = row.vector.len();
            let text = fitted("text", text_width);
            let heading =
                format!("{:<INDEX_WIDTH$}{text} embedding ({dimensions} dimensions)", "index");
            match self.printer.fits(heading.len()) {
                true => writeln!(to, "{heading}")?,
                false => writeln!(to, "{}", fitted(&heading, self.printer.width()).trim_end())?,
            }
        }
        write!(to, "{:<INDEX_WIDTH$}{}", row.index, fitted(row.text, text_width))?;
        for value in row.vector.iter().take(values) {
            write!(to, "{value:>VALUE_WIDTH$.4}")?;
        }
        writeln!(to, "{}", if row.vector.len() > values { " …" } else { "" })
    }

    fn finish(&mut self, totals: Totals, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "{}, {}", counted(totals.vectors, "vector"), counted(totals.tokens, "token"))
    }
}
