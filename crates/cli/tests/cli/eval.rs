//! `kokeshi eval`: figures of sets with known answers.

use crate::{Run, Sandbox};
use serde_json::{Value, json};
use std::fs;

const DOCUMENTS: [(&str, &str); 4] = [
    ("lamp", "The lamp in the hall is too dark. A brighter bulb helps."),
    ("ship", "Our parcels leave by ship. Delivery to the islands takes three days."),
    ("tea", "Green tea must not boil. Pour it at eighty degrees."),
    ("train", "The night train to Vienna leaves at ten."),
];

/// A set `set` of [`DOCUMENTS`], whose queries are parts of them.
fn set(qrels: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("set/qrels")).expect("a folder");
    let rows = |rows: Vec<Value>| rows.iter().map(|row| format!("{row}\n")).collect::<String>();
    let corpus = DOCUMENTS.map(|(id, text)| json!({"_id": id, "title": "", "text": text, "x": 1}));
    sandbox.write("set/corpus.jsonl", rows(corpus.to_vec()));
    let query = |(id, text): (&str, &str)| json!({"_id": format!("q-{id}"), "text": &text[..20]});
    sandbox.write("set/queries.jsonl", rows(DOCUMENTS.map(query).to_vec()));
    sandbox.write("set/qrels.tsv", qrels);
    sandbox
}

#[test]
fn queries_in_the_words_of_their_answers_rank_them_first() {
    let sandbox =
        set("query-id\tcorpus-id\tscore\nq-lamp\tlamp\t1\nq-tea\ttea\t2\nq-ship\ttea\t0\n");
    let answer = sandbox.run(["eval", "set", "--json"]).json();
    let found = &answer["sets"][0];
    assert_eq!(
        (&found["name"], &found["documents"], &found["queries"]),
        (&json!("set"), &json!(4), &json!(2))
    );
    let ways = found["ways"].as_array().expect("ways");
    assert_eq!(ways.len(), 4);
    for way in ways {
        assert_eq!((&way["ndcg_10"], &way["recall_10"]), (&json!(1.0), &json!(1.0)), "{way}");
        assert_eq!(way["chunks"], 4);
    }
    assert_eq!(answer["means"], json!([]));
    let two = sandbox.run(["eval", "set", "set", "--late-chunking", "true"]);
    let lines: Vec<&str> = two.quiet().lines().collect();
    assert!(lines[0].starts_with("starter, 384 dimensions, f32; "), "{lines:?}");
    let methods = lines.iter().position(|line| line.starts_with("Methods of search"));
    let methods = &lines[methods.expect("a table")..];
    assert!(methods[0].ends_with("384 dimensions, f16; chunks: structure:256"), "{lines:?}");
    assert!(methods[2] == "set" && methods[3].ends_with("  4   100.00     100.00"), "{lines:?}");
    assert!(methods[8] == "mean of 2 sets", "{lines:?}");
    assert!(methods[9].starts_with("  late chunking, dense"), "{lines:?}");
    assert!(!two.text().contains("each chunk alone"));
}

#[test]
fn a_wrong_answer_has_the_gain_of_its_rank_and_an_absent_one_is_a_warning() {
    // The only answer to the question about the lamp is not there; the other has grade 1 where 3 is
    // best.
    let sandbox = set("q-lamp\tnowhere\t1\nq-tea\ttea\t1\nq-tea\tgone\t3\n");
    let run = sandbox.run(["eval", "set", "--json", "--late-chunking", "false"]);
    assert!(run.stderr.contains("set: 2 of the answers are not in the corpus"), "{}", run.stderr);
    let answer: Value = serde_json::from_slice(&run.stdout).expect("JSON");
    let way = &answer["sets"][0]["ways"][0];
    let ideal = 3.0 + 1.0 / 3_f64.log2();
    let ndcg = way["ndcg_10"].as_f64().expect("a number");
    assert!((ndcg - (0.0 + 1.0 / ideal) / 2.0).abs() < 1e-9, "{way}");
    assert_eq!(way["recall_10"], 0.25);
    // One vector for each document finds the same here.
    let result = &answer["sets"][0]["results"][0];
    assert_eq!((&result["ndcg_10"], &result["recall_10"]), (&way["ndcg_10"], &way["recall_10"]));
}

