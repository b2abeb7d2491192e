//! Inputs through the model: faults are traced to their source, cut texts are told of.

use crate::failure::hinted;
use crate::input::Origin;
use crate::meter::Meter;
use crate::printer::Printer;
use kokeshi::{Embedded, Error, Input, Model};
use std::sync::Arc;

/// A loaded model, and where its progress and warnings go.
pub(crate) struct Forward<'p> {
    /// What the user calls the model.
    pub(crate) name: &'p str,
    pub(crate) model: Arc<Model>,
    pub(crate) meter: Meter,
    pub(crate) printer: &'p Printer,
}

impl Forward<'_> {
    /// Embeds `inputs`, which came from `origins` and took `bytes` there.
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
        let cut = embedded.iter().zip(origins).filter(|(result, _)| result.truncated_tokens > 0);
        for (result, origin) in cut {
            self.meter.aside(|| self.printer.warning(&truncation(self.name, result, origin)));
        }
        Ok(embedded)
    }
}

fn truncation(model: &str, result: &Embedded, origin: &Origin) -> String {
    let (number, dropped) = (origin.number, result.truncated_tokens);
    let all = result.tokens + dropped;
    format!(
        "text {number} ({origin}) was cut for `{model}`: {dropped} of its {all} tokens are not in \
         the vector"
    )
}

/// The engine counts texts within one call and speaks of its own options; users count lines of
/// their files and know the options of the command line.
fn located(error: Error, origins: &[&Origin]) -> anyhow::Error {
    let origin = |index: usize| origins.get(index).copied();
    match error {
        Error::TooLong { index, tokens, limit } if let Some(origin) = origin(index) => hinted(
            format!(
                "{origin}: text {} has {tokens} tokens, more than the model's limit of {limit}",
                origin.number
            ),
            "--truncate drops the tail; `kokeshi embed --late-chunking` has no limit",
        ),
        Error::TooLarge { index, bytes, limit } if let Some(origin) = origin(index) => {
            let error = Error::TooLarge { index: origin.number, bytes, limit };
            anyhow::Error::new(error).context(origin.to_string())
        }
        other => other.into(),
    }
}
