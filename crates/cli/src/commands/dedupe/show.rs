//! Which texts were left out for which, for people and for programs.

use super::{Fate, Judged, Outcome};
use crate::args::DedupeArguments;
use crate::bytes;
use crate::layout::{counted, fitted};
use crate::printer::Printer;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

impl Outcome {
    /// Numbers of the texts left out, by the text that is kept for them.
    fn groups(&self) -> BTreeMap<usize, Vec<usize>> {
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, judged) in self.texts.iter().enumerate() {
            if let Some((kept, _)) = self.kept_for(judged) {
                groups.entry(kept).or_default().push(index);
            }
        }
        groups
    }

    /// The text that is kept for one that is not, and the cosine. A copy of a text that was left out
    /// is left out for the same.
    fn kept_for(&self, judged: &Judged) -> Option<(usize, f32)> {
        match judged.fate {
            Fate::Kept => None,
            Fate::Near(found) => Some((found.leader, found.cosine)),
            Fate::Copy(first) => match self.texts[first].fate {
                Fate::Near(found) => Some((found.leader, found.cosine)),
                Fate::Kept | Fate::Copy(_) => Some((first, 1.0)),
            },
        }
    }

    fn count(&self, wanted: impl Fn(&Fate) -> bool) -> usize {
        self.texts.iter().filter(|judged| wanted(&judged.fate)).count()
    }

    fn kept(&self) -> usize {
        self.count(|fate| *fate == Fate::Kept)
    }

    fn copies(&self) -> usize {
        self.count(|fate| matches!(fate, Fate::Copy(_)))
    }

    fn near(&self) -> usize {
        self.count(|fate| matches!(fate, Fate::Near(_)))
    }

    /// The share of near duplicates that was found, if that is an estimate.
    fn recall(&self) -> Option<f64> {
        let audit = self.audit.filter(|audit| audit.checked > 0)?;
        let missed = self.kept() as f64 * audit.missed as f64 / audit.checked as f64;
        let all = self.near() as f64 + missed;
        Some(if all > 0.0 { self.near() as f64 / all } else { 1.0 })
    }
}

/// Each text that others were left out for, and those below it.
pub(super) fn people(outcome: &Outcome, printer: &Printer) -> String {
    let mut out = String::new();
    let width = printer.width.saturating_sub(9).max(10);
    let shown =
        |index: usize, width| fitted(&outcome.texts[index].text, width).trim_end().to_owned();
    for (kept, dropped) in outcome.groups() {
        // Writing to a string cannot fail; here and below.
        let _ = writeln!(out, "{}", shown(kept, width + 9));
        for index in dropped {
            let cosine = outcome.kept_for(&outcome.texts[index]).map_or(1.0, |(_, cosine)| cosine);
            let _ = writeln!(out, "  {cosine:.3}  {}", shown(index, width));
        }
    }
    out
}

/// `1000 texts: 954 kept, 12 copies and 34 near duplicates left out`.
pub(super) fn summary(outcome: &Outcome) -> String {
    let texts = counted(outcome.texts.len(), "text");
    let (kept, copies, near) = (outcome.kept(), outcome.copies(), outcome.near());
    let copies = if copies == 1 { "1 copy".to_owned() } else { format!("{copies} copies") };
    let near = counted(near, "near duplicate");
    let memory = bytes::shown(outcome.vector_bytes as u64);
    let mut out =
        format!("{texts}: {kept} kept, {copies} and {near} left out; vectors took {memory}");
    if let (Some(audit), Some(recall)) = (outcome.audit, outcome.recall()) {
        let _ = write!(
            out,
            "\nabout {:.1} % of the near duplicates were found: {} of {} kept texts have one before \
             them; --exact finds all",
            100.0 * recall,
            audit.missed,
            audit.checked
        );
    }
    out
}

/// `x` as it was written: 0.9, and not the nearest f32 to it.
fn decimal(x: f32) -> f64 {
    x.to_string().parse().unwrap_or_else(|_| f64::from(x))
}

/// Everything but the texts that are alone.
pub(super) fn json(
    arguments: &DedupeArguments,
    task: Option<&str>,
    outcome: &Outcome,
    printer: &Printer,
) -> anyhow::Result<()> {
    let text = |index: usize| {
        let Judged { text, origin, .. } = &outcome.texts[index];
        json!({
            "index": index,
            "source": origin.source.to_string(),
            "line": origin.line,
            "text": text,
        })
    };
    let groups = outcome.groups().into_iter().map(|(kept, dropped)| {
        let dropped = dropped.into_iter().map(|index| {
            let judged = &outcome.texts[index];
            let mut dropped = text(index);
            dropped["cosine"] = json!(outcome.kept_for(judged).map(|(_, cosine)| cosine));
            dropped["copy"] = json!(matches!(judged.fate, Fate::Copy(_)));
            dropped
        });
        json!({ "kept": text(kept), "dropped": dropped.collect::<Vec<Value>>() })
    });
    let answer = json!({
        "model": arguments.model.model,
        "task": task,
        "threshold": decimal(arguments.threshold),
        "texts": outcome.texts.len(),
        "kept": outcome.kept(),
        "copies": outcome.copies(),
        "near": outcome.near(),
        "recall": outcome.recall(),
        "groups": groups.collect::<Vec<Value>>(),
    });
    printer.print(&(serde_json::to_string_pretty(&answer)? + "\n"))
}
