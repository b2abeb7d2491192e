//! Bars and shades of a terminal.

use super::{Matrix, Ranking, colour, share};
use crate::layout::fitted;
use crate::printer::Printer;
use std::io::{self, Write};

/// Columns of a bar.
const BAR_WIDTH: usize = 20;
/// Columns of a cell with its number, such as ` 0.83 `.
const CELL_WIDTH: usize = 6;
/// Columns of the number of a text.
const LABEL_WIDTH: usize = 5;

/// One line a text: rank, score, bar, text.
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

/// A bar of `BAR_WIDTH` columns for a score from 0 to 1; none for a negative one.
fn bar(score: f32, blocks: bool) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share(score, (0.0, 1.0)) * 8.0 * BAR_WIDTH as f32).round() as usize;
    let bar = match blocks {
        true => "█".repeat(eighths / 8) + EIGHTHS[eighths % 8],
        false => "#".repeat((eighths + 4) / 8),
    };
    fitted(&bar, BAR_WIDTH)
}

/// A shaded square with the scores in it where they fit, and the texts beside it.
pub(super) fn matrix(matrix: &Matrix, to: &mut dyn Write, printer: &Printer) -> io::Result<()> {
    let count = matrix.texts.len();
    let numbers = LABEL_WIDTH + count * CELL_WIDTH + 12 <= printer.width;
    let cell_width = if numbers { CELL_WIDTH } else { 2 };
    let text_width = printer.width.saturating_sub(LABEL_WIDTH + count * cell_width + 2).max(10);
    let range = matrix.range();
    if numbers {
        let heads: String = (0..count).map(|i| format!("{i:^CELL_WIDTH$}")).collect();
        writeln!(to, "{:LABEL_WIDTH$}{}", "", heads.trim_end())?;
    }
    for (index, (scores, text)) in matrix.matrix.iter().zip(&matrix.texts).enumerate() {
        write!(to, "{index:>4} ")?;
        for &score in scores {
            write!(to, "{}", cell(score, share(score, range), numbers, printer))?;
        }
        writeln!(to, "  {}", fitted(text, text_width).trim_end())?;
    }
    Ok(())
}

fn cell(score: f32, share: f32, numbers: bool, printer: &Printer) -> String {
    let text = if numbers { format!("{score:^CELL_WIDTH$.2}") } else { "  ".to_owned() };
    if printer.colour {
        let [r, g, b] = colour(share);
        let ink = if share > 0.5 { 255 } else { 0 };
        return format!("\x1b[48;2;{r};{g};{b};38;2;{ink};{ink};{ink}m{text}\x1b[0m");
    }
    let shades =
        if printer.blocks { [" ", "░", "▒", "▓", "█"] } else { [" ", ".", "+", "*", "#"] };
    let shade = shades[((share * 5.0) as usize).min(4)];
    match numbers {
        true => format!("{score:5.2}{shade}"),
        false => shade.repeat(2),
    }
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
