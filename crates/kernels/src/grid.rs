//! Cuts a row-major matrix into rectangles that several threads may write at the same time.
#![expect(unsafe_code, reason = "disjoint rectangles of one buffer, which slices cannot express")]

use std::marker::PhantomData;
use std::ops::Range;

/// A rectangle of a row-major matrix, borrowed independently of the others of its grid.
#[derive(Debug)]
pub struct Rect<'a> {
    first: *mut f32,
    width: usize,
    rows: Range<usize>,
    cols: Range<usize>,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: a `Rect` is an exclusive borrow of its elements, like the `&mut [f32]` it came from.
unsafe impl Send for Rect<'_> {}

impl Rect<'_> {
    /// The rows of the matrix that it covers.
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// The columns of the matrix that it covers.
    pub fn cols(&self) -> Range<usize> {
        self.cols.clone()
    }

    /// The part of matrix row `row` that is in the rectangle.
    ///
    /// # Panics
    ///
    /// If the rectangle does not cover `row`.
    #[inline(always)]
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        assert!(self.rows.contains(&row), "row {row} is outside {:?}", self.rows);
        // SAFETY: `grid` checked that all rows and columns of `self` are in the buffer.
        let start = unsafe { self.first.add(row * self.width + self.cols.start) };
        // SAFETY: as above; the rectangles of a grid are disjoint, and `&mut self` makes this the
        // only slice of this one.
        unsafe { std::slice::from_raw_parts_mut(start, self.cols.len()) }
    }
}

/// Cuts `matrix`, of `width` columns, at the given ends of row bands and column bands (ascending,
/// each starting where the previous one ends). Rectangles are ordered by bands of rows.
///
/// # Panics
///
/// If the ends are not ascending or are outside the matrix.
pub fn grid<'a>(
    matrix: &'a mut [f32],
    width: usize,
    row_ends: &[usize],
    col_ends: &[usize],
) -> Vec<Rect<'a>> {
    assert!(row_ends.is_sorted() && col_ends.is_sorted(), "ends must ascend");
    let (rows, cols) =
        (row_ends.last().map_or(0, |&end| end), col_ends.last().map_or(0, |&end| end));
    assert!(cols <= width && rows * width <= matrix.len(), "the grid is larger than the matrix");
    let first = matrix.as_mut_ptr();
    bands(row_ends)
        .flat_map(|rows| bands(col_ends).map(move |cols| (rows.clone(), cols)))
        .map(|(rows, cols)| Rect { first, width, rows, cols, borrow: PhantomData })
        .collect()
}

fn bands(ends: &[usize]) -> impl Iterator<Item = Range<usize>> + '_ {
    ends.iter().enumerate().map(|(i, &end)| if i == 0 { 0..end } else { ends[i - 1]..end })
}

/// Ends of bands of `step` that cover `len`; the last band may be shorter.
pub fn even_ends(len: usize, step: usize) -> Vec<usize> {
    (1..=len.div_ceil(step.max(1))).map(|i| (i * step.max(1)).min(len)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rectangles_tile_the_matrix_exactly_once() {
        let (height, width) = (7, 11);
        let mut matrix = vec![0.0; height * width];
        for (i, mut rect) in grid(&mut matrix, width, &[2, 2, 7], &[4, 11]).into_iter().enumerate()
        {
            for row in rect.rows() {
                rect.row_mut(row).iter_mut().for_each(|x| *x += (i + 1) as f32);
            }
        }
        for (i, &x) in matrix.iter().enumerate() {
            let (row, col) = (i / width, i % width);
            let want = if row < 2 { 1 } else { 5 } + usize::from(col >= 4);
            assert_eq!(x, want as f32, "row {row}, column {col}");
        }
    }

    #[test]
    #[should_panic(expected = "larger than the matrix")]
    fn a_grid_past_the_end_is_rejected() {
        grid(&mut [0.0; 10], 5, &[3], &[5]);
    }

    #[test]
    #[should_panic(expected = "outside")]
    fn rows_outside_the_rectangle_are_rejected() {
        grid(&mut [0.0; 10], 5, &[1, 2], &[5])[0].row_mut(1);
    }

    #[test]
    fn even_ends_cover_the_length() {
        assert_eq!(even_ends(10, 4), [4, 8, 10]);
        assert_eq!(even_ends(8, 4), [4, 8]);
        assert!(even_ends(0, 4).is_empty());
    }
}
