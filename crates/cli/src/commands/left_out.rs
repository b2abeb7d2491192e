//! What a collection leaves out, for people.

use crate::layout::counted;
use crate::printer::Printer;
use crate::visible::visible;
use kokeshi_collections::{LeftOut, LeftOutReason, StoredText, Unreachable};
use std::collections::BTreeMap;
use std::path::Path;

/// Maximum number of left-out files whose reasons are printed.
const REASONS: usize = 10;
/// Maximum number of kinds of left-out files that are printed.
const KINDS: usize = 8;

/// Prints the reasons that people should know: of files that were named, that had a text before,
/// or that should have one.
pub(super) fn print_reasons(left_out: &[LeftOut], printer: &Printer) {
    for file in left_out.iter().filter(|file| file.is_named) {
        printer.error(&format!("{} is not indexed: {}", shown(&file.path), file.reason));
    }
    let expected: Vec<String> = left_out.iter().filter_map(message).collect();
    expected.iter().take(REASONS).for_each(|message| printer.warning(message));
    if let Some(more) = expected.len().checked_sub(REASONS + 1) {
        printer.warning(&format!("left out {} more", more + 1));
    }
}

fn shown(path: &Path) -> String {
    visible(&path.display().to_string()).into_owned()
}

fn message(file: &LeftOut) -> Option<String> {
    let path = shown(&file.path);
    match (file.text, &file.reason) {
        _ if file.is_named => None,
        (StoredText::Removed, LeftOutReason::NoText) => None,
        (StoredText::Removed, reason) => {
            Some(format!("{path} can no longer be read, and its earlier text is removed: {reason}"))
        }
        (StoredText::Kept, reason) => {
            Some(format!("{path} cannot be read, and its earlier text is kept: {reason}"))
        }
        (_, LeftOutReason::Binary | LeftOutReason::NoText | LeftOutReason::Earlier(_)) => None,
        (_, reason) => Some(format!("left out {path}: {reason}")),
    }
}

/// `297 files: 294 .gz (binary), 3 .txt (no text)`.
pub(super) fn kinds(left_out: &[LeftOut]) -> String {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for file in left_out {
        let ending = file.path.extension().map_or_else(
            || "without ending".to_owned(),
            |ending| format!(".{}", ending.to_string_lossy().to_lowercase()),
        );
        *counts.entry((ending, file.reason.kind())).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let rest: usize = counts.iter().skip(KINDS).map(|(_, count)| count).sum();
    let kinds = counts.iter().take(KINDS);
    let mut kinds: Vec<String> =
        kinds.map(|((ending, kind), count)| format!("{count} {ending} ({kind})")).collect();
    kinds.extend((rest > 0).then(|| format!("{rest} of other kinds")));
    format!("{}: {}", counted(left_out.len(), "file"), kinds.join(", "))
}

/// Prints what could not be looked at.
pub(super) fn print_unreachable(unreachable: &[Unreachable], printer: &Printer) {
    for place in unreachable {
        printer.error(&unreachable_message(place));
    }
    if !unreachable.is_empty() {
        printer.hint("--prune-missing removes the documents of what is missing on purpose");
    }
}

pub(super) fn unreachable_message(place: &Unreachable) -> String {
    let Unreachable { path, reason, documents, .. } = place;
    let path = path.display().to_string();
    let reason = if reason.contains(&path) { reason.clone() } else { format!("{path}: {reason}") };
    format!("cannot look at {reason}; {} kept", counted(*documents, "document"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_by_ending_and_reason() {
        let file = |name: &str, reason| LeftOut {
            path: name.into(),
            reason,
            text: StoredText::None,
            is_named: false,
        };
        let files = [
            file("a.txt", LeftOutReason::NoText),
            file("b.GZ", LeftOutReason::Binary),
            file("c.gz", LeftOutReason::Earlier("binary".to_owned())),
            file("d", LeftOutReason::Binary),
        ];
        let wanted = "4 files: 2 .gz (binary), 1 .txt (no text), 1 without ending (binary)";
        assert_eq!(kinds(&files), wanted);
    }
}
