//! Pictures: SVG, alone or in a web page.

use super::{Matrix, Ranking, View, colour, share};
use std::fmt::Write;

/// Pixels of a cell of the matrix, and of a line of the ranking.
const CELL: usize = 44;
const LINE: usize = 26;
/// Pixels of the longest bar.
const BAR: usize = 220;
/// Pixels beside the matrix or the bars, for the texts, and how many characters they hold.
const TEXT: usize = 480;
const TEXT_CHARS: usize = 64;

/// The picture as an SVG document.
pub(crate) fn picture(view: &View) -> String {
    let (width, height, body) = match view {
        View::Ranking(ranking) => bars(ranking),
        View::Matrix(matrix) => cells(matrix),
    };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

/// The picture in a page of its own, without script and without anything from elsewhere.
pub(crate) fn page(view: &View) -> String {
    let title = match view {
        View::Ranking(ranking) => escaped(&ranking.query),
        View::Matrix(matrix) => format!("similarity of {} texts", matrix.texts.len()),
    };
    format!(
        "<!doctype html>\n<html>\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body>\n<h1>{title}</h1>\n{}</body>\n</html>\n",
        picture(view)
    )
}

type Body = (usize, usize, String);

fn bars(ranking: &Ranking) -> Body {
    let mut body = String::new();
    for (rank, result) in ranking.results.iter().enumerate() {
        let (y, share) = (10 + rank * LINE, share(result.score, (0.0, 1.0)));
        let bar = (share * BAR as f32).round();
        body += &rect(70, y, bar as usize, LINE - 8, share, &result.text);
        body += &label(60, y + 13, "end", "black", &format!("{:.3}", result.score));
        body += &label(80 + BAR, y + 13, "start", "black", &shortened(&result.text));
    }
    (80 + BAR + TEXT, 20 + ranking.results.len() * LINE, body)
}

fn cells(matrix: &Matrix) -> Body {
    let (side, range) = (matrix.texts.len() * CELL, matrix.range());
    let mut body = String::new();
    for (i, (scores, text)) in matrix.matrix.iter().zip(&matrix.texts).enumerate() {
        let y = 10 + i * CELL;
        for (j, &score) in scores.iter().enumerate() {
            let (x, share) = (10 + j * CELL, share(score, range));
            let ink = if share > 0.5 { "white" } else { "black" };
            let title = format!("{score:.4}\n{text}\n{}", matrix.texts[j]);
            body += &rect(x, y, CELL, CELL, share, &title);
            body += &label(x + CELL / 2, y + CELL / 2 + 5, "middle", ink, &format!("{score:.2}"));
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
