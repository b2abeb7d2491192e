//! Bars and shades in a terminal.

use super::comparison::RankChange;
use super::{Grid, MatrixComparison, Ranking, RankingComparison, colour, share};
use crate::layout::{counted, fitted};
use crate::printer::Printer;
use crate::visible::visible;
use std::io::{self, Write};

/// Columns of the longest bar, and of the shortest that is worth drawing.
const LONGEST_BAR: usize = 20;
const SHORTEST_BAR: usize = 5;
/// Columns of a text that are worth having next to its figures.
const TEXT_WIDTH: usize = 12;
/// Columns of a rank and a score.
const FIGURES_WIDTH: usize = 14;
/// Columns of a cell with its value, such as ` 0.83 `.
const CELL_WIDTH: usize = 6;
/// Columns of a cell without its value.
const SHADE_WIDTH: usize = 2;
/// Least columns of a text next to a grid that goes into a pipe.
const PIPE_TEXT_WIDTH: usize = 40;
/// Columns of the number of a text.
const LABEL_WIDTH: usize = 5;
/// Columns of a change of rank, such as `↑12`.
const CLIMB_WIDTH: usize = 5;

/// Writes one line per text: rank, score, bar, text.
pub(super) fn ranking(ranking: &Ranking, to: &mut dyn Write, printer: &Printer) -> io::Result<()> {
    // The text keeps a third of the line; the bar gets what is left.
    let text_width = TEXT_WIDTH.max(printer.width() / 3);
    let bar_width = printer.width().saturating_sub(FIGURES_WIDTH + 2 + text_width).min(LONGEST_BAR);
    let bar_width = if bar_width < SHORTEST_BAR { 0 } else { bar_width };
    let beside = FIGURES_WIDTH + if bar_width > 0 { bar_width + 2 } else { 0 };
    let text_width = printer.width().saturating_sub(beside).max(TEXT_WIDTH);
    for (rank, result) in ranking.results.iter().enumerate() {
        let text = fitted(&result.text, text_width);
        write!(to, "{:>4}  {:>6.3}  ", rank + 1, result.score)?;
        if bar_width > 0 {
            write!(to, "{}  ", bar(result.score, bar_width, printer.blocks))?;
        }
        writeln!(to, "{}", text.trim_end())?;
    }
    Ok(())
}

/// A bar of `width` columns for a score from 0 to 1; blank for a negative one.
fn bar(score: f32, width: usize, blocks: bool) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share(score, (0.0, 1.0)) * 8.0 * width as f32).round() as usize;
    let bar = match blocks {
        true => "█".repeat(eighths / 8) + EIGHTHS[eighths % 8],
        false => "#".repeat((eighths + 4) / 8),
    };
    fitted(&bar, width)
}

/// Writes one line per text in the order of the first model: rank and score under each model, the
/// change of rank, text.
pub(super) fn rankings(
    rankings: &RankingComparison,
    to: &mut dyn Write,
    printer: &Printer,
) -> io::Result<()> {
    let [first, second] = &rankings.models;
    writeln!(to, "A  {}\nB  {}\n", visible(first), visible(second))?;
    writeln!(to, "{:>4}  {:>6}  {:>CLIMB_WIDTH$}  {:>4}  {:>6}", "A", "score", "", "B", "score")?;
    let beside = 2 * FIGURES_WIDTH + CLIMB_WIDTH + 2;
    let has_room = printer.fits(beside + TEXT_WIDTH);
    let text_width =
        if has_room { printer.width().saturating_sub(beside) } else { printer.width() };
    let text_width = text_width.saturating_sub(if has_room { 0 } else { 6 }).max(TEXT_WIDTH);
    let gap = if has_room { "  " } else { "\n      " };
    for result in &rankings.results {
        let ([rank_a, rank_b], [score_a, score_b]) = (result.ranks, result.scores);
        let (climb, text) = (climb(result, printer), fitted(&result.text, text_width));
        let text = text.trim_end();
        write!(to, "{rank_a:>4}  {score_a:>6.3}  {climb}  {rank_b:>4}  {score_b:>6.3}")?;
        writeln!(to, "{gap}{text}")?;
    }
    let (moves, count) = (rankings.moves(), rankings.results.len());
    let summary = format!(
        "{moves} of {count} texts change rank; compare ranks, not scores: each model has its own \
         scale"
    );
    write!(to, "\n{}", printer.folded(&(summary + "\n")))
}

/// `↑2` in green or `↓2` in red; blank for a text that keeps its rank.
fn climb(result: &RankChange, printer: &Printer) -> String {
    let (up, down) = if printer.blocks { ("↑", "↓") } else { ("+", "-") };
    let (arrow, colour) = if result.climb > 0 { (up, 32) } else { (down, 31) };
    let ranks = result.climb.unsigned_abs();
    let text = if ranks == 0 { String::new() } else { format!("{arrow}{ranks}") };
    let text = format!("{text:>CLIMB_WIDTH$}");
    if printer.colour { format!("\x1b[{colour}m{text}\x1b[0m") } else { text }
}

