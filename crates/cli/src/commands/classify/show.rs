//! Labels of texts and their accuracy, as text for people and as JSON.

use super::Decision;
use crate::layout::{counted, fitted};
use crate::printer::Printer;
use crate::visible::visible;
use kokeshi::Options;
use kokeshi_analysis::Confusion;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::fmt::Write;
use unicode_width::UnicodeWidthStr;

/// Maximum number of columns of a label on a terminal.
const LABEL: usize = 28;
/// Maximum number of classes for a whole confusion matrix.
const SMALL: usize = 10;
/// Columns of a text that are worth having next to its labels.
const TEXT: usize = 12;
/// Columns of the figures of a class.
const FIGURES: usize = 34;
/// Heading of the rows of a confusion matrix.
const TRUE_PREDICTED: &str = "true \\ predicted";
/// Number of confusions to show for more classes.
const WORST: usize = 10;

/// Renders one line per text: label, score, text.
pub(super) fn text(decisions: &[Decision], printer: &Printer) -> String {
    let labels = decisions.iter().flat_map(|decision| &decision.predictions);
    let width = labels.map(|one| one.label.width()).max().unwrap_or(0).clamp(4, LABEL);
    let mut out = String::new();
    for decision in decisions {
        let columns = decision.predictions.len() * (width + 9);
        if !printer.fits(columns + TEXT) {
            out += &entry(decision, width, printer);
            continue;
        }
        for one in &decision.predictions {
            // Writing to a string cannot fail; here and below.
            let _ = write!(out, "{}  {:.3}  ", fitted(&one.label, width), one.score);
        }
        let text = fitted(&decision.text, printer.width().saturating_sub(columns).max(10));
        let _ = writeln!(out, "{}", text.trim_end());
    }
    out
}

/// Renders accuracy, the scores of each class, and the confusions.
pub(super) fn evaluation(confusion: &Confusion, printer: &Printer) -> String {
    let (total, classes) = (confusion.total(), confusion.labels.len());
    let mut out = format!(
        "accuracy {:.4}, macro-F1 {:.4} over {} and {}\n\n",
        confusion.accuracy(),
        confusion.macro_f1(),
        counted(total, "text"),
        if classes == 1 { "1 class".to_owned() } else { format!("{classes} classes") },
    );
    let width = confusion.labels.iter().map(|label| label.width()).max().unwrap_or(0);
    let room = if printer.terminal { printer.width().saturating_sub(FIGURES) } else { usize::MAX };
    let longest = if printer.terminal { LABEL } else { usize::MAX };
    let width = width.clamp(5, room.clamp(5, longest));
    let _ = writeln!(out, "{}  precision  recall     F1  texts", fitted("class", width));
    for (label, class) in confusion.labels.iter().zip(confusion.classes()) {
        let (precision, recall, f1) = (class.precision, class.recall, class.f1);
        let label = fitted(label, width);
        let _ =
            writeln!(out, "{label}  {precision:>9.3} {recall:>7.3} {f1:>6.3} {:>6}", class.support);
    }
    out += &if fits_table(confusion, width, printer) {
        table(confusion, width, printer)
    } else {
        worst(confusion, width)
    };
    out
}

/// A text and its labels in lines of their own.
fn entry(decision: &Decision, width: usize, printer: &Printer) -> String {
    let text = fitted(&decision.text, printer.width().max(10));
    let width = width.min(printer.width().saturating_sub(9)).max(4);
    let labels = decision.predictions.iter();
    let labels = labels.map(|one| format!("  {}  {:.3}\n", fitted(&one.label, width), one.score));
    format!("{}\n{}", text.trim_end(), labels.collect::<String>())
}

/// Whether the whole confusion matrix can be shown: always if it does not go to a terminal.
fn fits_table(confusion: &Confusion, width: usize, printer: &Printer) -> bool {
    let classes = confusion.labels.len();
    !printer.terminal || classes <= SMALL && printer.fits(heading(confusion, width) + 6 * classes)
}

/// Columns of a numbered label in front of its row.
fn heading(confusion: &Confusion, width: usize) -> usize {
    let digits = confusion.labels.len().to_string().len();
    (digits + 1 + width).max(TRUE_PREDICTED.len())
}

