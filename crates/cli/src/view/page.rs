//! Similarities as a web page: the picture, and its figures with the whole texts.

use super::svg::{picture, printable};
use super::{MatrixComparison, Ranking, RankingComparison, SimilarityMatrix, View};
use maud::{Markup, PreEscaped, html};

/// The picture takes the page's colours. In a narrow window, the table below says the same.
const STYLE: &str = "
.paper { fill: none; } svg { display: block; font-family: inherit; }
td:last-child { width: 100%; }
@media (max-width: 50rem) { .wide { display: none; } }
";

/// A page of its own, without scripts or anything from elsewhere.
pub(crate) fn page(view: &View) -> String {
    let (title, models) = heading(view);
    let is_ranking = matches!(view, View::Ranking(_) | View::Rankings(_));
    let body = html! {
        header {
            h1 { (title) }
            span.soft { (models) }
        }
        main {
            div.scroll.wide[is_ranking] { (PreEscaped(picture(view))) }
            @match view {
                View::Ranking(ranking) => { (ranked(ranking)) }
                View::Rankings(rankings) => { (compared(rankings)) }
                View::Matrix(SimilarityMatrix { texts, .. })
                | View::Matrices(MatrixComparison { texts, .. }) => { (listed(texts)) }
            }
        }
    };
    kokeshi_server::page(&title, STYLE, &body)
}

/// What is shown, and by which models.
fn heading(view: &View) -> (String, String) {
    let of_texts = |texts: &[String]| format!("Similarity of {} texts", texts.len());
    let both = |[a, b]: &[String; 2]| format!("models {a} and {b}");
    let (title, models) = match view {
        View::Ranking(Ranking { query, model, .. }) => (query.clone(), format!("model {model}")),
        View::Rankings(RankingComparison { query, models, .. }) => (query.clone(), both(models)),
        View::Matrix(SimilarityMatrix { texts, model, .. }) => {
            (of_texts(texts), format!("model {model}"))
        }
        View::Matrices(MatrixComparison { texts, models, .. }) => (of_texts(texts), both(models)),
    };
    (printable(&title), printable(&models))
}

fn ranked(ranking: &Ranking) -> Markup {
    html! {
        table {
            tr { th { "rank" } th { "score" } th { "text" } }
            @for (rank, result) in (1..).zip(&ranking.results) {
                tr {
                    td.number { (rank) }
                    td.number { (format!("{:.3}", result.score)) }
                    td { (printable(&result.text)) }
                }
            }
        }
    }
}

fn compared(rankings: &RankingComparison) -> Markup {
    html! {
        table {
            tr { th { "A" } th { "score" } th { "B" } th { "score" } th { "text" } }
            @for result in &rankings.results {
                tr {
                    @for (rank, score) in result.ranks.iter().zip(result.scores) {
                        td.number { (rank) }
                        td.number { (format!("{score:.3}")) }
                    }
                    td { (printable(&result.text)) }
                }
            }
        }
    }
}

fn listed(texts: &[String]) -> Markup {
    html! {
        h2 { "Texts" }
        table {
            @for (number, text) in texts.iter().enumerate() {
                tr { td.number { (number) } td { (printable(text)) } }
            }
        }
    }
}
