//! Models of jina-embeddings-v2, alone and compared with jina-embeddings-v3.

use crate::{Run, Sandbox, tiny_v3, vector};
use kokeshi_testkit::{Goldens, assert_close, fixture, json};

/// One checkpoint of each kind: layout, activation, tokenizer and dtype.
const CHECKPOINTS: [&str; 4] = ["std_wordpiece", "std_zh_f16", "code_bpe", "code_reglu_bf16"];

fn folder(checkpoint: &str) -> String {
    fixture(&format!("v2-tiny/{checkpoint}")).to_str().expect("a path in UTF-8").to_owned()
}

fn tiny_v2() -> String {
    folder("std_wordpiece")
}

fn embed(text: &str, options: &[&str]) -> Run {
    let (sandbox, model) = (Sandbox::new(), tiny_v2());
    sandbox.run(["embed", text, "--model", &model].iter().chain(options))
}

/// The error, with the model's folder as `…`.
fn failure(run: &Run) -> String {
    run.failure(4).replace(&tiny_v2(), "…")
}

#[test]
fn every_kind_of_checkpoint_gives_the_vectors_of_the_reference() {
    for checkpoint in CHECKPOINTS {
        let goldens = Goldens::open(&format!("v2-tiny/{checkpoint}/golden.safetensors"));
        let texts = json(&format!("v2-tiny/{checkpoint}/golden.json"))["texts"].clone();
        let texts: Vec<&str> = texts
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|text| text["text"].as_str())
            .collect();
        assert_eq!(texts.len(), 7);
        let entries = Sandbox::new()
            .run(["embed", "--model", &folder(checkpoint)].iter().chain(&texts))
            .jsonl();
        for (number, entry) in entries.iter().enumerate() {
            let golden = goldens.get(&format!("embedding.{number:02}"));
            assert_close(texts[number], &vector(entry), &golden.values, 2e-6);
        }
    }
}

#[test]
fn naming_the_only_task_changes_nothing() {
    let (plain, named) = (embed("a text", &[]), embed("a text", &["--task", "text-matching"]));
    assert_eq!(plain.quiet(), named.quiet());
    assert_eq!(plain.quiet(), embed("a text", &["--dimensions", "48"]).quiet());
}

