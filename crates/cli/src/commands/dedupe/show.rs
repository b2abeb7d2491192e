//! Dropped texts with the texts that they repeat, as text for people and as JSON.

use super::{Deduplication, JudgedText, Verdict};
use crate::args::DedupeArguments;
use crate::bytes;
use crate::layout::{counted, fitted};
use crate::printer::Printer;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

impl Deduplication {
    /// Numbers of the dropped texts by the kept text that they repeat.
    fn groups(&self) -> BTreeMap<usize, Vec<usize>> {
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, judged) in self.texts.iter().enumerate() {
            if let Some((kept, _)) = self.kept_for(judged) {
                groups.entry(kept).or_default().push(index);
            }
        }
        groups
    }

    /// The kept text that a dropped one repeats, and their cosine. A copy of a dropped text repeats
    /// the same kept text.
    fn kept_for(&self, judged: &JudgedText) -> Option<(usize, f32)> {
        match judged.verdict {
            Verdict::Kept => None,
            Verdict::Near(nearest) => Some((nearest.leader, nearest.cosine)),
            Verdict::Copy(first) => match self.texts[first].verdict {
                Verdict::Near(nearest) => Some((nearest.leader, nearest.cosine)),
                Verdict::Kept | Verdict::Copy(_) => Some((first, 1.0)),
            },
        }
    }

    fn count(&self, matches: impl Fn(&Verdict) -> bool) -> usize {
        self.texts.iter().filter(|text| matches(&text.verdict)).count()
    }

    fn kept(&self) -> usize {
        self.count(|verdict| *verdict == Verdict::Kept)
    }

    fn copies(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Copy(_)))
    }

    fn near(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Near(_)))
    }

    /// The estimated share of near duplicates that were found, if the search was approximate.
    fn recall(&self) -> Option<f64> {
        let audit = self.audit.filter(|audit| audit.checked > 0)?;
        let missed = self.kept() as f64 * audit.missed as f64 / audit.checked as f64;
        let all = self.near() as f64 + missed;
        Some(if all > 0.0 { self.near() as f64 / all } else { 1.0 })
    }
}

/// Renders each kept text that others repeat, with those below it.
pub(super) fn text(result: &Deduplication, printer: &Printer) -> String {
    let mut out = String::new();
    let width = printer.width().saturating_sub(9).max(10);
    let line = |index: usize, width| fitted(&result.texts[index].text, width).trim_end().to_owned();
    for (kept, dropped) in result.groups() {
        // Writing to a string cannot fail; here and below.
        let _ = writeln!(out, "{}", line(kept, width + 9));
        for index in dropped {
            let cosine = result.kept_for(&result.texts[index]).map_or(1.0, |(_, cosine)| cosine);
            let _ = writeln!(out, "  {cosine:.3}  {}", line(index, width));
        }
    }
    out
}

/// `1000 texts: 954 kept; dropped 12 copies and 34 near duplicates`.
pub(super) fn summary(result: &Deduplication) -> String {
    let texts = counted(result.texts.len(), "text");
    let (kept, copies, near) = (result.kept(), result.copies(), result.near());
    let copies = if copies == 1 { "1 copy".to_owned() } else { format!("{copies} copies") };
    let near = counted(near, "near duplicate");
    let memory = bytes::format(result.vector_bytes as u64);
    let mut out =
        format!("{texts}: {kept} kept; dropped {copies} and {near}; vectors used {memory}");
    if let (Some(audit), Some(recall)) = (result.audit, result.recall()) {
        let _ = write!(
            out,
            "\nabout {:.1} % of the near duplicates were found: {} of {} kept texts repeat an earlier \
             one; use --exact to find all",
            100.0 * recall,
            audit.missed,
            audit.checked
        );
    }
    out
}

/// `x` as the user wrote it: 0.9, not the nearest f32.
fn decimal(x: f32) -> f64 {
    x.to_string().parse().unwrap_or_else(|_| f64::from(x))
}

/// Prints the results as JSON, without the texts that have no duplicates.
pub(super) fn json(
    arguments: &DedupeArguments,
    task: Option<&str>,
    result: &Deduplication,
    printer: &Printer,
) -> anyhow::Result<()> {
    let text = |index: usize| {
        let JudgedText { text, origin, .. } = &result.texts[index];
        json!({
            "index": index,
            "source": origin.source.to_string(),
            "line": origin.line,
            "text": text,
        })
    };
    let groups = result.groups().into_iter().map(|(kept, dropped)| {
        let dropped = dropped.into_iter().map(|index| {
            let judged = &result.texts[index];
            let mut dropped = text(index);
            dropped["cosine"] = json!(result.kept_for(judged).map(|(_, cosine)| cosine));
            dropped["copy"] = json!(matches!(judged.verdict, Verdict::Copy(_)));
            dropped
        });
        json!({ "kept": text(kept), "dropped": dropped.collect::<Vec<Value>>() })
    });
    let answer = json!({
        "model": arguments.model.model,
        "task": task,
        "threshold": decimal(arguments.threshold),
        "texts": result.texts.len(),
        "kept": result.kept(),
        "copies": result.copies(),
        "near": result.near(),
        "recall": result.recall(),
        "groups": groups.collect::<Vec<Value>>(),
    });
    printer.print(&(serde_json::to_string_pretty(&answer)? + "\n"))
}