#[test]
fn a_set_that_cannot_be_read_is_refused_with_the_line() {
    let error = |sandbox: &Sandbox| sandbox.run(["eval", "set"]).failure(4).to_owned();
    assert!(error(&Sandbox::new()).contains("corpus.jsonl"));
    let sandbox = set("q-lamp\tlamp\t1\n");
    for (qrels, part) in [
        ("q-lamp\tlamp\t1\nq-lamp lamp 1\n", "line 2 of "),
        ("q-lamp\tlamp\t0\n", "no query has an answer"),
        ("q-none\tlamp\t1\n", "query `q-none`"),
    ] {
        sandbox.write("set/qrels.tsv", qrels);
        assert!(error(&sandbox).contains(part), "{part}: {}", error(&sandbox));
    }
    fs::remove_file(sandbox.path("set/qrels.tsv")).expect("a removed file");
    assert!(error(&sandbox).contains("hint: a set has `corpus.jsonl`"), "{}", error(&sandbox));
    sandbox.write("set/qrels/test.tsv", "q-lamp\tlamp\t1\n");
    for (corpus, part) in [
        ("{\"_id\": \"a\", \"text\": \"x\"}\n{\"_id\": \"a\"}\n", "`_id` \"a\" occurs twice"),
        ("{\"text\": \"x\"}\n", "has no `_id`"),
        ("{\"_id\": \"a\", \"text\": \"\"}\n", "has a text"),
        ("{\n", "line 1 of "),
    ] {
        sandbox.write("set/corpus.jsonl", corpus);
        assert!(error(&sandbox).contains(part), "{part}: {}", error(&sandbox));
    }
}

/// A folder `sets` with one set of each kind, in which equal texts are the answers.
fn folder() -> Sandbox {
    let sandbox = set("q-lamp\tlamp\t1\nq-tea\ttea\t1\nq-ship\tship\t1\n");
    for name in ["sts", "bitext/web", "labels", "long/papers"] {
        fs::create_dir_all(sandbox.path("sets").join(name)).expect("a folder");
    }
    fs::rename(sandbox.path("set"), sandbox.path("sets/set")).expect("a moved set");
    let write = |name: &str, rows: Vec<Value>| {
        sandbox.write(
            &format!("sets/{name}"),
            rows.iter().map(|row| format!("{row}\n")).collect::<String>(),
        );
    };
    let pair =
        |a: usize, b: usize| json!({"sentence1": DOCUMENTS[a].1, "sentence2": DOCUMENTS[b].1});
    let with = |mut row: Value, name: &str, value: Value| {
        row[name] = value;
        row
    };
    for language in ["de", "en"] {
        let scores = [(0, 0, 5), (1, 2, 0), (2, 2, 5), (0, 3, 0), (3, 3, 5)];
        let rows = scores.map(|(a, b, score)| with(pair(a, b), "score", score.into()));
        write(&format!("sts/news-{language}.jsonl"), rows.to_vec());
    }
    let labels = [(0, 0, 1), (1, 2, 0), (2, 2, 1), (0, 3, 0)];
    write(
        "pairs.jsonl",
        labels.map(|(a, b, label)| with(pair(a, b), "label", label.into())).to_vec(),
    );
    write("bitext/web/fra.jsonl", (0..4).map(|at| pair(at, at)).collect());
    let labelled = |count: usize| -> Vec<Value> {
        let topics = [
            ("lamp", "The lamp is dark"),
            ("tea", "Green tea is hot"),
            ("ship", "A parcel on a ship"),
        ];
        let row = |at: usize| {
            let (label, text) = topics[at % 3];
            json!({"text": format!("{text} {}", ["now.", "today.", "again.", "at last."][at / 3 % 4]), "label": label})
        };
        (0..count).map(row).collect()
    };
    write("labels/topics-train.jsonl", labelled(12));
    write("labels/topics-test.jsonl", labelled(9));
    write("topics.jsonl", labelled(12));
    write("other.jsonl", vec![json!({"x": 1})]);
    let text = DOCUMENTS.map(|(_, text)| text).join("\n\n");
    let start = text.find("Pour").expect("an answer");
    write(
        "long/papers/documents.jsonl",
        vec![json!({"_id": "1", "text": text}), json!({"_id": "2", "text": "Nothing."})],
    );
    let question = json!({"_id": "q", "text": "Pour it at eighty degrees.", "doc": "1", "answer_start": start, "answer": "Pour it at eighty degrees."});
    write("long/papers/questions.jsonl", vec![question]);
    sandbox
}

