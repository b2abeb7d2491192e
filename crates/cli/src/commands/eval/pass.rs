//! Texts of sets through one loaded model.

use super::kind::Tasks;
use crate::args::{EvalArguments, EvalKind, TextUse};
use crate::meter::Progress;
use crate::printer::Printer;
use kokeshi::{BlockSize, Chunk, Input, Model, Options, Window, blocks};
use kokeshi_analysis::Compute;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The work was stopped with Ctrl-C.
#[derive(Debug)]
pub(super) struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped")
    }
}

impl std::error::Error for Stopped {}

/// A model in one precision, and how all sets are measured with it.
pub(super) struct Pass<'a> {
    pub(super) model: Arc<Model>,
    pub(super) precision: String,
    /// Numbers of dimensions, all up to the model's width.
    pub(super) dimensions: &'a [usize],
    pub(super) compute: &'a Compute,
    pub(super) arguments: &'a EvalArguments,
    pub(super) printer: &'a Printer,
    pub(super) stop: &'a AtomicBool,
    progress: Option<Progress>,
    /// The set that is measured, for the progress.
    set: String,
    start: Instant,
    tokens: usize,
    /// Texts of the current set that were truncated.
    pub(super) truncated: usize,
}

impl<'a> Pass<'a> {
    pub(super) fn new(
        (model, precision): (Arc<Model>, String),
        dimensions: &'a [usize],
        compute: &'a Compute,
        arguments: &'a EvalArguments,
        (printer, stop): (&'a Printer, &'a AtomicBool),
    ) -> Self {
        Self {
            model,
            precision,
            dimensions,
            compute,
            arguments,
            printer,
            stop,
            progress: None,
            set: String::new(),
            start: Instant::now(),
            tokens: 0,
            truncated: 0,
        }
    }

    /// Begins with a set, of which texts of `bytes` bytes are embedded, if that is known.
    pub(super) fn begin(&mut self, set: &str, bytes: Option<usize>) {
        self.progress = None;
        let progress = Progress::new(bytes.map(|bytes| bytes as u64), self.printer);
        progress.say(set);
        (self.progress, self.set) = (Some(progress), set.to_owned());
        (self.start, self.tokens, self.truncated) = (Instant::now(), 0, 0);
    }

    /// Shows no more progress.
    pub(super) fn end(&mut self) {
        self.progress = None;
    }

    /// Says what is done instead of embedding.
    pub(super) fn say(&self, what: &str) {
        if let Some(progress) = &self.progress {
            progress.say(format!("{}: {what}", self.set));
        }
    }

    /// The task for a use.
    pub(super) fn task(&self, text_use: TextUse) -> Option<String> {
        Tasks { chosen: &self.arguments.texts.task }.of(text_use, &self.model)
    }

    /// The tasks of a kind's texts.
    pub(super) fn tasks(&self, kind: EvalKind) -> Vec<Option<String>> {
        kind.uses().iter().map(|text_use| self.task(*text_use)).collect()
    }

    /// # Errors
    ///
    /// [`Stopped`] after Ctrl-C.
    pub(super) fn check_running(&self) -> anyhow::Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(Stopped.into()) } else { Ok(()) }
    }

    /// The vectors of `texts`, of the model's full width. Equal texts are embedded once.
    pub(super) fn embed(
        &mut self,
        texts: &[&str],
        text_use: TextUse,
    ) -> anyhow::Result<Vec<Vec<f32>>> {
        let (mut numbers, mut distinct) = (HashMap::new(), Vec::new());
        let mut order = Vec::with_capacity(texts.len());
        for &text in texts {
            order.push(*numbers.entry(text).or_insert_with(|| {
                distinct.push(text);
                distinct.len() - 1
            }));
        }
        let options = self.options(text_use);
        let mut vectors: Vec<Vec<f32>> = Vec::with_capacity(distinct.len());
        for block in blocks(&distinct, |text| BlockSize::of(text)) {
            let inputs: Vec<Input<'_>> =
                block.iter().map(|text| Input::new(text).options(options.clone())).collect();
            vectors.extend(self.run(&inputs, block.iter().map(|text| text.len()).sum())?);
        }
        Ok(order.into_iter().map(|number| vectors[number].clone()).collect())
    }

    /// The vectors of a document's chunks by late chunking, of the model's full width.
    pub(super) fn embed_late(
        &mut self,
        document: &str,
        chunks: &[Chunk],
    ) -> anyhow::Result<Vec<Vec<f32>>> {
        let mut options = self.options(TextUse::Passage);
        if let Some(size) = self.arguments.search.window {
            options.window = Window { size: Some(size as usize), overlap: None };
        }
        self.run(&[Input::late(document, chunks).options(options)], document.len())
    }

    fn options(&self, text_use: TextUse) -> Options {
        let texts = &self.arguments.texts;
        Options {
            task: self.task(text_use),
            instruction: !texts.no_instruction,
            truncate: true,
            max_tokens: texts.max_tokens.map(|max| max as usize),
            ..Options::default()
        }
    }

    /// Embeds inputs of `bytes` bytes.
    fn run(&mut self, inputs: &[Input<'_>], bytes: usize) -> anyhow::Result<Vec<Vec<f32>>> {
        self.check_running()?;
        let embedded = self.model.embed(inputs)?;
        self.tokens += embedded.iter().map(|result| result.tokens).sum::<usize>();
        let is_truncated = |result: &&kokeshi::Embedded| result.truncated_tokens.get() > 0;
        self.truncated += embedded.iter().filter(is_truncated).count();
        if let Some(progress) = &self.progress {
            let speed = self.tokens as f64 / self.start.elapsed().as_secs_f64().max(1e-3);
            progress.say(format!("{}, {speed:.0} tokens/s", self.set));
            progress.advance(bytes as u64);
        }
        Ok(embedded.into_iter().flat_map(|result| result.vectors).collect())
    }
}
