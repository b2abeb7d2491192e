//! Cells of leaders, whose rows are in half precision.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// Leaders that are close to each other; a vector is compared with all of them.
#[derive(Debug, Default)]
pub(super) struct Cell {
    /// The caller's names of the leaders.
    pub(super) names: Vec<usize>,
    /// `[names, width]`, in half precision.
    pub(super) rows: Vec<u16>,
}

impl Cell {
    /// Appends a leader. The capacity grows by a quarter: doubling would leave up to half of the
    /// memory unused.
    pub(super) fn push(&mut self, name: usize, row: &[u16]) {
        if self.rows.capacity() - self.rows.len() < row.len() {
            let more = (self.names.len() / 4).max(4);
            self.rows.reserve_exact(more * row.len());
            self.names.reserve_exact(more);
        }
        self.names.push(name);
        self.rows.extend_from_slice(row);
    }

    /// Bytes that the cell takes.
    pub(super) fn len_bytes(&self) -> usize {
        2 * self.rows.capacity() + size_of::<usize>() * self.names.capacity()
    }
}

/// Rounds a row to half precision.
pub(super) fn to_f16(row: &[f32]) -> Vec<u16> {
    row.iter().map(|x| f16::from_f32(*x).to_bits()).collect()
}

/// Widens a row from half precision.
pub(super) fn to_f32(row: &[u16]) -> Vec<f32> {
    let halves: Vec<f16> = row.iter().map(|bits| f16::from_bits(*bits)).collect();
    let mut floats = vec![0.0; row.len()];
    halves.convert_to_f32_slice(&mut floats);
    floats
}
