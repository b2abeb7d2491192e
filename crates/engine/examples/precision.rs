//! Quality lost by bf16 and int8 on the semantic textual similarity sets of a folder: the lowest
//! and the mean cosine to the vectors in f32, and the loss in Spearman's correlation, in points.
//!
//! `cargo run --release -p kokeshi --example precision -- FOLDER [MODEL_FOLDER]`; FOLDER contains
//! files of lines such as `{"sentence1": "…", "sentence2": "…", "score": 2.5}`. Without
//! MODEL_FOLDER the model is the bundled one.

#![expect(clippy::print_stdout, reason = "prints a table")]

use kokeshi::{Device, Input, LoadOptions, Model, Precision, cosine};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Pairs of sentences and how similar people rated them.
struct Pairs {
    name: String,
    sentences: Vec<String>, // two per pair
    scores: Vec<f32>,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let folder = arguments.next().ok_or("usage: precision FOLDER [MODEL_FOLDER]")?;
    let model = arguments.next();
    let open = |precision| {
        let device = Device::Cpu { threads: None, level: None, precision: Some(precision) };
        let options = LoadOptions { device };
        match &model {
            Some(folder) => Model::open(folder, &options),
            None => Model::starter(&options),
        }
    };
    let [exact, bf16, int8] = [Precision::F32, Precision::Bf16, Precision::Int8].map(open);
    let (exact, others) = (exact?, [("bf16", bf16?), ("int8", int8?)]);
    let mut paths = Vec::new();
    for entry in fs::read_dir(&folder)? {
        paths.push(entry?.path());
    }
    paths.sort();
    let headers = ["texts", "lowest cos", "mean cos", "Spearman", "lost"];
    println!("{}", line("set", "", headers.map(str::to_owned)));
    for path in paths {
        let pairs = read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        compare(&pairs, &exact, &others)?;
    }
    Ok(())
}

/// Prints a row for `exact` and one for each of `others`.
fn compare(pairs: &Pairs, exact: &Model, others: &[(&str, Model)]) -> Result<()> {
    let expected = vectors(exact, pairs)?;
    let best = spearman(&expected, &pairs.scores) * 100.0;
    let count = expected.len().to_string();
    let row = [count.clone(), String::new(), String::new(), format!("{best:.2}"), String::new()];
    println!("{}", line(&pairs.name, "f32", row));
    for (name, model) in others {
        let got = vectors(model, pairs)?;
        let cosines: Vec<f32> = expected.iter().zip(&got).map(|(a, b)| cosine(a, b)).collect();
        let lowest = cosines.iter().copied().fold(1.0, f32::min);
        let mean = cosines.iter().map(|&x| f64::from(x)).sum::<f64>() / cosines.len() as f64;
        let spearman = spearman(&got, &pairs.scores) * 100.0;
        let row = [
            count.clone(),
            format!("{lowest:.6}"),
            format!("{mean:.6}"),
            format!("{spearman:.2}"),
            format!("{:+.3}", best - spearman),
        ];
        println!("{}", line(&pairs.name, name, row));
    }
    Ok(())
}

/// A row of the table.
fn line(set: &str, precision: &str, [texts, lowest, mean, spearman, lost]: [String; 5]) -> String {
    format!("{set:<10}{precision:<6}{texts:>8}{lowest:>12}{mean:>12}{spearman:>10}{lost:>9}")
}

fn read(path: &Path) -> Result<Pairs> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut pairs = Pairs { name, sentences: Vec::new(), scores: Vec::new() };
    for line in fs::read_to_string(path)?.lines() {
        let pair: serde_json::Value = serde_json::from_str(line)?;
        for key in ["sentence1", "sentence2"] {
            let sentence = pair[key].as_str().ok_or_else(|| format!("{key} is missing: {line}"))?;
            pairs.sentences.push(sentence.to_owned());
        }
        let score = pair["score"].as_f64().ok_or_else(|| format!("score is missing: {line}"))?;
        pairs.scores.push(score as f32);
    }
    Ok(pairs)
}

fn vectors(model: &Model, pairs: &Pairs) -> Result<Vec<Vec<f32>>> {
    let has_task = model.config().tasks.iter().any(|task| task.name == "text-matching");
    let input = |sentence| match has_task {
        true => Input::new(sentence).task("text-matching"),
        false => Input::new(sentence),
    };
    let inputs: Vec<_> = pairs.sentences.iter().map(|sentence| input(sentence)).collect();
    Ok(model.embed(&inputs)?.into_iter().flat_map(|embedded| embedded.vectors).collect())
}

/// Spearman's correlation of the cosines of pairs of vectors with `scores`.
fn spearman(vectors: &[Vec<f32>], scores: &[f32]) -> f64 {
    let cosines: Vec<f32> =
        vectors.chunks_exact(2).map(|pair| cosine(&pair[0], &pair[1])).collect();
    let (a, b) = (ranks(&cosines), ranks(scores));
    let mean = (a.len() + 1) as f64 / 2.0;
    let product = |a: &[f64], b: &[f64]| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum()
    };
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
}

/// The rank of each value, from 1; equal values share their mean rank.
fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 1;
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = first as f64 + (equal.len() - 1) as f64 / 2.0;
        equal.iter().for_each(|&i| ranks[i] = rank);
        first += equal.len();
    }
    ranks
}