#[test]
fn other_tasks_and_fewer_dimensions_are_refused_with_what_v3_has() {
    insta::assert_snapshot!(failure(&embed("a", &["--task", "retrieval.query"])), @r##"
    error: text 0: unknown task `retrieval.query`; this model (jina-embeddings-v2) was trained for one task, `text-matching`, and has no task adapters
    hint: leave the task out, or use jina-embeddings-v3, which has `retrieval.query`
    "##);
    insta::assert_snapshot!(failure(&embed("a", &["--dimensions", "16"])), @r##"
    error: text 0: dimensions 16 is not supported: vectors of this model (jina-embeddings-v2) have 48 dimensions, and it was not trained for fewer
    hint: use 48 or leave dimensions out; jina-embeddings-v3 supports 1 to 1024
    "##);
}

#[test]
fn late_chunking_works_with_a_note_that_it_goes_beyond_the_hosted_api() {
    let run =
        embed("The fox jumps. The dog is lazy.", &["--late-chunking", "--chunk", "sentences"]);
    assert_eq!((run.status, run.text().lines().count()), (Some(0), 2));
    insta::assert_snapshot!(run.stderr, @"late chunking with jina-embeddings-v2 goes beyond the hosted API, which offers it for jina-embeddings-v3 only");

    let whole = vector(&embed("The fox jumps.", &[]).jsonl()[0]);
    let one_chunk = embed("The fox jumps.", &["--late-chunking", "--chunk", "sentences"]);
    let one_chunk: serde_json::Value = serde_json::from_str(one_chunk.text()).expect("one line");
    assert_close("one chunk is the whole text", &vector(&one_chunk), &whole, 1e-6);
}

#[test]
fn info_shows_the_properties_of_v2() {
    let info = |checkpoint: &str| {
        let run = Sandbox::new().run(["models", "info", &folder(checkpoint)]);
        let lines = run.quiet().lines().skip(3).take_while(|line| !line.is_empty());
        // The device depends on the machine.
        let lines = lines.filter(|line| !line.starts_with("device"));
        lines.collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(info("std_zh_f16"), @r##"
    parameters  0.0 M in 39 tensors
    stored as   39 F16
    layout      jina-bert
    network     2 layers, 12 heads, hidden 24, feed-forward 40
    position    ALiBi
    activation  GEGLU
    limit       8192 tokens, special tokens included
    trained on  texts of up to 8192 tokens
    dimensions  24, cannot be reduced
    tokenizer   BPE, 98 tokens
    tasks       1 task, no adapters
      text-matching       ""
    "##);
    insta::assert_snapshot!(info("code_reglu_bf16"), @r##"
    parameters  0.0 M in 51 tensors
    stored as   51 BF16
    layout      jina-bert, qk-post-norm
    network     2 layers, 5 heads, hidden 40, feed-forward 56
    position    ALiBi
    activation  ReGLU
    limit       8192 tokens, special tokens included
    trained on  texts of up to 8192 tokens
    dimensions  40, cannot be reduced
    tokenizer   BPE, 320 tokens
    tasks       1 task, no adapters
      text-matching       ""
    "##);
    let json = Sandbox::new().run(["models", "info", &tiny_v2(), "--json"]).json();
    assert_eq!(
        (&json["config"]["position"], &json["config"]["truncatable"]),
        (&"ALiBi".into(), &false.into())
    );
}

#[test]
fn verify_compares_the_two_models_that_have_published_vectors() {
    for name in ["jina-embeddings-v2-small-en", "jina-embeddings-v2-base-code"] {
        let sandbox = Sandbox::new();
        sandbox.cache(name, &fixture("v2-tiny/code_bpe"));
        let run = sandbox.run(["models", "verify", name, "--json"]);
        assert_eq!(run.status, Some(1), "these are not the released weights");
        let report: serde_json::Value = serde_json::from_str(run.text()).expect("JSON");
        for case in report["cases"].as_array().expect("cases") {
            let number = |name: &str| case[name].as_f64().expect("a number");
            assert!(number("difference") > number("tolerance"), "{case}");
        }
        assert!(report["caveat"].as_str().is_some_and(|caveat| run.stderr.starts_with(caveat)));
        assert!(run.stderr.ends_with("\n0 of 2 cases pass\n"), "{}", run.stderr);
    }
}

#[test]
fn verify_reports_models_without_published_vectors() {
    for name in ["base-en", "base-de", "base-es", "base-zh"] {
        let name = format!("jina-embeddings-v2-{name}");
        let run = Sandbox::new().run(["models", "verify", &name]);
        let expected = format!("error: no published vectors of `{name}` to compare with");
        assert!(run.failure(4).starts_with(&expected), "{}", run.stderr);
    }
    assert!(failure(&Sandbox::new().run(["models", "verify", &tiny_v2()])).contains("of `…` to"));
}

const TEXTS: [&str; 4] = ["Hello 世界", "lazy dog jumps", "The quick brown fox", "def add(a, b)"];

/// `similarity` of the texts under a model of v2 and one of v3.
fn side_by_side(sandbox: &Sandbox, options: &[&str]) -> Run {
    let (first, second) = (tiny_v2(), tiny_v3());
    let second = second.to_str().expect("a path in UTF-8");
    let models = ["similarity", "--model", &first, "--model", second];
    sandbox.run(models.iter().chain(&TEXTS).chain(options))
}

#[test]
fn two_models_rank_side_by_side_as_each_of_them_ranks_alone() {
    let sandbox = Sandbox::new();
    let both = side_by_side(&sandbox, &["--query", "brown fox", "--json"]).json();
    let results = both["results"].as_array().expect("results");
    assert_eq!(results.len(), TEXTS.len());
    let models = [tiny_v2(), tiny_v3().to_str().expect("a path in UTF-8").to_owned()];
    assert_eq!(both["models"], serde_json::json!(models));
    for (side, model) in models.iter().enumerate() {
        let options = ["similarity", "--query", "brown fox", "--json", "--model", model];
        let alone = sandbox.run(options.iter().chain(&TEXTS)).json();
        for (rank, expected) in (1..).zip(alone["results"].as_array().expect("results")) {
            let result = results.iter().find(|result| result["index"] == expected["index"]);
            let result = result.expect("the same text");
            assert_eq!(
                (&result["ranks"][side], &result["text"]),
                (&rank.into(), &expected["text"])
            );
            assert_eq!(result["scores"][side], expected["score"]);
        }
    }
    for (rank, result) in (1..).zip(results) {
        let [first, second] = [0, 1].map(|side| result["ranks"][side].as_i64().expect("a rank"));
        assert_eq!((first, result["climb"].as_i64()), (rank, Some(first - second)));
    }
}

#[test]
fn two_models_are_compared_in_a_table_and_in_grids() {
    let ranking = side_by_side(&Sandbox::new(), &["--query", "brown fox"]);
    insta::with_settings!({filters => vec![(r"/\S*fixtures", "…")]}, {
        insta::assert_snapshot!(ranking.quiet(), @r##"
        A  …/v2-tiny/std_wordpiece
        B  …/v3-tiny/original

           A   score            B   score
           1   0.973            1   0.550  The quick brown fox
           2   0.926     ↓2     4   0.501  Hello 世界
           3   0.888            3   0.513  lazy dog jumps
           4   0.863     ↑2     2   0.537  def add(a, b)

        2 of 4 texts change rank; compare ranks, not scores: each model has its own scale
        "##);
        insta::assert_snapshot!(side_by_side(&Sandbox::new(), &[]).quiet(), @r##"
        A  …/v2-tiny/std_wordpiece
               0     1     2     3
           0  1.00█ 0.88  0.96█ 0.92▒  Hello 世界
           1  0.88  1.00█ 0.94▓ 0.95█  lazy dog jumps
           2  0.96█ 0.94▓ 1.00█ 0.94▓  The quick brown fox
           3  0.92▒ 0.95█ 0.94▓ 1.00█  def add(a, b)

        B  …/v3-tiny/original
               0     1     2     3
           0  1.00█ 0.94█ 0.84░ 0.79   Hello 世界
           1  0.94█ 1.00█ 0.90▓ 0.89▓  lazy dog jumps
           2  0.84░ 0.90▓ 1.00█ 0.80   The quick brown fox
           3  0.79  0.89▓ 0.80  1.00█  def add(a, b)

        B - A
               0     1     2     3
           0  0.00 +0.06▒-0.12█-0.12█  Hello 世界
           1 +0.06▒ 0.00 -0.04░-0.06▒  lazy dog jumps
           2 -0.12█-0.04░ 0.00 -0.14█  The quick brown fox
           3 -0.12█-0.06▒-0.14█ 0.00   def add(a, b)
        "##);
    });
}

#[test]
fn two_matrices_come_with_their_difference() {
    let data = side_by_side(&Sandbox::new(), &["--json"]).json();
    let matrix = |value: &serde_json::Value| -> Vec<Vec<f32>> {
        serde_json::from_value(value.clone()).expect("a matrix")
    };
    let [first, second] = [0, 1].map(|side| matrix(&data["matrices"][side]));
    for (i, row) in matrix(&data["difference"]).iter().enumerate() {
        for (j, difference) in row.iter().enumerate() {
            assert!((second[i][j] - first[i][j] - difference).abs() < 1e-6);
        }
    }
    assert_ne!(first, second);
}

#[test]
fn pictures_show_both_models() {
    let sandbox = Sandbox::new();
    for (query, drawn) in [(&["--query", "fox"][..], "<line "), (&[], "B - A")] {
        let options = [&["--svg", "picture.svg", "--html", "page.html"], query].concat();
        assert_eq!(side_by_side(&sandbox, &options).status, Some(0));
        let read = |name| std::fs::read_to_string(sandbox.path(name)).expect("a picture");
        let (svg, page) = (read("picture.svg"), read("page.html"));
        assert!(page.contains(&svg) && svg.contains(drawn));
        assert!(svg.contains(">A  ") && svg.contains(">B  "));
        for text in TEXTS {
            assert!(svg.contains(text), "{text}");
        }
    }
}

#[test]
fn a_memory_budget_must_fit_each_model_alone() {
    // Packed weights are padded to the vectors of the instruction set.
    let portable = ["--simd-level", "portable", "--memory-budget"];
    let embed = |budget| embed("a", &[&portable[..], &[budget]].concat());
    insta::assert_snapshot!(failure(&embed("10kB")), @r##"
    error: model `…` needs 278.40 kB; the memory budget is 10.00 kB
    hint: raise --memory-budget, or leave it out
    "##);
    let sandbox = Sandbox::new();
    let free = side_by_side(&sandbox, &["--query", "fox", "--simd-level", "portable"]);
    // Larger than either model and smaller than both together.
    let tight = [&["--query", "fox"], &portable[..], &["600kB"]].concat();
    let tight = side_by_side(&sandbox, &tight);
    assert_eq!(free.quiet(), tight.quiet());
    let error = embed("plenty");
    assert!(error.failure(2).contains("expected a size such as `4GB`"), "{}", error.stderr);
}

#[test]
fn errors_name_the_model() {
    let sandbox = Sandbox::new();
    let both = side_by_side(&sandbox, &["--task", "separation"]);
    assert!(failure(&both).starts_with("error: model `…`: text 0: unknown task `separation`"));
    let three = side_by_side(&sandbox, &["--model", "starter"]);
    assert!(three.failure(2).contains("--model can be given once or twice"), "{}", three.stderr);
}
