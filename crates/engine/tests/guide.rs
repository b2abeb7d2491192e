//! The examples of the published migration guide, with the bundled model.
//!
//! The snapshot shows the results, right or wrong: the starter model is small. After each example
//! the snapshot names the result that a good model gives and whether this model gave it. This is
//! the only test that depends on the model's weights. Scores are rounded to two places because
//! instruction sets differ in the last bits.

use kokeshi::{Device, Input, LoadOptions, Model, cosine};
use kokeshi_testkit::json;
use serde_json::Value;
use std::fmt::Write;

/// A report with the results of the examples.
struct Page {
    model: Model,
    guide: Value,
    text: String,
}

impl Page {
    fn open() -> Self {
        let model =
            Model::starter(&LoadOptions { device: Device::EXACT }).expect("the bundled model");
        Self { model, guide: json("guide-examples.json"), text: String::new() }
    }

    fn title(&mut self, title: &str) {
        writeln!(self.text, "\n## {title}").expect("a string");
    }

    fn line(&mut self, score: f32, line: &str) {
        writeln!(self.text, "{score:>6.2}  {line}").expect("a string");
    }

    /// Records the result that a good model gives and whether this one gave it.
    fn expected(&mut self, expectation: &str, is_met: bool) {
        let verdict = if is_met { "yes" } else { "no" };
        writeln!(self.text, "Expected: {expectation}? {verdict}").expect("a string");
    }

    fn texts(&self, pointer: &str) -> Vec<String> {
        let texts = self.guide.pointer(pointer).and_then(Value::as_array).expect(pointer);
        texts.iter().map(|text| text.as_str().expect(pointer).to_owned()).collect()
    }

    /// One vector for each text.
    fn embed<'a>(&self, texts: impl IntoIterator<Item = &'a String>, task: &str) -> Vec<Vec<f32>> {
        let inputs: Vec<_> = texts.into_iter().map(|text| Input::new(text).task(task)).collect();
        let embedded = self.model.embed(&inputs).expect("vectors");
        embedded.into_iter().flat_map(|text| text.vectors).collect()
    }

    /// Writes the texts by descending similarity to a query and returns the index of the first.
    fn ranking(&mut self, query: &[f32], vectors: &[Vec<f32>], texts: &[String]) -> usize {
        let scores: Vec<_> = vectors.iter().map(|vector| cosine(query, vector)).collect();
        let mut ranked: Vec<_> = (0..texts.len()).collect();
        ranked.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        for &index in &ranked {
            self.line(scores[index], &texts[index]);
        }
        ranked[0]
    }

    /// Writes the similarity of each text to the others.
    fn matrix(&mut self, vectors: &[Vec<f32>], texts: &[String]) {
        for (vector, text) in vectors.iter().zip(texts) {
            let row = vectors
                .iter()
                .fold(String::new(), |row, other| row + &format!("{:>6.2}", cosine(vector, other)));
            writeln!(self.text, "{row}  {text}").expect("a string");
        }
    }

    /// A short question against a knowledge base, with the two retrieval adapters.
    fn light_sabre_faq(&mut self) {
        let query = self.guide["faq"]["query"].as_str().expect("a query").to_owned();
        let entries = self.texts("/faq/knowledge_base");
        let question = self.embed([&query], "retrieval.query").remove(0);
        let answers = self.embed(&entries, "retrieval.passage");
        self.title(&format!("Light-sabre FAQ: {query}"));
        let first = self.ranking(&question, &answers, &entries);
        self.expected("the entry on a dimmer blade (比以前暗淡) first", first == 1);
    }

    /// Two characters of Star Wars and two of Disney.
    fn star_wars_and_disney(&mut self) {
        let names = self.texts("/separation/input");
        let vectors = self.embed(&names, "separation");
        self.title("Star Wars and Disney, separation");
        self.matrix(&vectors, &names);
        self.expected(
            "each name closest to the other one of its world",
            pairs_are_closest(&vectors),
        );
    }

    /// Two favourable reviews and one unfavourable.
    fn film_reviews(&mut self) {
        let reviews = self.texts("/classification/input");
        let vectors = self.embed(&reviews, "classification");
        self.title("Film reviews, classification");
        self.matrix(&vectors, &reviews);
        let similarity = |a: usize, b: usize| cosine(&vectors[a], &vectors[b]);
        let apart = similarity(0, 1) > similarity(0, 2).max(similarity(1, 2));
        self.expected("praise closer to praise than to blame", apart);
    }

    /// Two pairs of lines with nearly the same meaning.
    fn near_duplicates(&mut self) {
        let lines = self.texts("/text_matching/input");
        let vectors = self.embed(&lines, "text-matching");
        self.title("Near duplicates, text-matching");
        self.matrix(&vectors, &lines);
        self.expected("each line closest to its near duplicate", pairs_are_closest(&vectors));
    }

    /// Lines of a chat, alone and with late chunking, which embeds each line in the context of all.
    fn chat(&mut self) {
        let query = self.guide["chat"]["query"].as_str().expect("a query").to_owned();
        let lines = self.texts("/chat/history");
        let question = self.embed([&query], "retrieval.query").remove(0);
        let alone = self.embed(&lines, "retrieval.passage");
        let parts: Vec<_> = lines.iter().map(String::as_str).collect();
        let late = Input::late_parts(&parts).task("retrieval.passage");
        let late = self.model.embed(&[late]).expect("vectors").remove(0).vectors;
        for (how, vectors) in [("every line alone", alone), ("late chunking", late)] {
            self.title(&format!("Chat, {how}: {query}"));
            let first = self.ranking(&question, &vectors, &lines);
            let names_or_praises = first == 6 || first == 7;
            self.expected("a line that names or praises the restaurant first", names_or_praises);
        }
    }

    /// The same sentence in four languages with decreasing dimensions.
    fn matryoshka(&mut self) {
        let texts = self.texts("/matryoshka/input");
        self.title("Fewer dimensions, text-matching: similarity to the first line");
        let hidden = self.model.config().hidden;
        // The guide uses 768 of the 1024 dimensions of jina-embeddings-v3.
        for dimensions in [hidden, hidden * 3 / 4, hidden / 2, hidden / 4, hidden / 8] {
            let input = |text| Input::new(text).task("text-matching").dimensions(dimensions);
            let inputs: Vec<_> = texts.iter().map(|text| input(text)).collect();
            let embedded = self.model.embed(&inputs).expect("vectors");
            let first = &embedded[0].vectors[0];
            writeln!(self.text, "{dimensions} dimensions").expect("a string");
            for (text, one) in texts.iter().zip(&embedded).skip(1) {
                self.line(cosine(first, &one.vectors[0]), text);
            }
        }
    }
}

/// Whether the first two of four vectors are closest to each other, and so are the last two.
fn pairs_are_closest(vectors: &[Vec<f32>]) -> bool {
    let similarity = |a: usize, b: usize| cosine(&vectors[a], &vectors[b]);
    let across = [(0, 2), (0, 3), (1, 2), (1, 3)].map(|(a, b)| similarity(a, b));
    let closest_across = across.into_iter().fold(f32::MIN, f32::max);
    similarity(0, 1).min(similarity(2, 3)) > closest_across
}

#[test]
fn the_guides_examples_with_the_bundled_model() {
    let mut page = Page::open();
    page.light_sabre_faq();
    page.star_wars_and_disney();
    page.film_reviews();
    page.near_duplicates();
    page.chat();
    page.matryoshka();
    insta::assert_snapshot!("guide", page.text);
}
