//! A NumPy array, version 1.0 of the format (NumPy enhancement proposal 1).

use super::{Format, Row, Totals};
use kokeshi::{EmbeddingType, Encoded, encode};
use std::io::{self, Write};

/// The data starts at a multiple of this many bytes, so that it can be mapped.
const ALIGNMENT: usize = 64;

/// The shape precedes the data, so rows are kept until their number is known.
pub(super) struct Npy {
    kind: EmbeddingType,
    data: Vec<u8>,
    columns: usize,
}

impl Npy {
    pub(super) fn new(kind: EmbeddingType) -> Self {
        Self { kind, data: Vec::new(), columns: 0 }
    }

    fn header(&self, rows: usize) -> Vec<u8> {
        let descr = match self.kind {
            EmbeddingType::Float | EmbeddingType::Base64 => "<f4",
            EmbeddingType::Binary => "|i1",
            EmbeddingType::Ubinary => "|u1",
        };
        let columns = self.columns;
        let mut text = format!(
            "{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}"
        );
        // Magic, version and length take 10 bytes; a line break ends the header.
        let padded = (10 + text.len() + 1).next_multiple_of(ALIGNMENT) - 10;
        text.extend(std::iter::repeat_n(' ', padded - 1 - text.len()));
        text.push('\n');
        let length = (padded as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", length.as_slice(), text.as_bytes()].concat()
    }
}

impl Format for Npy {
    fn row(&mut self, row: &Row<'_>, _: &mut dyn Write) -> io::Result<()> {
        let before = self.data.len();
        let mut width = 1;
        match encode(row.vector, self.kind) {
            Encoded::Float(values) => {
                width = 4;
                self.data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
            Encoded::Binary(bytes) => {
                self.data.extend(bytes.iter().map(|byte| byte.cast_unsigned()));
            }
            Encoded::Ubinary(bytes) => self.data.extend(bytes),
            Encoded::Base64(_) => return Err(io::Error::other("an array cannot hold base64")),
        }
        self.columns = (self.data.len() - before) / width;
        Ok(())
    }

    fn finish(&mut self, totals: Totals, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(&self.header(totals.vectors))?;
        to.write_all(&self.data)
    }
}
