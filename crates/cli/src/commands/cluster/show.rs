//! Groups, as text for people.

use super::{Group, Grouping};
use crate::layout::{counted, fitted};
use crate::printer::Printer;
use std::fmt::Write;

/// Columns of a name that are worth having next to other things.
const NAME: usize = 20;

/// Renders a heading for each group and the texts nearest to its centre.
pub(super) fn text(grouping: &Grouping, printer: &Printer) -> String {
    let mut out = String::new();
    for (number, group) in (1..).zip(&grouping.groups) {
        // Writing to a string cannot fail; here and below.
        let _ = writeln!(out, "{}", heading(number, group, printer));
        for &index in &group.examples {
            let text =
                fitted(&grouping.texts[index].text, printer.width().saturating_sub(6).max(10));
            let _ = writeln!(out, "      {}", text.trim_end());
        }
    }
    out += &printer.folded(&format!("\n{}\n", summary(grouping)));
    out
}

fn heading(number: usize, group: &Group, printer: &Printer) -> String {
    let name = if group.name.is_empty() { "(no typical word)" } else { &group.name };
    let count = counted(group.size, "text");
    let figures = format!("{count}, silhouette {:.3}", group.silhouette);
    // The figures are below the name if it would be cut to almost nothing.
    let is_narrow = !printer.fits(6 + NAME + 2 + figures.len());
    let beside = if is_narrow { 0 } else { figures.len() + 2 };
    let name = fitted(name, printer.width().saturating_sub(6 + beside).max(10));
    let figures = match is_narrow {
        true => format!("\n{}", printer.folded(&format!("      {figures}")).trim_end()),
        false => format!("  {figures}"),
    };
    match printer.colour {
        true => format!("{number:>4}  \x1b[1m{name}\x1b[0m{figures}"),
        false => format!("{number:>4}  {name}{figures}"),
    }
}

/// `4 groups of 120 texts, silhouette 0.183`.
pub(super) fn summary(grouping: &Grouping) -> String {
    let (groups, texts) = (grouping.groups.len(), grouping.texts.len());
    let (groups, texts) = (counted(groups, "group"), counted(texts, "text"));
    let mut summary = format!("{groups} of {texts}, silhouette {:.3}", grouping.silhouette);
    if let (Some(first), Some(last)) = (grouping.tried.first(), grouping.tried.last()) {
        let _ = write!(summary, "; the best of {} to {}", first.groups, last.groups);
    }
    summary
}
