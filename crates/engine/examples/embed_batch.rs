//! The library's batch call, for comparison with a server over the same texts.
//!
//! `cargo run --release -p kokeshi --example embed_batch -- MODEL TEXTS` loads a checkpoint folder,
//! or `starter`, and the JSON list of texts in the file `TEXTS`. For each line of standard input it
//! embeds all texts in one call and prints a line of JSON: for `vectors` the vectors, for `time`
//! the seconds of the call, tokenization included, and the number of tokens.

#![expect(clippy::print_stdout, reason = "prints its measurements")]

use kokeshi::{Input, LoadOptions, Model};
use serde_json::json;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |what: &str| arguments.next().ok_or(format!("missing argument: {what}"));
    let (model, file) = (argument("a model")?, argument("a file of texts")?);
    let options = LoadOptions::default();
    let model = match model.as_str() {
        "starter" => Model::starter(&options)?,
        folder => Model::open(Path::new(folder), &options)?,
    };
    let texts: Vec<String> = serde_json::from_slice(&std::fs::read(file)?)?;
    let inputs: Vec<Input<'_>> = texts.iter().map(|text| Input::new(text)).collect();
    for line in std::io::stdin().lines() {
        let start = Instant::now();
        let embedded = model.embed(&inputs)?;
        let seconds = start.elapsed().as_secs_f64();
        let answer = match line?.trim() {
            "vectors" => json!(embedded.iter().flat_map(|one| &one.vectors).collect::<Vec<_>>()),
            "time" => {
                let tokens: usize = embedded.iter().map(|one| one.tokens).sum();
                json!({"seconds": seconds, "tokens": tokens})
            }
            other => return Err(format!("`{other}`: expected `vectors` or `time`").into()),
        };
        println!("{answer}");
    }
    Ok(())
}
