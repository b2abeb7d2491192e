//! Pictures: SVG, alone or in a web page.

use super::comparison::Moved;
use super::{Grid, Matrices, Matrix, Ranking, Rankings, View, colour, share};
use anyhow::Context;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Pixels of a cell of a matrix, and of a line of a ranking or a heading.
const CELL: usize = 44;
const LINE: usize = 26;
/// Pixels of the longest bar, and of the score before it.
const BAR: usize = 220;
const SCORE: usize = 70;
/// Pixels between two rankings, where lines connect the places of each text.
const SLOPE: usize = 90;
/// Pixels beside the matrix or the bars, for the texts, and how many characters they hold.
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
}

/// A bar for each share from 0 to 1 with its label, as an SVG document.
pub(crate) fn bar_chart<'a>(shares: impl Iterator<Item = (f32, &'a str)>) -> String {
    document(bars(shares))
}

/// Writes a picture or a page to `path`.
pub(crate) fn write(path: &Path, picture: &str) -> anyhow::Result<()> {
    fs::write(path, picture).with_context(|| format!("cannot write {}", path.display()))
}

fn document((width, height, body): Body) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

/// The picture in a page of its own, without script and without anything from elsewhere.
pub(crate) fn page(view: &View) -> String {
    let title = match view {
        View::Ranking(Ranking { query, .. }) | View::Rankings(Rankings { query, .. }) => {
            escaped(query)
        }
        View::Matrix(Matrix { texts, .. }) | View::Matrices(Matrices { texts, .. }) => {
            format!("similarity of {} texts", texts.len())
        }
    };
    format!(
        "<!doctype html>\n<html>\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body>\n<h1>{title}</h1>\n{}</body>\n</html>\n",
        picture(view)
    )
}

/// Width, height and elements.
type Body = (usize, usize, String);

/// Scores from 0 to 1 as bars, each with its text beside it.
fn bars<'a>(scores: impl Iterator<Item = (f32, &'a str)>) -> Body {
    let (mut y, mut body) = (10, String::new());
    for (score, text) in scores {
        body += &bar(0, y, score, text);
        body += &label(SCORE + BAR + 10, y + 13, "start", "black", &shortened(text));
        y += LINE;
    }
    (SCORE + BAR + 10 + TEXT, y + 10, body)
}

/// Two rankings, and a line from each text's place in the first to its place in the second. The
/// texts stand beside the second.
fn slopes(rankings: &Rankings) -> Body {
    let (second, texts) = (SCORE + BAR + SLOPE, 2 * (SCORE + BAR) + SLOPE + 10);
    let [a, b] = &rankings.models;
    let mut body = label(10, 23, "start", "black", &shortened(&format!("A  {a}")));
    body += &label(second + SCORE, 23, "start", "black", &shortened(&format!("B  {b}")));
    for result in &rankings.results {
        let [y_a, y_b] = result.ranks.map(|rank| 10 + rank * LINE);
        let [score_a, score_b] = result.scores;
        body += &bar(0, y_a, score_a, &result.text);
        body += &slope(y_a, y_b, result);
        body += &bar(second, y_b, score_b, &result.text);
        body += &label(texts, y_b + 13, "start", "black", &shortened(&result.text));
    }
    (texts + TEXT, 20 + (rankings.results.len() + 1) * LINE, body)
}

/// A score and its bar.
fn bar(x: usize, y: usize, score: f32, title: &str) -> String {
    let share = share(score, (0.0, 1.0));
    let width = (share * BAR as f32).round() as usize;
    rect(x + SCORE, y, width, LINE - 8, share, title)
        + &label(x + SCORE - 10, y + 13, "end", "black", &format!("{score:.3}"))
}

fn slope(from: usize, to: usize, result: &Moved) -> String {
    let (start, end) = (SCORE + BAR + 8, SCORE + BAR + SLOPE + 16);
    let stroke = match result.climb {
        ..0 => "firebrick",
        0 => "silver",
        1.. => "seagreen",
    };
    let (from, to, title) = (from + 9, to + 9, escaped(&result.text));
    format!(
        "<line x1=\"{start}\" y1=\"{from}\" x2=\"{end}\" y2=\"{to}\" stroke=\"{stroke}\" \
         stroke-width=\"2\"><title>{title}</title></line>\n"
    )
}

/// The grids one below the other.
fn stacked(matrices: &Matrices) -> Body {
    let (mut width, mut top, mut body) = (0, 0, String::new());
    for (heading, grid) in matrices.grids() {
        let (grid_width, grid_height, cells) = cells(&grid);
        body += &label(10, top + 23, "start", "black", &heading);
        body += &format!("<g transform=\"translate(0,{})\">\n{cells}</g>\n", top + LINE);
        (width, top) = (width.max(grid_width), top + LINE + grid_height);
    }
    (width, top, body)
}

fn cells(grid: &Grid<'_>) -> Body {
    let side = grid.texts.len() * CELL;
    let mut body = String::new();
    for (i, (values, text)) in grid.values.iter().zip(grid.texts).enumerate() {
        let y = 10 + i * CELL;
        for (j, &value) in values.iter().enumerate() {
            let (x, share) = (10 + j * CELL, grid.share(value));
            let ink = if share > 0.5 { "white" } else { "black" };
            let title = format!("{}\n{text}\n{}", grid.number(value, 4), grid.texts[j]);
            body += &rect(x, y, CELL, CELL, share, &title);
            body += &label(x + CELL / 2, y + CELL / 2 + 5, "middle", ink, &grid.number(value, 2));
        }
        body += &label(side + 20, y + CELL / 2 + 5, "start", "black", &shortened(text));
    }
    (side + 20 + TEXT, side + 20, body)
}

fn rect(x: usize, y: usize, width: usize, height: usize, share: f32, title: &str) -> String {
    let ([r, g, b], title) = (colour(share), escaped(title));
    format!(
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"rgb({r},{g},{b})\">\
         <title>{title}</title></rect>\n"
    )
}

fn label(x: usize, y: usize, anchor: &str, ink: &str, text: &str) -> String {
    let text = escaped(text);
    format!(
        "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" fill=\"{ink}\" \
         pointer-events=\"none\">{text}</text>\n"
    )
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Text as XML holds it: no markup, and none of the control characters that XML 1.0 excludes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '"' | '\'' => {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "&#{};", u32::from(c));
            }
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() || ('\u{fffe}'..='\u{ffff}').contains(&c) => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_break_the_markup() {
        let text = "<script>\"a\" & 'b'\0\u{1b}\u{ffff}\n";
        assert_eq!(escaped(text), "&#60;script&#62;&#34;a&#34; &#38; &#39;b&#39;   \n");
    }
}
