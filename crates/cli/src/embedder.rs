//! Texts through a model: errors name the origin of the text, truncated texts get a warning.

use crate::args::EncodingArguments;
use crate::failure::hinted;
use crate::input::{Origin, SourceText};
use crate::meter::Meter;
use crate::printer::Printer;
use kokeshi::{BlockSize, Chunk, Embedded, Error, Input, Model, Options, Text, blocks};
use std::sync::Arc;

/// A loaded model, and where its progress and warnings are shown.
pub(crate) struct Embedder<'p> {
    /// The name of the model as the user wrote it.
    pub(crate) name: &'p str,
    pub(crate) model: Arc<Model>,
    pub(crate) meter: Meter,
    pub(crate) printer: &'p Printer,
    /// Whether the warning of [`Self::warn_of_length`] was printed.
    warned: bool,
}

/// How texts that are over the model's limit are embedded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LongTexts {
    /// With an error, or truncated if the options say so.
    Limited,
    /// In overlapping windows.
    Windowed,
}

impl<'p> Embedder<'p> {
    pub(crate) fn new(
        name: &'p str,
        model: Arc<Model>,
        meter: Meter,
        printer: &'p Printer,
    ) -> Self {
        Self { name, model, meter, printer, warned: false }
    }

    /// The options of the command line with the task `requested`, or else with `default` if the
    /// model has it.
    pub(crate) fn options(
        &self,
        encoding: &EncodingArguments,
        requested: Option<&str>,
        default: &str,
    ) -> Options {
        let has_default = self.model.config().tasks.iter().any(|task| task.name == default);
        options(encoding, requested.or(has_default.then_some(default)))
    }

    /// One vector for each of `documents`, computed block by block.
    pub(crate) fn vectors(
        &mut self,
        documents: &[SourceText],
        options: &Options,
        long_texts: LongTexts,
    ) -> anyhow::Result<Vec<Vec<f32>>> {
        let mut vectors = Vec::with_capacity(documents.len());
        for block in blocks(documents, |one| BlockSize::of(&one.text)) {
            let wholes: Vec<[Chunk; 1]> = block.iter().map(|one| [whole(&one.text)]).collect();
            let inputs = block.iter().zip(&wholes).map(|(one, whole)| match long_texts {
                LongTexts::Limited => Input::new(&one.text),
                LongTexts::Windowed => Input::late(&one.text, whole),
            });
            let inputs: Vec<Input<'_>> = inputs.map(|one| one.options(options.clone())).collect();
            let origins: Vec<&Origin> = block.iter().map(|one| &one.origin).collect();
            let bytes = block.iter().map(|one| one.bytes as u64).sum();
            let embedded = self.embed(&inputs, &origins, bytes)?;
            vectors.extend(embedded.into_iter().flat_map(|result| result.vectors));
        }
        Ok(vectors)
    }

    /// Embeds `inputs`, which come from `origins` and have `bytes` bytes there.
    pub(crate) fn embed(
        &mut self,
        inputs: &[Input<'_>],
        origins: &[&Origin],
        bytes: u64,
    ) -> anyhow::Result<Vec<Embedded>> {
        let embedded = self.model.embed_with(inputs, &mut |progress| {
            let share = progress.tokens as f64 / progress.total_tokens.max(1) as f64;
            self.meter.show(progress.inputs, progress.tokens, (share * bytes as f64) as u64);
        });
        let embedded = embedded.map_err(|error| located(error, origins))?;
        let tokens = embedded.iter().map(|result| result.tokens).sum();
        self.meter.advance(inputs.len(), tokens, bytes);
        let results = embedded.iter().zip(origins);
        for (result, origin) in results.filter(|(result, _)| result.truncated_tokens.get() > 0) {
            self.printer.warning(&truncation(self.name, result, origin));
        }
        for ((input, result), origin) in inputs.iter().zip(&embedded).zip(origins) {
            self.warn_of_length(input, result.tokens, origin);
        }
        Ok(embedded)
    }

    /// Warns once if states of an input saw more tokens than the model was trained on.
    fn warn_of_length(&mut self, input: &Input<'_>, tokens: usize, origin: &Origin) {
        let trained = self.model.config().trained_tokens;
        let what = match input.text {
            Text::Whole(_) => {
                "one vector for a longer text drifts from what it says; cut long texts \
                               into chunks (`kokeshi embed --chunk`, `kokeshi index`)"
            }
            _ if input.options.window.size.is_some_and(|size| size > trained) => {
                "late chunking is worse over longer windows; use a smaller --window"
            }
            _ => return,
        };
        if tokens > trained && !std::mem::replace(&mut self.warned, true) {
            let name = self.name;
            self.printer.warning(&format!(
                "{origin} has {tokens} tokens, but {name} was trained on texts of up to {trained}: {what}"
            ));
        }
    }
}

/// The engine's options for a text with `task`.
pub(crate) fn options(encoding: &EncodingArguments, task: Option<&str>) -> Options {
    Options {
        task: task.map(str::to_owned),
        instruction: !encoding.no_instruction,
        dimensions: encoding.dimensions,
        truncate: encoding.truncate,
        ..Options::default()
    }
}

/// A whole text as a single chunk; its tokens are determined when it is embedded.
fn whole(text: &str) -> Chunk {
    // Only the bytes are read.
    Chunk { bytes: 0..text.len(), ..Chunk::default() }
}

fn truncation(model: &str, result: &Embedded, origin: &Origin) -> String {
    let (number, dropped) = (origin.number, result.truncated_tokens);
    let all = result.tokens + dropped.get();
    format!(
        "text {number} ({origin}) was truncated for `{model}`: the vector lacks {dropped} of its {all} \
         tokens"
    )
}

/// Translates an error of the engine, which counts the texts of one call, to the origin of the text
/// and the options of the command line.
fn located(error: Error, origins: &[&Origin]) -> anyhow::Error {
    let origin = |index: usize| origins.get(index).copied();
    match error {
        Error::TooLong { index, tokens, limit } if let Some(origin) = origin(index) => hinted(
            format!(
                "{origin}: text {} has {tokens} tokens; the limit of the model is {limit}",
                origin.number
            ),
            "use --truncate to drop the tail, or `kokeshi embed --late-chunking`, which has no limit",
        ),
        Error::TooLarge { index, bytes, limit } if let Some(origin) = origin(index) => {
            let error = Error::TooLarge { index: origin.number, bytes, limit };
            anyhow::Error::new(error).context(origin.to_string())
        }
        other => other.into(),
    }
}
