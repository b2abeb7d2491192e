//! The frame and the look of all web pages of the program.

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Colours for light and dark, type, tables and forms.
const STYLE: &str = include_str!("page.css");

/// A page that loads nothing from elsewhere. `style` follows the common style sheet.
pub fn page(title: &str, style: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE) "\n"
        html lang="en" { "\n"
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(style)) }
            } "\n"
            body { (body) } "\n"
        }
        "\n"
    };
    page.into_string()
}
