//! Long late chunking: a sequence longer than a window runs in overlapping ones, and every token's
//! state is taken from the first window that contains it (paper 2409.04701, section 3.1).

use crate::error::{Error, Result};
use crate::input::Window;
use std::borrow::Cow;
use std::ops::Range;

/// The default overlap is at most so many tokens.
const LONGEST_OVERLAP: usize = 512;

/// One forward pass over a part of a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    /// The tokens that run, as a range of the sequence.
    pub(crate) run: Range<usize>,
    /// The tokens whose states are used, as a range of the sequence.
    pub(crate) keep: Range<usize>,
}

impl Pass {
    /// One pass over a whole sequence.
    pub(crate) fn whole(tokens: usize) -> Self {
        Self { run: 0..tokens, keep: 0..tokens }
    }

    /// The tokens that run, of a sequence's `ids`. A pass that begins later than the sequence begins
    /// with its first `lead` tokens, in the place of the first ones that it shares with the pass
    /// before, at most half of these; so no state that is used is lost.
    pub(crate) fn ids<'a>(&self, ids: &'a [u32], lead: usize) -> Cow<'a, [u32]> {
        let part = &ids[self.run.clone()];
        let shared = self.keep.start - self.run.start;
        let lead = lead.min(shared.div_ceil(2));
        match self.run.start {
            0 => Cow::Borrowed(part),
            _ => Cow::Owned([&ids[..lead], &part[lead..]].concat()),
        }
    }

    /// The part of each of `spans` that this pass covers: the index of the span, and the token
    /// range within the pass. Spans outside the pass are skipped.
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
    /// Size of a window and of an overlap in tokens, for a model that was trained on up to `trained`
    /// tokens and has a limit of `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if the window exceeds the limit or does not exceed the overlap.
    pub(crate) fn sizes(self, trained: usize, limit: usize) -> Result<(usize, usize)> {
        let size = self.size.unwrap_or(trained);
        let overlap = self.overlap.unwrap_or(LONGEST_OVERLAP.min(size / 4));
        if size > limit {
            return Err(Error::Options(format!(
                "a window of {size} tokens is over the model's limit of {limit}; use a smaller window"
            )));
        }
        if overlap >= size {
            return Err(Error::Options(format!(
                "windows of {size} tokens cannot overlap by {overlap} tokens; use an overlap \
                 smaller than the window"
            )));
        }
        Ok((size, overlap))
    }
}

/// The passes over a sequence of `tokens` tokens: window k is k·(size − overlap) .. + size. A pass
/// that covers no part of `spans` is left out.
pub(crate) fn passes(
    tokens: usize,
    (size, overlap): (usize, usize),
    spans: &[Range<usize>],
) -> Vec<Pass> {
    let windows = (0..tokens).step_by(size - overlap).map(|start| {
        let end = tokens.min(start + size);
        let keep_from = if start == 0 { 0 } else { start + overlap };
        Pass { run: start..end, keep: keep_from.min(end)..end }
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
    fn later_windows_begin_as_the_sequence_does_and_keep_their_tokens() {
        let ids: Vec<u32> = (0..600).collect();
        for (overlap, lead, replaced) in
            [(32, 5, 5), (32, 20, 16), (1, 5, 1), (0, 5, 0), (32, 0, 0)]
        {
            for pass in windows(600, 128, overlap) {
                let (run, start) = (pass.ids(&ids, lead), pass.run.start);
                let replaced = if start == 0 { 0 } else { replaced };
                assert_eq!(run[..replaced], ids[..replaced]);
                assert_eq!(run[replaced..], ids[start + replaced..pass.run.end]);
                assert!(start + replaced <= pass.keep.start);
            }
        }
    }

    #[test]
    fn a_window_without_a_token_to_keep_does_not_run() {
        // The reference has a last window 576..600 here and drops its first 32 states.
        assert_eq!(windows(600, 128, 32).last().map(|pass| pass.run.clone()), Some(480..600));
    }

    #[test]
    fn windows_outside_all_spans_do_not_run() {
        let spans = [0..10, 500..520, 0..0];
        let runs: Vec<_> =
            passes(600, (128, 32), &spans).into_iter().map(|pass| pass.run).collect();
        assert_eq!(runs, [0..128, 384..512, 480..600]);
        assert!(passes(600, (128, 32), &[]).is_empty());
    }

    #[test]
    fn windows_that_cannot_advance_or_do_not_fit_are_refused() {
        let sizes = |size, overlap| Window { size, overlap }.sizes(4096, 8192);
        assert_eq!(sizes(None, None).expect("the trained length"), (4096, 512));
        assert_eq!(sizes(Some(512), None).expect("a quarter overlaps"), (512, 128));
        assert_eq!(sizes(Some(8192), Some(7)).expect("up to the limit"), (8192, 7));
        for (size, overlap) in [(8193, None), (0, None), (512, Some(512)), (4096, Some(9000))] {
            assert!(sizes(Some(size), overlap).is_err(), "{size} {overlap:?}");
        }
    }
}
