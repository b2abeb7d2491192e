//! The model: inputs → vectors.

use crate::chunk::{self, Chunk};
use crate::chunking::Chunking;
use crate::embedded::Embedded;
use crate::error::Result;
use crate::finish;
use crate::input::{Input, Options};
use crate::prepare::{self, Preparer};
use crate::request::Request;
use crate::schedule::{self, Progress};
use crate::spans::TokenBounds;
use crate::tokenize::{Tokenizer, TokenizerInfo};
use kokeshi_model::{Batch, Checkpoint, Device, EncoderConfig, Forward, Priority};
use std::fmt;
use std::path::Path;

/// How a model is loaded.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The device that the model runs on.
    pub device: Device,
}

/// A loaded model. It can be shared between threads. Equal inputs give equal bits, whatever else is
/// embedded with them and however many threads run.
pub struct Model {
    forward: Box<dyn Forward>,
    preparer: Preparer,
}

impl Model {
    /// Loads the model that is part of the program.
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

    /// Reads the tokenizer while the weights load, because it keeps one core busy for a while.
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

    /// The network's shape, limit and tasks.
    pub fn config(&self) -> &EncoderConfig {
        self.forward.config()
    }

    /// A description for people: the device and its precision.
    pub fn device(&self) -> String {
        self.forward.device()
    }

    /// Bytes of the weights, without the tokenizer. The embedding table is included, although the
    /// system reads its pages from the file only when they are needed.
    pub fn len_bytes(&self) -> usize {
        self.forward.len_bytes()
    }

    /// A description of the tokenizer file.
    pub fn tokenizer_info(&self) -> TokenizerInfo {
        self.preparer.tokenizer().info()
    }

    /// Embeds `inputs`; results are in their order. All inputs are checked before the first forward
    /// pass.
    ///
    /// # Errors
    ///
    /// The error of the first input that has one: an unknown task, dimensions out of range, a text
    /// too long or too large, a chunk outside its text, or impossible windows. Also if the device
    /// fails.
    pub fn embed(&self, inputs: &[Input<'_>]) -> Result<Vec<Embedded>> {
        self.embed_with(inputs, &mut |_| ())
    }

    /// As [`Self::embed`]; calls `progress` after every batch.
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

    /// Tokenizes and checks inputs for [`Queue::submit`](crate::Queue::submit). Every error of an
    /// input is found here.
    ///
    /// # Errors
    ///
    /// As [`Self::embed`].
    pub fn prepare(&self, inputs: &[Input<'_>]) -> Result<Request> {
        self.preparer.request(inputs)
    }

    /// As [`Self::prepare`], on this thread alone, for callers that share the cores: it calls
    /// `keep_running` between two texts, and between two parts of about 32 KiB of a long one, and
    /// stops once that returns `false`. A text without white space has no parts, but the part that
    /// truncation keeps.
    ///
    /// # Errors
    ///
    /// As [`Self::embed`], and [`Error::Stopped`](crate::Error::Stopped).
    pub fn prepare_while(
        &self,
        inputs: &[Input<'_>],
        keep_running: &mut dyn FnMut() -> bool,
    ) -> Result<Request> {
        self.preparer.request_while(inputs, keep_running)
    }

    /// Bytes of the longest part of `text` that [`Self::prepare_while`] and
    /// [`Self::tokenize_while`] tokenize without asking whether to go on. `is_first_enough` if only
    /// the first tokens may be needed: for a whole text whose tail is dropped or refused.
    pub fn longest_step(&self, text: &str, is_first_enough: bool) -> usize {
        self.preparer.tokenizer().longest_step(text, is_first_enough)
    }

    /// Replaces the encoder with the result of `wrap`.
    #[cfg(test)]
    pub(crate) fn wrap(self, wrap: impl FnOnce(Box<dyn Forward>) -> Box<dyn Forward>) -> Self {
        Self { forward: wrap(self.forward), preparer: self.preparer }
    }

    /// The encoder that runs the passes of prepared inputs.
    pub(crate) fn forward(&self) -> &dyn Forward {
        &*self.forward
    }

    /// Cuts a document into chunks, for [`Input::late`] or to embed them one by one.
    ///
    /// # Errors
    ///
    /// If the text is too large, or a size is 0.
    pub fn chunk(&self, text: &str, chunking: Chunking) -> Result<Vec<Chunk>> {
        self.tokenize_while(text, &mut || true)?.chunk(chunking)
    }

    /// Tokenizes a text, for counting its tokens and cutting it into chunks in several ways.
    /// `keep_running` is that of [`Self::prepare_while`].
    ///
    /// # Errors
    ///
    /// If the text is too large or the work is stopped.
    pub fn tokenize_while<'a>(
        &self,
        text: &'a str,
        keep_running: &mut dyn FnMut() -> bool,
    ) -> Result<TokenizedText<'a>> {
        prepare::check_size(0, text.len())?;
        let tokens = self.preparer.tokenizer().tokens(text, keep_running)?;
        Ok(TokenizedText { text, bounds: TokenBounds::new(text, &tokens) })
    }

    /// Number of a text's own tokens, without special tokens and instruction.
    ///
    /// # Errors
    ///
    /// If the text is too large.
    pub fn count_tokens(&self, text: &str) -> Result<usize> {
        prepare::check_size(0, text.len())?;
        Ok(self.preparer.tokenizer().ids(text, &mut || true)?.len())
    }

    /// The ids of all tokens of a text, special tokens and instruction included, as a forward pass
    /// takes them.
    ///
    /// # Errors
    ///
    /// As [`Self::embed`].
    pub fn token_ids(&self, text: &str, options: &Options) -> Result<Vec<u32>> {
        let input = Input::new(text).options(options.clone());
        Ok(self.preparer.prepare(0, &input, &mut || true)?.document.ids)
    }

    /// Last-layer states of all tokens of a text, special tokens and instruction included,
    /// `[tokens, hidden]`.
    ///
    /// # Errors
    ///
    /// As [`Self::embed`].
    pub fn hidden_states(&self, text: &str, options: &Options) -> Result<Vec<f32>> {
        let input = Input::new(text).options(options.clone());
        let sequence = self.preparer.prepare(0, &input, &mut || true)?.document;
        let mut batch = Batch::new();
        for pass in &sequence.passes {
            batch.push(&sequence.ids[pass.run.clone()], sequence.adapter);
        }
        Ok(self.forward.hidden_states(&batch)?)
    }
}

/// A text with its tokens.
#[derive(Debug)]
pub struct TokenizedText<'a> {
    text: &'a str,
    bounds: TokenBounds,
}

impl TokenizedText<'_> {
    /// Number of its own tokens, without special tokens and instruction.
    pub fn count(&self) -> usize {
        self.bounds.len()
    }

    /// Its chunks, as those of [`Model::chunk`].
    ///
    /// # Errors
    ///
    /// If a size is 0.
    pub fn chunk(&self, chunking: Chunking) -> Result<Vec<Chunk>> {
        self.chunk_while(chunking, &mut || true)
    }

    /// As [`Self::chunk`], and asks `keep_running` about every 32 KiB of the text.
    ///
    /// # Errors
    ///
    /// As [`Self::chunk`], and [`Error::Stopped`](crate::Error::Stopped).
    pub fn chunk_while(
        &self,
        chunking: Chunking,
        keep_running: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Chunk>> {
        chunk::cut(self.text, &self.bounds, chunking, keep_running)
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("forward", &self.forward).finish_non_exhaustive()
    }
}
