//! Inputs through the model: faults are traced to their source, cut texts are told of.

use crate::input::Origin;
use crate::meter::Meter;
use crate::printer::Printer;
use kokeshi::{Embedded, Error, Input, Model};

/// A loaded model, and where its progress and warnings go.
pub(crate) struct Forward<'p> {
    pub(crate) model: Model,
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
            self.meter.aside(|| self.printer.warning(&truncation(result, origin)));
        }
        Ok(embedded)
    }
}

fn truncation(result: &Embedded, origin: &Origin) -> String {
    let (number, dropped) = (origin.number, result.truncated_tokens);
    let all = result.tokens + dropped;
    format!("text {number} ({origin}) was cut: {dropped} of its {all} tokens are not in the vector")
}

/// The engine counts texts within one call; users count lines of their files.
fn located(error: Error, origins: &[&Origin]) -> anyhow::Error {
    let (Error::TooLong { index, .. } | Error::TooLarge { index, .. }) = error else {
        return error.into();
    };
    let Some(origin) = origins.get(index) else { return error.into() };
    let index = origin.number;
    let error = match error {
        Error::TooLong { tokens, limit, .. } => Error::TooLong { index, tokens, limit },
        Error::TooLarge { bytes, limit, .. } => Error::TooLarge { index, bytes, limit },
        other => other,
    };
    anyhow::Error::new(error).context(origin.to_string())
}
