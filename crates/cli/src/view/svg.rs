//! Pictures: SVG files and web pages.

use super::comparison::RankChange;
use super::{Grid, MatrixComparison, Ranking, RankingComparison, View, colour, share};
use crate::output::Destination;
use crate::printer::Printer;
use maud::{Markup, html};
use std::path::Path;

/// Black, unless the page around the picture has another colour of text.
const INK: &str = "currentColor";
/// Pixels of a cell of a matrix, and of a line of a ranking or a heading.
const CELL: usize = 44;
const LINE: usize = 26;
/// Pixels of the longest bar, and of the score before it.
const BAR: usize = 220;
const SCORE: usize = 70;
/// Pixels between two rankings, where lines connect the ranks of each text.
const SLOPE: usize = 90;
/// The share from which white is easier to read on a cell than black.
const DARK: f32 = 0.7;
/// Pixels next to the matrix or the bars, for the texts, and how many characters fit in them.
const TEXT: usize = 480;
const TEXT_CHARS: usize = 64;

/// The picture as an SVG document.
pub(crate) fn picture(view: &View) -> String {
    document(match view {
        View::Ranking(Ranking { results, .. }) => {
            bars(results.iter().map(|result| (result.score, result.text.as_str())))
        }
        View::Rankings(rankings) => slopes(rankings),
        View::Matrix(matrix) => cells(&matrix.grid()),
        View::Matrices(matrices) => stacked(matrices),
    })
    .into_string()
}

/// A bar for each share from 0 to 1 with its label, as an SVG document.
pub(crate) fn bar_chart<'a>(shares: impl Iterator<Item = (f32, &'a str)>) -> String {
    document(bars(shares)).into_string()
}

/// Writes a picture or a page to `path`; `-` is standard output.
pub(crate) fn write(path: &Path, picture: &str, printer: &Printer) -> anyhow::Result<()> {
    let mut to = Destination::open(path, printer)?;
    to.writer().write_all(picture.as_bytes()).map_err(|error| to.failure(error))?;
    to.commit()
}

/// SVG elements and the area that they cover, in pixels.
struct Drawing {
    width: usize,
    height: usize,
    elements: Markup,
}

fn document(Drawing { width, height, elements }: Drawing) -> Markup {
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format_args!("0 0 {width} {height}"))
            width=(width) height=(height) font-family="sans-serif" font-size="13" { "\n"
            rect class="paper" width="100%" height="100%" fill="white" {} "\n"
            (elements)
        } "\n"
    }
}

/// Scores from 0 to 1 as bars, each with its text next to it.
fn bars<'a>(scores: impl Iterator<Item = (f32, &'a str)>) -> Drawing {
    let scores: Vec<(f32, &str)> = scores.collect();
    let elements = html! {
        @for (line, &(score, text)) in scores.iter().enumerate() {
            @let y = 10 + line * LINE;
            (bar(0, y, score, text))
            (label(SCORE + BAR + 10, y + 13, "start", INK, &shortened(text)))
        }
    };
    Drawing { width: SCORE + BAR + 10 + TEXT, height: 20 + scores.len() * LINE, elements }
}

/// Two rankings, and a line from each text's rank in the first to its rank in the second. The
/// texts are next to the second.
fn slopes(rankings: &RankingComparison) -> Drawing {
    let (second, texts) = (SCORE + BAR + SLOPE, 2 * (SCORE + BAR) + SLOPE + 10);
    let [a, b] = &rankings.models;
    let y = |rank: usize| 10 + rank * LINE;
    let elements = html! {
        (label(10, 23, "start", INK, &shortened(&format!("A  {a}"))))
        (label(second + SCORE, 23, "start", INK, &shortened(&format!("B  {b}"))))
        @for result in &rankings.results {
            @let ([y_a, y_b], [score_a, score_b]) = (result.ranks.map(y), result.scores);
            (bar(0, y_a, score_a, &result.text))
            (slope(y_a, y_b, result))
            (bar(second, y_b, score_b, &result.text))
            (label(texts, y_b + 13, "start", INK, &shortened(&result.text)))
        }
    };
    let height = 20 + (rankings.results.len() + 1) * LINE;
    Drawing { width: texts + TEXT, height, elements }
}

