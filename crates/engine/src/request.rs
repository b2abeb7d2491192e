//! Inputs that are ready to run.

use crate::count::TokenCount;
use crate::finish::Finish;
use crate::sequence::Sequence;
use crate::window::Pass;

/// Tokenized and checked inputs, in the order of the call. A request owns all its data, so it can
/// wait in a queue.
#[derive(Debug)]
pub struct Request {
    pub(crate) inputs: Vec<Prepared>,
}

/// A tokenized and checked input.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// One span per vector; empty for a chunk without tokens.
    pub(crate) document: Sequence,
    /// An empty text with the same task: its vector is that of every chunk without tokens.
    pub(crate) blank: Option<Sequence>,
    pub(crate) truncated_tokens: TokenCount,
    pub(crate) finish: Finish,
}

/// Identifies one forward pass of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PassIndex {
    /// Index of the input.
    pub(crate) input: usize,
    /// Whether the pass runs the empty text of chunks without tokens instead of the document.
    pub(crate) blank: bool,
    /// Index of the pass within its sequence.
    pub(crate) pass: usize,
}

impl Request {
    /// Tokens that run through the model: special tokens, instructions and the overlaps of windows
    /// included.
    pub fn tokens(&self) -> usize {
        self.pass_indices().map(|index| self.pass(index).1.run.len()).sum()
    }

    /// All passes, in the order in which they run.
    pub(crate) fn pass_indices(&self) -> impl Iterator<Item = PassIndex> {
        self.inputs.iter().enumerate().flat_map(|(input, prepared)| {
            let blank = prepared.blank.as_ref().map_or(0, |blank| blank.passes.len());
            let document = (0..prepared.document.passes.len()).map(|pass| (false, pass));
            let all = document.chain((0..blank).map(|pass| (true, pass)));
            all.map(move |(blank, pass)| PassIndex { input, blank, pass })
        })
    }

    /// The pass at `index`, and the sequence that it belongs to.
    pub(crate) fn pass(&self, index: PassIndex) -> (&Sequence, &Pass) {
        let input = &self.inputs[index.input];
        let blank = input.blank.as_ref().filter(|_| index.blank);
        let sequence = blank.unwrap_or(&input.document);
        (sequence, &sequence.passes[index.pass])
    }
}

impl Prepared {
    fn sequences(&self) -> impl Iterator<Item = &Sequence> {
        std::iter::once(&self.document).chain(&self.blank)
    }

    /// Tokens of the input as [`Embedded::tokens`](crate::Embedded::tokens) counts them.
    pub(crate) fn tokens(&self) -> usize {
        let running = self.sequences().filter(|sequence| !sequence.passes.is_empty());
        running.map(|sequence| sequence.ids.len()).sum()
    }
}
