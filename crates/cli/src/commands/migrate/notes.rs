//! The notes above a plan: what the migration changes, what it needs, and why the plan is as it is.

use super::queries::{self, MigrationQuery};
use crate::bytes;
use crate::layout::counted;
use crate::visible::visible;
use kokeshi_analysis::Quality;
use kokeshi_collections::Embedder;
use kokeshi_migrate::{ModelFit, Plan, Preview, VectorSizes};
use kokeshi_store::{Counts, Document, Fields, SwitchEffect};
use std::collections::HashSet;
use std::fmt::Write;

/// Maximum number of rankings that are shown.
const RANKINGS: usize = 5;

/// What the notes report.
pub(super) struct Notes<'a> {
    pub(super) plan: &'a Plan,
    /// The size of the old collection.
    pub(super) counts: Counts,
    pub(super) fits: &'a [ModelFit],
    pub(super) preview: &'a Preview,
    pub(super) queries: &'a [MigrationQuery],
    /// The sample.
    pub(super) documents: &'a [Document],
    /// The embedder of the new side.
    pub(super) new: &'a Embedder,
    pub(super) plan_file: String,
    /// What depends on the old collection besides its readers.
    pub(super) effects: &'a [SwitchEffect],
}

impl Notes<'_> {
    pub(super) fn render(&self) -> String {
        let (from, to) = (&self.plan.from, &self.plan.to);
        let mut text = format!(
            "Moves `{}` ({}){} to `{}` ({}) in {}.\n",
            from.collection,
            from.model,
            self.plan.source.as_ref().map_or_else(String::new, |source| format!(" of {source}")),
            to.collection,
            to.model,
            self.plan.store
        );
        let mut part = |title: &str, body: String| {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n{title}\n{body}");
        };
        if let Some(fields) = &self.plan.fields {
            let renamed =
                if self.plan.is_between_stores() { self.renamed() } else { String::new() };
            part("Where the texts are", layout(fields) + &renamed);
        }
        part("Which model produced the old vectors", self.old_model());
        part("How much there is to do", self.size());
        part("Size of the vectors", self.storage());
        part("What changes for readers, on the sample", self.changes());
        if !self.effects.is_empty() {
            let title = format!("What else a switch of `{}` changes", self.plan.switch);
            part(&title, self.effects.iter().map(effect).collect());
        }
        part("Reasons for these values", self.reasons());
        part("Next", self.next());
        text
    }

    /// The fields whose names kokeshi uses itself, in the sample.
    fn renamed(&self) -> String {
        let chunks = || self.documents.iter().flat_map(|document| &document.chunks);
        let is_renamed = |name: &str| {
            let new = format!("{name}_");
            chunks().any(|chunk| chunk.metadata.contains_key(&new))
        };
        let names = ["id", "document"].into_iter().filter(|name| is_renamed(name));
        let line = |name| format!("  a field `{name}` is called `{name}_` in the new collection\n");
        names.map(line).collect()
    }

    fn old_model(&self) -> String {
        if self.plan.from.dimensions == 0 {
            return "  none: there are no vectors\n".to_owned();
        }
        let Some(best) = self.fits.first() else {
            return "  unknown: no available model produces vectors of this width\n".to_owned();
        };
        let usage = format!(
            "{}, task {}, {}",
            best.model,
            best.task.as_deref().unwrap_or("none"),
            if best.late { "late chunking" } else { "each chunk alone" }
        );
        match best.fits {
            true => format!("  {usage}: cosine {:.4}, so it was this one\n", best.cosine),
            false => format!(
                "  unknown: none of {} fits; the closest is {usage}, with a cosine of {:.4}\n",
                counted(self.models(), "model"),
                best.cosine
            ),
        }
    }

    /// Number of models that were compared.
    fn models(&self) -> usize {
        let names: HashSet<&str> = self.fits.iter().map(|fit| fit.model.as_str()).collect();
        names.len()
    }

    fn size(&self) -> String {
        let preview = self.preview;
        let share = self.counts.chunks as f64 / preview.chunks.max(1) as f64;
        let tokens = preview.tokens as f64 * share;
        let seconds = preview.took.as_secs_f64() * share;
        format!(
            "  {}, {}, about {tokens:.0} tokens\n  about {} on this machine: {} took {:.1} s\n",
            counted(self.counts.documents, "document"),
            counted(self.counts.chunks, "chunk"),
            duration(seconds),
            counted(preview.documents, "document"),
            preview.took.as_secs_f64()
        )
    }

    fn storage(&self) -> String {
        let (from, to) = (&self.plan.from, &self.plan.to);
        let mut text = String::new();
        for side in [from, to].into_iter().filter(|side| side.dimensions > 0) {
            let sizes = VectorSizes::new(self.counts.chunks, side.dimensions);
            let sizes: Vec<String> = sizes
                .by_storage
                .iter()
                .map(|(storage, size)| {
                    let chosen = if storage.name() == side.storage { " (chosen)" } else { "" };
                    format!("{storage} {}{chosen}", bytes::format(*size))
                })
                .collect();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {} dimensions: {}", side.dimensions, sizes.join(", "));
        }
        text
    }

    fn changes(&self) -> String {
        let mut text = match self.preview.overlap {
            Some(share) => format!(
                "  {:.0} % of a chunk's 10 nearest neighbours stay the same\n",
                100.0 * share
            ),
            None => "  too few old vectors to compare neighbours\n".to_owned(),
        };
        text += &rankings(self.queries, self.preview);
        text
    }

    fn reasons(&self) -> String {
        let to = &self.plan.to;
        let mut text = String::new();
        let mut reason = |line: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {line}");
        };
        match (to.passage_task.as_deref(), to.query_task.as_deref()) {
            (Some("text-matching"), _) => reason(
                "text-matching on both sides: texts are compared with each other, as with v2"
                    .to_owned(),
            ),
            (Some(passage), Some(query)) => reason(format!(
                "{passage} and {query}: v3 was trained for search with both; --like-v2 uses text-matching"
            )),
            _ => reason("no tasks: the model has none for search".to_owned()),
        }
        let hidden = self.new.model.config().hidden;
        match to.dimensions {
            all if all == hidden => reason(format!(
                "{all} dimensions: all that the model has{}",
                match self.plan.from.dimensions {
                    0 => String::new(),
                    old if old >= hidden => String::new(),
                    old => format!("; --dimensions {old} keeps the old width"),
                }
            )),
            cut => reason(format!("{cut} of {hidden} dimensions, as requested")),
        }
        let several = self.documents.iter().any(|document| document.chunks.len() > 1);
        reason(match (to.late_chunking, several) {
            (true, true) => "late chunking: documents have several chunks".to_owned(),
            (true, false) => {
                "late chunking changes nothing here: each document is one chunk".to_owned()
            }
            (false, _) => "each chunk alone, as requested".to_owned(),
        });
        text
    }

    fn next(&self) -> String {
        let steps = ["run", "verify", "switch"];
        let line = |step: &str| format!("  kokeshi migrate {step} {}\n", self.plan_file);
        let steps: String = steps.iter().map(|step| line(step)).collect();
        let plan = self.plan;
        if plan.switch == plan.to.collection && !plan.is_between_stores() {
            return format!(
                "{steps}  readers then have to open `{}` instead of `{}`; if the store has aliases, let \
                 readers use one,\n  and name it here as `switch`: then all of them follow in one step\n",
                plan.to.collection, plan.from.collection
            );
        }
        steps + "  `rollback` undoes a switch, `clean` removes the old collection\n"
    }
}