/// A score and its bar.
fn bar(x: usize, y: usize, score: f32, title: &str) -> Markup {
    let share = share(score, (0.0, 1.0));
    let width = (share * BAR as f32).round() as usize;
    html! {
        (rect(x + SCORE, y, width, LINE - 8, share, title))
        (label(x + SCORE - 10, y + 13, "end", INK, &format!("{score:.3}")))
    }
}

fn slope(from: usize, to: usize, result: &RankChange) -> Markup {
    let (start, end) = (SCORE + BAR + 8, SCORE + BAR + SLOPE + 16);
    let stroke = match result.climb {
        ..0 => "firebrick",
        0 => "silver",
        1.. => "seagreen",
    };
    html! {
        line x1=(start) y1=(from + 9) x2=(end) y2=(to + 9) stroke=(stroke) stroke-width="2" {
            title { (printable(&result.text)) }
        } "\n"
    }
}

/// The grids one below the other.
fn stacked(matrices: &MatrixComparison) -> Drawing {
    let (mut width, mut top, mut parts) = (0, 0, Vec::new());
    for (heading, grid) in matrices.grids() {
        let below = cells(&grid);
        parts.push(html! {
            (label(10, top + 23, "start", INK, &heading))
            g transform=(format_args!("translate(0,{})", top + LINE)) { "\n" (below.elements) } "\n"
        });
        (width, top) = (width.max(below.width), top + LINE + below.height);
    }
    Drawing { width, height: top, elements: html! { @for part in &parts { (part) } } }
}

fn cells(grid: &Grid<'_>) -> Drawing {
    let side = grid.texts.len() * CELL;
    let middle = |start: usize| start + CELL / 2;
    let elements = html! {
        @for (i, (values, text)) in grid.values.iter().zip(grid.texts).enumerate() {
            @let y = 10 + i * CELL;
            @for (j, &value) in values.iter().enumerate() {
                @let (x, share) = (10 + j * CELL, grid.share(value));
                @let ink = if share > DARK { "white" } else { "black" };
                @let title = format!("{}\n{text}\n{}", grid.number(value, 4), grid.texts[j]);
                (rect(x, y, CELL, CELL, share, &title))
                (label(middle(x), middle(y) + 5, "middle", ink, &grid.number(value, 2)))
            }
            (label(side + 20, middle(y) + 5, "start", INK, &shortened(text)))
        }
    };
    Drawing { width: side + 20 + TEXT, height: side + 20, elements }
}

fn rect(x: usize, y: usize, width: usize, height: usize, share: f32, title: &str) -> Markup {
    let [r, g, b] = colour(share);
    html! {
        rect x=(x) y=(y) width=(width) height=(height) fill=(format_args!("rgb({r},{g},{b})")) {
            title { (printable(title)) }
        } "\n"
    }
}

fn label(x: usize, y: usize, anchor: &str, ink: &str, text: &str) -> Markup {
    html! {
        text x=(x) y=(y) text-anchor=(anchor) fill=(ink) pointer-events="none" {
            (printable(text))
        } "\n"
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `text` with a space for each of the control characters that XML 1.0 excludes.
pub(super) fn printable(text: &str) -> String {
    let is_excluded = |c: char| match c {
        '\n' | '\t' => false,
        c => c.is_control() || ('\u{fffe}'..='\u{ffff}').contains(&c),
    };
    text.replace(is_excluded, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contrast between two luminances, as WCAG 2 defines it.
    fn contrast(a: f64, b: f64) -> f64 {
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn the_figures_of_every_cell_can_be_read() {
        let linear = |value: u8| {
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        for step in 0..=100_u8 {
            let share = f32::from(step) / 100.0;
            let [r, g, b] = colour(share).map(linear);
            let ink = if share > DARK { 1.0 } else { 0.0 };
            let found = contrast(0.2126 * r + 0.7152 * g + 0.0722 * b, ink);
            assert!(found >= 4.5, "{share}: {found}");
        }
    }

    #[test]
    fn texts_cannot_break_the_markup() {
        let text = "<script>\"a\" & 'b'\0\u{1b}\u{ffff}\n";
        let label = label(1, 2, "start", "black", text).into_string();
        let (_, content) = label.split_once('>').expect("a start tag");
        let expected = "&lt;script&gt;&quot;a&quot; &amp; 'b'   \n</text>\n";
        assert_eq!(content, expected);
    }
}
