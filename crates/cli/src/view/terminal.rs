//! Bars and shades in a terminal.

use super::comparison::RankChange;
use super::{Grid, MatrixComparison, Ranking, RankingComparison, colour, share};
use crate::layout::fitted;
use crate::printer::Printer;
use std::io::{self, Write};

/// Columns of a bar.
const BAR_WIDTH: usize = 20;
/// Columns of a cell with its value, such as ` 0.83 `.
const CELL_WIDTH: usize = 6;
/// Columns of the number of a text.
const LABEL_WIDTH: usize = 5;
/// Columns of a change of rank, such as `↑12`.
const CLIMB_WIDTH: usize = 5;

/// Writes one line per text: rank, score, bar, text.
pub(super) fn ranking(ranking: &Ranking, to: &mut dyn Write, printer: &Printer) -> io::Result<()> {
    let text_width = printer.width.saturating_sub(LABEL_WIDTH + 8 + BAR_WIDTH + 2).max(10);
    for (rank, result) in ranking.results.iter().enumerate() {
        let bar = bar(result.score, printer.blocks);
        let text = fitted(&result.text, text_width);
        let line = format!("{:>4}  {:>6.3}  {bar}  {text}", rank + 1, result.score);
        writeln!(to, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A bar of `BAR_WIDTH` columns for a score from 0 to 1; blank for a negative one.
fn bar(score: f32, blocks: bool) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share(score, (0.0, 1.0)) * 8.0 * BAR_WIDTH as f32).round() as usize;
    let bar = match blocks {
        true => "█".repeat(eighths / 8) + EIGHTHS[eighths % 8],
        false => "#".repeat((eighths + 4) / 8),
    };
    fitted(&bar, BAR_WIDTH)
}

/// Writes one line per text in the order of the first model: rank and score under each model, the
/// change of rank, text.
pub(super) fn rankings(
    rankings: &RankingComparison,
    to: &mut dyn Write,
    printer: &Printer,
) -> io::Result<()> {
    let [first, second] = &rankings.models;
    writeln!(to, "A  {first}\nB  {second}\n")?;
    writeln!(to, "{:>4}  {:>6}  {:>CLIMB_WIDTH$}  {:>4}  {:>6}", "A", "score", "", "B", "score")?;
    let text_width = printer.width.saturating_sub(2 * (4 + 2 + 6 + 2) + CLIMB_WIDTH + 2).max(10);
    for result in &rankings.results {
        let ([rank_a, rank_b], [score_a, score_b]) = (result.ranks, result.scores);
        let (climb, text) = (climb(result, printer), fitted(&result.text, text_width));
        let text = text.trim_end();
        writeln!(to, "{rank_a:>4}  {score_a:>6.3}  {climb}  {rank_b:>4}  {score_b:>6.3}  {text}")?;
    }
    let (moves, count) = (rankings.moves(), rankings.results.len());
    writeln!(
        to,
        "\n{moves} of {count} texts change rank; compare ranks, not scores: each model has its own \
         scale"
    )
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
        writeln!(to, "{}{heading}", if number > 0 { "\n" } else { "" })?;
        self::grid(grid, to, printer)?;
    }
    Ok(())
}

/// Writes a shaded grid, with its values if they fit, and the texts next to it.
pub(super) fn grid(grid: &Grid<'_>, to: &mut dyn Write, printer: &Printer) -> io::Result<()> {
    let count = grid.texts.len();
    let has_numbers = LABEL_WIDTH + count * CELL_WIDTH + 12 <= printer.width;
    let cell_width = if has_numbers { CELL_WIDTH } else { 2 };
    let text_width = printer.width.saturating_sub(LABEL_WIDTH + count * cell_width + 2).max(10);
    if has_numbers {
        let headings: String = (0..count).map(|i| format!("{i:^CELL_WIDTH$}")).collect();
        writeln!(to, "{:LABEL_WIDTH$}{}", "", headings.trim_end())?;
    }
    for (index, (values, text)) in grid.values.iter().zip(grid.texts).enumerate() {
        write!(to, "{index:>4} ")?;
        for &value in values {
            let number = if has_numbers { grid.number(value, 2) } else { String::new() };
            write!(to, "{}", cell(&number, cell_width, grid.share(value), printer))?;
        }
        writeln!(to, "  {}", fitted(text, text_width).trim_end())?;
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
        assert_eq!(bar(0.5, false).trim_end(), "#".repeat(10));
        assert_eq!(bar(1.0, true), "█".repeat(20));
        assert_eq!(bar(0.51, true).trim_end(), "██████████▎");
        for score in [-1.0, 0.0, 2.0, f32::NAN] {
            assert_eq!(bar(score, true).chars().count(), BAR_WIDTH, "{score}");
        }
    }
}