/// The set called `name` in the answer.
#[track_caller]
fn named<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let sets = answer["sets"].as_array().expect("sets");
    sets.iter().find(|set| set["name"] == name).unwrap_or_else(|| panic!("no {name}: {answer}"))
}

fn json_of(run: &Run) -> Value {
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    serde_json::from_slice(&run.stdout).expect("JSON")
}

#[test]
fn every_set_of_a_folder_is_recognized_and_measured() {
    let sandbox = folder();
    let run = sandbox.run([
        "eval",
        "sets",
        "--json",
        "--per-label",
        "2",
        "--runs",
        "3",
        "--chunk",
        "sentences",
    ]);
    assert!(
        run.stderr.contains("1 file of another shape left out: sets/other.jsonl"),
        "{}",
        run.stderr
    );
    let answer = json_of(&run);
    for (name, kind, tasks, expected) in [
        ("news-de", "sts", json!(["text-matching"]), json!({"pairs": 5})),
        (
            "pairs",
            "pairs",
            json!(["classification"]),
            json!({"average_precision": 1.0, "best_accuracy": 1.0}),
        ),
        (
            "web-fra",
            "bitext",
            json!(["text-matching"]),
            json!({"accuracy": 1.0, "accuracy_reverse": 1.0}),
        ),
        (
            "set",
            "retrieval",
            json!(["retrieval.query", "retrieval.passage"]),
            json!({"ndcg_10": 1.0, "recall_1": 1.0}),
        ),
        (
            "topics",
            "classification",
            json!(["classification"]),
            json!({"accuracy": 1.0, "deviation": 0.0, "examples": 6, "labels": 3}),
        ),
        (
            "papers, each chunk alone",
            "long",
            json!(["retrieval.query", "retrieval.passage"]),
            json!({"answer_1": 1.0, "answer_10": 1.0, "documents": 2, "chunks": 8}),
        ),
        (
            "papers, late chunking",
            "long",
            json!(["retrieval.query", "retrieval.passage"]),
            json!({"answer_10": 1.0, "questions": 1}),
        ),
    ] {
        let set = named(&answer, name);
        assert_eq!((&set["kind"], &set["tasks"]), (&json!(kind), &tasks), "{set}");
        for (key, want) in expected.as_object().expect("values") {
            let got = if set[key].is_null() { &set["results"][0][key] } else { &set[key] };
            assert_eq!(got, want, "{key}: {set}");
        }
        assert!(set.get("ways").is_none(), "search is not compared in a folder of sets: {set}");
    }
    let sets = answer["sets"].as_array().expect("sets");
    let clustering = sets.iter().find(|set| set["kind"] == "clustering").expect("a clustering");
    assert_eq!(
        (&clustering["name"], &clustering["results"][0]["v_measure"]),
        (&json!("topics"), &json!(1.0))
    );
    let spearman = named(&answer, "news-de")["results"][0]["spearman"].as_f64().expect("a number");
    // Pairs of equal texts come before the others, in any order: at least the square root of 3/4.
    assert!(spearman > 0.866, "{spearman}");
    let families = answer["families"].as_array().expect("families");
    assert_eq!(
        (families.len(), &families[0]["family"], &families[0]["sets"]),
        (1, &json!("news"), &json!(2))
    );
}

#[test]
fn dimensions_of_one_pass_are_those_of_separate_runs() {
    let sandbox = folder();
    let run = |dimensions: &str, precision: &str| {
        json_of(&sandbox.run([
            "eval",
            "sets/sts",
            "sets/pairs.jsonl",
            "sets/set",
            "--search",
            "false",
            "--json",
            "--dimensions",
            dimensions,
            "--precision",
            precision,
        ]))
    };
    let sweep = run("256,64,16", "f32,int8");
    assert_eq!(sweep["sweep"], json!({"dimensions": [256, 64, 16], "precisions": ["f32", "int8"]}));
    for (precision, dimensions) in [("f32", 64), ("int8", 16)] {
        let alone = run(&dimensions.to_string(), precision);
        for name in ["news-en", "pairs", "set"] {
            let want = &named(&alone, name)["results"][0];
            let results = named(&sweep, name)["results"].as_array().expect("results");
            assert_eq!(results.len(), 6);
            assert_eq!(
                (&want["precision"], &want["dimensions"]),
                (&json!(precision), &json!(dimensions))
            );
            assert!(results.contains(want), "{want}: {results:?}");
        }
    }
    let refused = sandbox.run(["eval", "sets/sts", "--dimensions", "9999"]);
    assert!(refused.failure(4).contains("9999"), "{}", refused.stderr);
}