/// What a switch does with an object, and the statements that are left to the user.
fn effect(effect: &SwitchEffect) -> String {
    let SwitchEffect { what, effect, statements, .. } = effect;
    let mut text = format!("  {}: {}\n", visible(what), visible(effect));
    for line in statements.iter().flat_map(|statement| statement.lines()) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    {}", visible(line));
    }
    text
}

/// The fields that are read, whether given or detected.
fn layout(fields: &Fields) -> String {
    let text = fields.text.as_deref().unwrap_or("text");
    let document = match (&fields.document, &fields.order) {
        (None, _) => "each row is a document".to_owned(),
        (Some(document), None) => format!("rows with the same `{document}` are a document"),
        (Some(document), Some(order)) => {
            format!("rows with the same `{document}` are a document, in the order of `{order}`")
        }
    };
    format!("  in `{text}`; {document}\n")
}

/// The rankings of queries by both models.
pub(super) fn rankings(queries: &[MigrationQuery], preview: &Preview) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    if let Some((old, new)) = queries::quality(queries, &preview.rankings) {
        let figures = |quality: Quality| {
            format!("nDCG@10 {:.3}, recall@10 {:.3}", quality.ndcg, quality.recall)
        };
        let old = old.map_or("unknown".to_owned(), figures);
        let _ =
            writeln!(text, "  queries with known answers: {old} before, {} after", figures(new));
    }
    for ranking in preview.rankings.iter().take(RANKINGS) {
        let first = |paths: &[String]| {
            paths.iter().take(3).map(|path| visible(path)).collect::<Vec<_>>().join(", ")
        };
        let old = ranking.old.as_deref().map_or("unknown".to_owned(), first);
        let _ = writeln!(
            text,
            "  {}\n    before: {old}\n    after:  {}",
            visible(&ranking.query),
            first(&ranking.new)
        );
    }
    text
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{:.0} s", s.max(1.0)),
        s if s < 3600.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
