//! Packed sequences: the only form in which text reaches the encoder.

use std::ops::Range;

/// Token sequences end to end, without padding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    ids: Vec<u32>,
    seq_ends: Vec<usize>,
    adapters: Vec<Option<usize>>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one sequence (special tokens included) that runs with `adapter`: an index into
    /// [`EncoderConfig::tasks`](crate::EncoderConfig), or `None` for the base weights alone.
    pub fn push(&mut self, ids: &[u32], adapter: Option<usize>) {
        self.ids.extend_from_slice(ids);
        self.seq_ends.push(self.ids.len());
        self.adapters.push(adapter);
    }

    /// Token ids of all sequences, `[tokens]`.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Number of tokens in all sequences together.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// One past the last token of each sequence, ascending.
    pub fn seq_ends(&self) -> &[usize] {
        &self.seq_ends
    }

    /// The adapter of each sequence.
    pub fn adapters(&self) -> &[Option<usize>] {
        &self.adapters
    }

    /// The batch in two parts of about equal size, cut between sequences; `None` if it has fewer
    /// than two.
    pub(crate) fn halves(&self) -> Option<[Self; 2]> {
        let last = self.seq_ends.len().checked_sub(1).filter(|&last| last > 0)?;
        let middle = self.seq_ends.iter().position(|&end| 2 * end >= self.tokens())?;
        let cut = (middle + 1).min(last);
        let mut halves = [Self::new(), Self::new()];
        for (i, (sequence, &adapter)) in self.sequences().zip(&self.adapters).enumerate() {
            halves[usize::from(i >= cut)].push(&self.ids[sequence], adapter);
        }
        Some(halves)
    }

    /// The token range of each sequence.
    pub fn sequences(&self) -> impl ExactSizeIterator<Item = Range<usize>> + '_ {
        self.seq_ends.iter().enumerate().map(|(i, &end)| {
            let start = if i == 0 { 0 } else { self.seq_ends[i - 1] };
            start..end
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(lens: &[usize]) -> Batch {
        let mut batch = Batch::new();
        lens.iter().enumerate().for_each(|(i, &len)| batch.push(&vec![i as u32; len], Some(i)));
        batch
    }

    #[test]
    fn halves_are_cut_between_sequences_nearest_to_the_middle() {
        let lens = |lens: &[usize]| {
            let halves = batch(lens).halves()?;
            let adapters = halves.iter().flat_map(Batch::adapters).copied();
            assert!(adapters.eq((0..lens.len()).map(Some)), "the order of the sequences");
            Some(halves.map(|half| half.sequences().map(|s| s.len()).collect::<Vec<_>>()))
        };
        assert_eq!(lens(&[3, 3, 3, 3]), Some([vec![3, 3], vec![3, 3]]));
        assert_eq!(lens(&[1, 9]), Some([vec![1], vec![9]]));
        assert_eq!(lens(&[9, 1]), Some([vec![9], vec![1]]));
        assert_eq!((lens(&[5]), lens(&[])), (None, None));
    }
}
