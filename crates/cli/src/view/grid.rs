//! A square grid of values and its shades.

use super::share;

/// One value for each pair of texts.
pub(super) struct Grid<'a> {
    pub(super) texts: &'a [String],
    /// [texts, texts]
    pub(super) values: &'a [Vec<f32>],
    /// The values of the lightest and the darkest shade.
    range: (f32, f32),
    /// Whether the values are differences, which are shown with a sign.
    signed: bool,
}

impl<'a> Grid<'a> {
    /// A grid of similarities. Shades cover the similarities of different texts, because the
    /// similarity of a text to itself is always 1.
    pub(super) fn similarities(texts: &'a [String], values: &'a [Vec<f32>]) -> Self {
        let others = values.iter().enumerate().flat_map(|(i, row)| {
            row.iter().enumerate().filter(move |&(j, _)| i != j).map(|(_, &score)| score)
        });
        let (low, high) = others.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), score| {
            (low.min(score), high.max(score))
        });
        let range = if low < high { (low, high) } else { (0.0, 1.0) };
        Self { texts, values, range, signed: false }
    }

    /// A grid of differences: the darker the shade, the larger the difference in either direction.
    pub(super) fn differences(texts: &'a [String], values: &'a [Vec<f32>]) -> Self {
        let largest = values.iter().flatten().fold(0.0, |largest: f32, d| largest.max(d.abs()));
        let range = (0.0, if largest > 0.0 { largest } else { 1.0 });
        Self { texts, values, range, signed: true }
    }

    /// The shade of a value, from 0 to 1 (dark).
    pub(super) fn share(&self, value: f32) -> f32 {
        share(if self.signed { value.abs() } else { value }, self.range)
    }

    /// Formats a value with `digits` decimals. A difference that rounds to zero has no sign.
    pub(super) fn number(&self, value: f32, digits: usize) -> String {
        let plain = format!("{value:.digits$}");
        let is_zero = plain.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.'));
        match (self.signed, is_zero) {
            (true, true) => plain.trim_start_matches('-').to_owned(),
            (true, false) => format!("{value:+.digits$}"),
            (false, _) => plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_cover_the_similarities_of_different_texts() {
        let values = [vec![1.0, 0.2, 0.6], vec![0.2, 1.0, 0.4], vec![0.6, 0.4, 1.0]];
        let grid = Grid::similarities(&[], &values);
        assert_eq!(grid.range, (0.2, 0.6));
        assert_eq!((grid.share(0.2), grid.share(1.0)), (0.0, 1.0));
        assert_eq!(Grid::similarities(&[], &[vec![1.0]]).range, (0.0, 1.0));
    }

    #[test]
    fn differences_are_equally_dark_in_both_directions_and_keep_their_sign() {
        let values = [vec![0.0, -0.5], vec![0.25, 0.0]];
        let grid = Grid::differences(&[], &values);
        assert_eq!((grid.share(-0.5), grid.share(0.25), grid.share(0.0)), (1.0, 0.5, 0.0));
        assert_eq!(
            (grid.number(-0.5, 2).as_str(), grid.number(0.25, 1).as_str()),
            ("-0.50", "+0.2")
        );
        assert_eq!(Grid::differences(&[], &[vec![0.0]]).share(0.0), 0.0);
    }
}
