//! Transposition of square blocks in registers.

use crate::isa::{Isa, MAX_LANES};

/// As many vectors as a vector has lanes. Those past a level's lanes are not used.
pub(crate) type Square<I> = [<I as Isa>::F32; MAX_LANES];

/// Lane j of vector i becomes lane i of vector j.
///
/// Zipping each vector of the first half with its counterpart in the second rotates the bits of the
/// index (vector, lane) by one. After as many rounds as either index has bits, the two are swapped.
#[inline(always)]
pub(crate) fn transpose<I: Isa>(v: I, mut square: Square<I>) -> Square<I> {
    let half = I::LANES / 2;
    for _ in 0..I::LANES.ilog2() {
        let from = square;
        for i in 0..half {
            [square[2 * i], square[2 * i + 1]] = v.zip(from[i], from[half + i]);
        }
    }
    square
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Kernel, Level};

    /// The transpose of a square whose elements are all different.
    struct Numbered;

    impl Kernel for Numbered {
        type Output = Vec<f32>;

        #[inline(always)]
        fn run<I: Isa>(self, v: I) -> Vec<f32> {
            let values: Vec<f32> = (0..I::LANES * I::LANES).map(|i| i as f32).collect();
            let mut square = [v.splat(0.0); MAX_LANES];
            for (row, from) in square.iter_mut().zip(values.chunks_exact(I::LANES)) {
                *row = v.load(from);
            }
            let square = transpose(v, square);
            let mut out = vec![0.0; values.len()];
            for (row, to) in square.iter().zip(out.chunks_exact_mut(I::LANES)) {
                v.store(*row, to);
            }
            out
        }
    }

    #[test]
    fn rows_become_columns_at_every_level() {
        for level in Level::available() {
            let (lanes, got) = (level.lanes(), level.run(Numbered));
            for (i, x) in got.into_iter().enumerate() {
                let want = i % lanes * lanes + i / lanes;
                assert_eq!(x, want as f32, "{level:?}, {i}");
            }
        }
    }
}
