//! Long late chunking: a sequence past the limit runs in overlapping windows, and every token's
//! state is taken from the first window that holds it (paper 2409.04701, section 3.1).

use crate::error::{Error, Result};
use crate::request::Window;
use std::ops::Range;

/// One forward pass over a part of a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    /// The tokens that run.
    pub(crate) run: Range<usize>,
    /// Those whose states are used.
    pub(crate) keep: Range<usize>,
}

impl Pass {
    /// One pass over a whole sequence.
    pub(crate) fn whole(tokens: usize) -> Self {
        Self { run: 0..tokens, keep: 0..tokens }
    }

    /// What this pass holds of each of `spans`: the index of the span and the tokens' places
    /// within the pass, where there are any.
    pub(crate) fn cut(
        &self,
        spans: &[Range<usize>],
    ) -> impl Iterator<Item = (usize, Range<usize>)> {
        spans.iter().enumerate().filter_map(|(index, span)| {
            let start = span.start.max(self.keep.start);
            let end = span.end.min(self.keep.end);
            (start < end).then(|| (index, start - self.run.start..end - self.run.start))
        })
    }
}

impl Window {
    /// Tokens in a window and in an overlap, for a model that takes `limit` tokens.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if the window exceeds the limit or does not exceed the overlap.
    pub(crate) fn sizes(self, limit: usize) -> Result<(usize, usize)> {
        let size = self.size.unwrap_or(limit);
        if size > limit {
            return Err(Error::Options(format!(
                "a window of {size} tokens exceeds the model's limit of {limit}; make it smaller"
            )));
        }
        if self.overlap >= size {
            return Err(Error::Options(format!(
                "windows of {size} tokens cannot overlap by {}; make the overlap smaller than the \
                 window",
                self.overlap
            )));
        }
        Ok((size, self.overlap))
    }
}

/// The passes over a sequence of `tokens` tokens: windows k·(size − overlap) .. + size. A pass
/// that none of `spans` needs is left out.
pub(crate) fn passes(
    tokens: usize,
    (size, overlap): (usize, usize),
    spans: &[Range<usize>],
) -> Vec<Pass> {
    let windows = (0..tokens).step_by(size - overlap).map(|start| {
        let end = tokens.min(start + size);
        let kept = if start == 0 { 0 } else { start + overlap };
        Pass { run: start..end, keep: kept.min(end)..end }
    });
    windows.filter(|pass| pass.cut(spans).next().is_some()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One span over all tokens.
    fn windows(tokens: usize, size: usize, overlap: usize) -> Vec<Pass> {
        let everything = 0..tokens;
        passes(tokens, (size, overlap), &[everything])
    }

    #[test]
    fn windows_keep_each_token_once() {
        for (tokens, size, overlap) in
            [(600, 128, 32), (600, 64, 16), (600, 1000, 100), (600, 590, 20), (7, 3, 2), (1, 1, 0)]
        {
            let kept: Vec<_> =
                windows(tokens, size, overlap).iter().flat_map(|p| p.keep.clone()).collect();
            assert_eq!(kept, (0..tokens).collect::<Vec<_>>(), "{tokens} {size} {overlap}");
        }
    }

    #[test]
    fn a_sequence_within_the_window_is_one_pass() {
        assert_eq!(windows(64, 64, 16), [Pass::whole(64)]);
        let two = windows(65, 64, 16);
        assert_eq!(two[1], Pass { run: 48..65, keep: 64..65 });
    }

    #[test]
    fn a_window_whose_states_are_all_known_already_does_not_run() {
        // The reference has a last window 576..600 here, of which it drops the first 32 states.
        assert_eq!(windows(600, 128, 32).last().map(|pass| pass.run.clone()), Some(480..600));
    }

    #[test]
    fn windows_that_no_span_needs_do_not_run() {
        let spans = [0..10, 500..520, 0..0];
        let runs: Vec<_> =
            passes(600, (128, 32), &spans).into_iter().map(|pass| pass.run).collect();
        assert_eq!(runs, [0..128, 384..512, 480..600]);
        assert!(passes(600, (128, 32), &[]).is_empty());
    }

    #[test]
    fn windows_that_cannot_advance_or_do_not_fit_are_refused() {
        let sizes = |size, overlap| Window { size, overlap }.sizes(8192);
        assert_eq!(sizes(None, 512).expect("the default"), (8192, 512));
        for (size, overlap) in [(Some(8193), 0), (Some(0), 0), (Some(512), 512), (None, 9000)] {
            assert!(sizes(size, overlap).is_err(), "{size:?} {overlap}");
        }
    }
}