#[test]
fn shares_languages_kinds_and_tasks_can_be_chosen() {
    let sandbox = folder();
    let run = sandbox.run([
        "eval",
        "sets",
        "--only",
        "sts,retrieval",
        "--languages",
        "en",
        "--limit",
        "2,sts=3",
        "--task",
        "none,query=text-matching",
        "--json",
    ]);
    let answer = json_of(&run);
    let sets = answer["sets"].as_array().expect("sets");
    let names: Vec<&Value> = sets.iter().map(|set| &set["name"]).collect();
    assert_eq!(names, ["set", "news-en"]);
    assert_eq!((&sets[0]["queries"], &sets[1]["pairs"]), (&json!(2), &json!(3)));
    assert_eq!(
        (&sets[0]["tasks"], &sets[1]["tasks"]),
        (&json!(["text-matching", null]), &json!([null]))
    );
    let run = sandbox.run(["eval", "sets", "--only", "sts", "--languages", "xx"]);
    assert!(run.failure(4).contains("--only and --languages leave no set"), "{}", run.stderr);
    for wrong in [["--limit", "0"], ["--task", "x=none"], ["--only", "x"]] {
        assert_eq!(sandbox.run(["eval", "sets"].iter().chain(&wrong)).status, Some(2));
    }
}

#[test]
fn questions_of_other_languages_search_the_passages_of_one() {
    let sandbox = set("q-lamp\tlamp\t1\nq-tea\ttea\t1\n");
    for language in ["de", "en"] {
        fs::create_dir(sandbox.path(&format!("q-{language}"))).expect("a folder");
        for file in ["corpus.jsonl", "queries.jsonl", "qrels.tsv"] {
            fs::copy(
                sandbox.path("set").join(file),
                sandbox.path(&format!("q-{language}")).join(file),
            )
            .expect("a copy");
        }
    }
    let arguments =
        ["eval", "q-de", "q-en", "--search", "false", "--cross-lingual", "en", "--json"];
    let answer = sandbox.run(arguments).json();
    let sets = answer["sets"].as_array().expect("sets");
    let names: Vec<&str> = sets.iter().map(|set| set["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["q-en", "q-de", "q de→en", "q en→de"]);
    assert!(sets.iter().all(|set| set["results"] == sets[0]["results"]), "{answer}");
    sandbox.write("q-de/corpus.jsonl", "{\"_id\": \"tea\", \"text\": \"Tee\"}\n");
    assert!(sandbox.run(arguments).failure(4).contains("have different ids"));
}

#[test]
fn a_query_that_is_a_document_does_not_find_itself() {
    let sandbox = set("lamp\ttea\t1\n");
    let query = |text: &str| {
        sandbox.write("set/queries.jsonl", format!("{}\n", json!({"_id": "lamp", "text": text})));
    };
    let rank = |more: &[&str]| {
        let run = sandbox.run(["eval", "set", "--json"].iter().chain(more));
        let set = json_of(&run)["sets"][0].clone();
        let gains: Vec<f64> = set["ways"]
            .as_array()
            .expect("ways")
            .iter()
            .chain([&set["results"][0]])
            .map(|figures| figures["ndcg_10"].as_f64().expect("a number"))
            .collect();
        (gains, set["notes"].to_string())
    };
    // The document is the nearest to itself, and its title is no part of the query.
    query(DOCUMENTS[0].1);
    let (found, _) = rank(&["--same-id", "always"]);
    let (left_out, notes) = rank(&[]);
    assert!(notes.contains("1 query left out the document with the same id"), "{notes}");
    assert!(
        left_out.iter().zip(&found).all(|(left_out, found)| left_out > found),
        "{left_out:?} {found:?}"
    );
    // Ids that are equal by chance: only BEIR leaves the document out.
    query(&DOCUMENTS[0].1[..30]);
    let (kept, notes) = rank(&[]);
    assert!(notes.contains("1 query had the id of a document with another text"), "{notes}");
    let (as_beir, _) = rank(&["--same-id", "never"]);
    assert!(
        as_beir.iter().zip(&kept).all(|(as_beir, kept)| as_beir > kept),
        "{as_beir:?} {kept:?}"
    );
}

#[test]
fn a_malformed_set_is_refused_with_file_and_line_before_anything_is_measured() {
    let sandbox = Sandbox::new();
    let error = |name: &str, content: &str| {
        sandbox.write(name, content);
        sandbox.run(["eval", name]).failure(4).to_owned()
    };
    let pair = "{\"sentence1\": \"a\", \"sentence2\": \"b\", \"score\": 1}\n";
    for (content, part) in [
        (format!("{pair}\n{{\n"), "line 3 of a.jsonl is not JSON: EOF while parsing"),
        (format!("{pair}[]\n"), "line 2 of a.jsonl is not a JSON object"),
        (
            pair.replace('1', "\"x\"").replace("sentence\"x\"", "sentence1"),
            "line 1 of a.jsonl has no number `score`",
        ),
        (
            pair.to_owned() + &pair.replace("\"b\"", "7"),
            "line 2 of a.jsonl has no text `sentence2`",
        ),
        (
            pair.replace("score", "label").replace(": 1", ": 3"),
            "has the `label` 3; it must be 0 or 1",
        ),
        (pair.to_owned(), "all scores or all cosines are equal"),
        ("{\"text\": \"a\", \"label\": 1}\n".to_owned(), "have the same label"),
        ("{\"x\": 1}\n".to_owned(), "a.jsonl is not a set"),
        (String::new(), "a.jsonl has no lines"),
    ] {
        let error = error("a.jsonl", &content);
        assert!(error.contains(part), "{part}: {error}");
    }
    fs::create_dir(sandbox.path("empty")).expect("a folder");
    let run = sandbox.run(["eval", "empty"]);
    assert!(run.failure(4).contains("no sets in empty\nhint: a set is a file"), "{}", run.stderr);
    let sandbox = folder();
    sandbox.write(
        "sets/long/papers/questions.jsonl",
        "{\"text\": \"a\", \"doc\": \"1\", \"answer_start\": 3, \"answer\": \"b!\"}\n",
    );
    let run = sandbox.run(["eval", "sets"]);
    assert!(
        run.failure(4)
            .contains("questions.jsonl: the `answer` is not at character 3 of document `1`"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_page_has_all_figures_and_loads_nothing() {
    let sandbox = folder();
    let run = sandbox.run([
        "eval",
        "sets",
        "--dimensions",
        "256,32",
        "--html",
        "page.html",
        "--runs",
        "2",
        "--per-label",
        "2",
    ]);
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    let page = fs::read_to_string(sandbox.path("page.html")).expect("a page");
    for part in ["news-de", "Bitext retrieval", "late chunking", "Spearman by dimensions", "</svg>"]
    {
        assert!(page.contains(part), "{part}");
    }
    assert!(
        !page.contains("src=") && !page.contains("<script") && !page.contains("href="),
        "{page}"
    );
    assert!(run.text().contains("Semantic similarity, task text-matching\n"), "{}", run.text());
}

#[cfg(unix)]
#[test]
fn the_tables_fit_narrow_terminals() {
    let sandbox = folder();
    // The warning about it is longer than a narrow terminal is wide.
    fs::remove_file(sandbox.path("sets/other.jsonl")).expect("a removed file");
    let arguments = [
        "eval",
        "sets",
        "--dimensions",
        "256,128,64,32,16",
        "--runs",
        "2",
        "--per-label",
        "2",
        "--search",
        "true",
    ];
    for columns in [30, 40, 80] {
        let screen = crate::terminal::screen(&sandbox, columns, &arguments);
        assert_eq!(screen.status, Some(0), "{:#?}", screen.lines);
        assert!(!screen.wrapped, "{columns}: {:#?}", screen.lines);
        let text = screen.lines.join("\n");
        for part in ["news-de", "nDCG@10", "deviation", "Methods of search", "  16\n"] {
            assert!(text.contains(part), "{columns}, {part}: {text}");
        }
    }
}