/// Rows are true classes, columns predicted ones, in the order of the classes above.
fn table(confusion: &Confusion, width: usize, printer: &Printer) -> String {
    let width = heading(confusion, width);
    let mut out = format!("\n{}", fitted(TRUE_PREDICTED, width));
    for column in 1..=confusion.labels.len() {
        let _ = write!(out, "{column:>6}");
    }
    out.push('\n');
    for (number, (label, counts)) in confusion.labels.iter().zip(&confusion.counts).enumerate() {
        let label = fitted(&format!("{} {label}", number + 1), width);
        let _ = write!(out, "{label}");
        for (column, count) in counts.iter().enumerate() {
            let cell = if *count == 0 { "·".to_owned() } else { count.to_string() };
            let cell = format!("{cell:>6}");
            match printer.colour && column == number {
                true => out += &format!("\x1b[1m{cell}\x1b[0m"),
                false => out += &cell,
            }
        }
        out.push('\n');
    }
    out
}

/// The most frequent confusions.
fn worst(confusion: &Confusion, width: usize) -> String {
    let cells = confusion.counts.iter().enumerate();
    let cells = cells.flat_map(|(truth, row)| {
        row.iter().enumerate().map(move |(predicted, &count)| (count, truth, predicted))
    });
    let mut cells: Vec<_> =
        cells.filter(|&(count, truth, predicted)| count > 0 && truth != predicted).collect();
    cells.sort_by_key(|&(count, ..)| Reverse(count));
    let mut out =
        if cells.is_empty() { String::new() } else { "\nmost often confused\n".to_owned() };
    for (count, truth, predicted) in cells.into_iter().take(WORST) {
        let [truth, predicted] = [truth, predicted].map(|class| &confusion.labels[class]);
        let _ = writeln!(
            out,
            "{count:>6}  {}  mistaken for  {}",
            fitted(truth, width),
            visible(predicted)
        );
    }
    out
}

/// Prints all results as JSON.
pub(super) fn json(
    model: &str,
    options: &Options,
    decisions: &[Decision],
    confusion: Option<&Confusion>,
    printer: &Printer,
) -> anyhow::Result<()> {
    let mut answer = json!({ "model": model, "task": options.task, "texts": decisions });
    if let Some(confusion) = confusion {
        let classes = confusion.labels.iter().zip(confusion.classes());
        let classes = classes.map(|(label, class)| {
            json!({
                "label": label,
                "precision": class.precision,
                "recall": class.recall,
                "f1": class.f1,
                "texts": class.support,
            })
        });
        answer["evaluation"] = json!({
            "accuracy": confusion.accuracy(),
            "macro_f1": confusion.macro_f1(),
            "classes": classes.collect::<Vec<Value>>(),
            "confusion": confusion.counts,
        });
    }
    printer.print(&(serde_json::to_string_pretty(&answer)? + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twelve() -> Confusion {
        let labels: Vec<String> =
            (0..12).map(|n| format!("a label with more than twenty-eight columns, {n}")).collect();
        Confusion::of((0..12).map(|n| (labels[n].as_str(), labels[(n * n) % 12].as_str())))
    }

    fn printer(terminal: bool) -> Printer {
        let mut printer = Printer::detect();
        (printer.terminal, printer.colour) = (terminal, false);
        printer
    }

    #[test]
    fn a_confusion_matrix_that_goes_to_a_pipe_is_whole() {
        let confusion = twelve();
        let printer = printer(false);
        let text = evaluation(&confusion, &printer);
        let (_, matrix) = text.split_once(TRUE_PREDICTED).expect("a matrix");
        let rows: Vec<&str> = matrix.lines().skip(1).collect();
        assert_eq!(rows.len(), 12, "{text}");
        for (number, row) in rows.iter().enumerate() {
            let label = &confusion.labels[number];
            assert!(row.starts_with(&format!("{} {label} ", number + 1)), "{row}");
            let cells = row.rsplit(label).next().expect("cells").split_whitespace().count();
            assert_eq!(cells, 12, "{row}");
        }
        assert!(!text.contains('…') && !text.contains("most often confused"), "{text}");
    }

    #[test]
    fn a_confusion_matrix_that_is_too_wide_for_a_terminal_is_a_list() {
        let text = evaluation(&twelve(), &printer(true));
        assert!(text.contains("most often confused") && !text.contains(TRUE_PREDICTED), "{text}");
    }
}