/// Writes a grid for each model, and one of their differences.
pub(super) fn matrices(
    matrices: &MatrixComparison,
    to: &mut dyn Write,
    printer: &Printer,
) -> io::Result<()> {
    for (number, (heading, grid)) in matrices.grids().iter().enumerate() {
        writeln!(to, "{}{}", if number > 0 { "\n" } else { "" }, visible(heading))?;
        self::grid(grid, to, printer)?;
    }
    Ok(())
}

/// How a grid is shown in the columns that there are.
struct GridLayout {
    /// Columns of a cell.
    cell: usize,
    /// Number of texts that have a column of cells.
    shown: usize,
    /// Columns of the text next to a line of cells; `None` if the texts are below the grid.
    text: Option<usize>,
}

impl GridLayout {
    fn new(count: usize, printer: &Printer) -> Self {
        let room = match printer.terminal {
            true => printer.width().saturating_sub(LABEL_WIDTH),
            // A pipe has any number of columns.
            false => printer.width().max(count * CELL_WIDTH + 2 + PIPE_TEXT_WIDTH),
        };
        // Numbers if they fit, else shades, else as many shades as fit next to a short text.
        let cell = if count * CELL_WIDTH <= room { CELL_WIDTH } else { SHADE_WIDTH };
        let shown = match count * cell <= room {
            true => count,
            false => (room.saturating_sub(2 + TEXT_WIDTH) / cell).max(1),
        };
        let text = room.saturating_sub(shown * cell + 2);
        Self { cell, shown, text: (text >= TEXT_WIDTH).then_some(text) }
    }
}

/// Writes a shaded grid, with its values if they fit, and the texts next to it or below.
pub(super) fn grid(grid: &Grid<'_>, to: &mut dyn Write, printer: &Printer) -> io::Result<()> {
    let count = grid.texts.len();
    let layout = GridLayout::new(count, printer);
    let GridLayout { cell: cell_width, shown, text: text_width } = layout;
    let has_numbers = cell_width == CELL_WIDTH;
    if has_numbers {
        let headings: String = (0..shown).map(|i| format!("{i:^CELL_WIDTH$}")).collect();
        writeln!(to, "{:LABEL_WIDTH$}{}", "", headings.trim_end())?;
    }
    for (index, (values, text)) in grid.values.iter().zip(grid.texts).enumerate() {
        write!(to, "{index:>4} ")?;
        for &value in &values[..shown] {
            let number = if has_numbers { grid.number(value, 2) } else { String::new() };
            write!(to, "{}", cell(&number, cell_width, grid.share(value), printer))?;
        }
        match text_width {
            Some(width) => writeln!(to, "  {}", fitted(text, width).trim_end())?,
            None => writeln!(to)?,
        }
    }
    if text_width.is_none() {
        writeln!(to)?;
        let width = printer.width().saturating_sub(LABEL_WIDTH).max(TEXT_WIDTH);
        for (index, text) in grid.texts.iter().enumerate() {
            writeln!(to, "{index:>4} {}", fitted(text, width).trim_end())?;
        }
    }
    if shown < count {
        let all = counted(count, "column");
        let note = format!("{shown} of {all} fit into this window; --html FILE shows all");
        write!(to, "\n{}", printer.folded(&(note + "\n")))?;
    }
    Ok(())
}

fn cell(number: &str, width: usize, share: f32, printer: &Printer) -> String {
    if printer.colour {
        let [r, g, b] = colour(share);
        let ink = if share > 0.5 { 255 } else { 0 };
        return format!("\x1b[48;2;{r};{g};{b};38;2;{ink};{ink};{ink}m{number:^width$}\x1b[0m");
    }
    let shades =
        if printer.blocks { [" ", "░", "▒", "▓", "█"] } else { [" ", ".", "+", "*", "#"] };
    let shade = shades[((share * 5.0) as usize).min(4)];
    if number.is_empty() { shade.repeat(width) } else { format!("{number:>5}{shade}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_grow_with_the_score_and_keep_their_width() {
        assert_eq!(bar(0.5, 20, false).trim_end(), "#".repeat(10));
        assert_eq!(bar(1.0, 20, true), "█".repeat(20));
        assert_eq!(bar(0.51, 20, true).trim_end(), "██████████▎");
        for score in [-1.0, 0.0, 2.0, f32::NAN] {
            assert_eq!(bar(score, 7, true).chars().count(), 7, "{score}");
        }
    }
}
