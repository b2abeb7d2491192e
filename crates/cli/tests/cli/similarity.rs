//! `kokeshi similarity`: rankings and matrices.

use crate::{Run, Sandbox};

const TEXTS: [&str; 3] = ["It rains in Berlin", "It is raining in Berlin today", "I like pizza"];

fn similarity(options: &[&str]) -> Run {
    Sandbox::new().run(["similarity"].iter().chain(&TEXTS).chain(options))
}

#[test]
fn a_query_ranks_the_texts_from_the_most_to_the_least_similar() {
    let ranking = similarity(&["--query", "rain in Berlin", "--json"]).json();
    let results = ranking["results"].as_array().expect("results");
    let scores: Vec<f64> = results.iter().filter_map(|result| result["score"].as_f64()).collect();
    assert_eq!(scores.len(), 3);
    assert!(scores.is_sorted_by(|a, b| a >= b));
    for result in results {
        let index = result["index"].as_u64().expect("an index") as usize;
        assert_eq!(result["text"], TEXTS[index]);
    }
    let run = similarity(&["--query", "rain in Berlin"]);
    let lines: Vec<&str> = run.quiet().lines().collect();
    assert_eq!(lines.len(), 3);
    for (line, (rank, result)) in lines.iter().zip((1..).zip(results)) {
        let has_bar = result["score"].as_f64() > Some(0.01);
        assert!(line.starts_with(&format!("   {rank}  ")), "{line}");
        assert_eq!(line.contains(['█', '▏', '▎', '▍', '▌', '▋', '▊', '▉']), has_bar, "{line}");
        assert!(line.ends_with(result["text"].as_str().expect("text")), "{line}");
    }
}

#[test]
fn each_side_of_a_ranking_has_its_task_and_one_task_can_replace_both() {
    let sandbox = Sandbox::new();
    let vector = |task: &str, text: &str| {
        crate::vector(&sandbox.run(["embed", "--task", task, text]).jsonl()[0])
    };
    let cosine = |a: Vec<f32>, b: Vec<f32>| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let score = |options: &[&str]| {
        let run = sandbox.run(["similarity", "-q", "q", "text", "--json"].iter().chain(options));
        run.json()["results"][0]["score"].as_f64().expect("a score") as f32
    };
    let expected = cosine(vector("retrieval.query", "q"), vector("retrieval.passage", "text"));
    assert!((score(&[]) - expected).abs() < 1e-5);
    let expected = cosine(vector("separation", "q"), vector("separation", "text"));
    assert!((score(&["--task", "separation"]) - expected).abs() < 1e-5);
}

#[test]
fn texts_against_each_other_give_a_symmetric_matrix() {
    let data = similarity(&["--json"]).json();
    let matrix: Vec<Vec<f64>> = serde_json::from_value(data["matrix"].clone()).expect("a matrix");
    assert_eq!(matrix.len(), 3);
    for (i, row) in matrix.iter().enumerate() {
        assert!((row[i] - 1.0).abs() < 1e-5);
        assert!((0..3).all(|j| (row[j] - matrix[j][i]).abs() < 1e-6));
    }
    let run = similarity(&[]);
    let lines: Vec<&str> = run.quiet().lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[2].starts_with("   1 ") && lines[2].ends_with(TEXTS[1]));
    assert!(lines[2].contains(&format!("{:.2}", matrix[1][0])), "{}", lines[2]);
}

#[test]
fn one_text_alone_is_a_matrix_too() {
    assert!(Sandbox::new().run(["similarity", "alone"]).quiet().contains("1.00"));
}

#[test]
fn pictures_contain_no_markup_of_the_texts() {
    let sandbox = Sandbox::new();
    let texts = ["<script>alert(1)</script>", "b & c"];
    let options = ["--svg", "picture.svg", "--html", "page.html"];
    for query in [&["--query", "<b>"][..], &[]] {
        let run = sandbox.run(["similarity"].iter().chain(&texts).chain(&options).chain(query));
        assert_eq!(run.status, Some(0), "{}", run.stderr);
        let read = |name| std::fs::read_to_string(sandbox.path(name)).expect("a picture");
        let (svg, page) = (read("picture.svg"), read("page.html"));
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(page.starts_with("<!DOCTYPE html>") && page.contains(&svg));
        assert!(!page.contains("<script") && !page.contains("<b>") && !page.contains("b & c"));
        assert_eq!(svg.matches("<rect ").count(), svg.matches("</rect>").count());
    }
}
