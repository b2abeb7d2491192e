//! The model: from inputs to vectors.

use crate::chunk;
use crate::error::Result;
use crate::finish;
use crate::prepare::{self, Preparer, Request};
use crate::request::{Chunk, Chunking, Embedded, Input, Options};
use crate::schedule::{self, Progress};
use crate::tokenize::{Tokenizer, TokenizerInfo};
use kokeshi_model::{Batch, Checkpoint, Device, EncoderConfig, Forward, Priority};
use std::fmt;
use std::path::Path;

/// How a model is loaded.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Where it runs.
    pub device: Device,
}

/// A loaded model. It can be shared between threads; equal inputs give equal bits, whatever else
/// is embedded with them and however many threads run.
pub struct Model {
    forward: Box<dyn Forward>,
    preparer: Preparer,
}

impl Model {
    /// The model that is part of the program.
    ///
    /// # Errors
    ///
    /// If the device cannot start.
    pub fn starter(options: &LoadOptions) -> Result<Self> {
        let prompts = Some(kokeshi_starter::SENTENCE_TRANSFORMERS_CONFIG);
        let checkpoint =
            Checkpoint::from_bytes(kokeshi_starter::CONFIG, prompts, kokeshi_starter::WEIGHTS)?;
        let tokenizer =
            || Tokenizer::from_bytes("of the starter model", kokeshi_starter::TOKENIZER);
        Self::new(&checkpoint, tokenizer, options)
    }

    /// Loads a checkpoint folder: `config.json`, the weights and `tokenizer.json`.
    ///
    /// # Errors
    ///
    /// If a file is missing, damaged or does not belong to the others.
    pub fn open(folder: &Path, options: &LoadOptions) -> Result<Self> {
        let checkpoint = Checkpoint::open(folder)?;
        Self::new(&checkpoint, || Tokenizer::open(&folder.join("tokenizer.json")), options)
    }

    /// Reads the tokenizer, which takes one core a while, as the weights are loaded.
    fn new(
        checkpoint: &Checkpoint,
        tokenizer: impl FnOnce() -> Result<Tokenizer> + Send,
        options: &LoadOptions,
    ) -> Result<Self> {
        let load = || kokeshi_model::load(checkpoint, &options.device);
        let (tokenizer, forward) = rayon::join(tokenizer, load);
        let preparer = Preparer::new(tokenizer?, checkpoint.config().clone())?;
        Ok(Self { forward: forward?, preparer })
    }

    /// The shape of the network, its limit and its tasks.
    pub fn config(&self) -> &EncoderConfig {
        self.forward.config()
    }

    /// What it runs on, for people: the device, and how it computes.
    pub fn device(&self) -> String {
        self.forward.device()
    }

    /// Bytes that the weights take; the tokenizer is not counted. They include the embedding
    /// table, whose pages the system reads from its file as they are needed.
    pub fn len_bytes(&self) -> usize {
        self.forward.len_bytes()
    }

    /// What the tokenizer file holds.
    pub fn tokenizer_info(&self) -> TokenizerInfo {
        self.preparer.tokenizer().info()
    }

    /// Embeds `inputs`; results are in their order. Whatever is wrong with any input is found
    /// before the first forward pass.
    ///
    /// # Errors
    ///
    /// The first input's that has one: unknown task, dimensions out of range, a text too long or
    /// too large, chunks that are not in their text, or impossible windows.
    pub fn embed(&self, inputs: &[Input<'_>]) -> Result<Vec<Embedded>> {
        self.embed_with(inputs, &mut |_| ())
    }

    /// As [`Self::embed`], and reports after every batch how far it has come.
    ///
    /// # Errors
    ///
    /// As [`Self::embed`].
    pub fn embed_with(
        &self,
        inputs: &[Input<'_>],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Embedded>> {
        let request = self.prepare(inputs)?;
        let turn = self.forward.turn(Priority::Bulk);
        let sums = schedule::run(&*self.forward, &request, progress)?;
        drop(turn);
        Ok(finish::embedded(&request, sums))
    }

    /// Tokenises and checks inputs, for [`Queue::submit`](crate::Queue::submit). Whatever can be
    /// wrong with an input is found here.
    ///
    /// # Errors
    ///
    /// As [`Self::embed`].
    pub fn prepare(&self, inputs: &[Input<'_>]) -> Result<Request> {
        self.preparer.request(inputs)
    }

    /// The model with another way of running its passes.
    #[cfg(test)]
    pub(crate) fn wrap(self, wrap: impl FnOnce(Box<dyn Forward>) -> Box<dyn Forward>) -> Self {
        Self { forward: wrap(self.forward), preparer: self.preparer }
    }

    /// What runs the passes of prepared inputs.
    pub(crate) fn forward(&self) -> &dyn Forward {
        &*self.forward
    }

    /// Cuts a document into chunks, for [`Input::late`] or to embed one by one.
    ///
    /// # Errors
    ///
    /// If the text is too large, or a size is 0.
    pub fn chunk(&self, text: &str, chunking: Chunking) -> Result<Vec<Chunk>> {
        prepare::check_size(0, text.len())?;
        chunk::cut(self.preparer.tokenizer(), text, chunking)
    }

    /// Number of a text's own tokens: no special tokens, no instruction.
    ///
    /// # Errors
    ///
    /// If the text is too large.
    pub fn count_tokens(&self, text: &str) -> Result<usize> {
        prepare::check_size(0, text.len())?;
        Ok(self.preparer.tokenizer().ids(text)?.len())
    }

    /// Last-layer states of all tokens of a text, special tokens and instruction included,
    /// `[tokens, hidden]`.
    ///
    /// # Errors
    ///
    /// As [`Self::embed`].
    pub fn hidden_states(&self, text: &str, options: &Options) -> Result<Vec<f32>> {
        let input = Input::new(text).options(options.clone());
        let sequence = self.preparer.prepare(0, &input)?.document;
        let mut batch = Batch::new();
        for pass in &sequence.passes {
            batch.push(&sequence.ids[pass.run.clone()], sequence.adapter);
        }
        Ok(self.forward.hidden_states(&batch)?)
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("forward", &self.forward).finish_non_exhaustive()
    }
}
