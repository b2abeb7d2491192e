//! What `kokeshi extract`, `index` and `search` read from files of many formats and encodings.

use crate::index::{content, store, success};
use crate::{Run, Sandbox};
use serde_json::{Value, json};
use std::fs;

/// A sandbox with the folder `d` of these files, and the run that indexes it.
#[track_caller]
fn indexed(files: &[(&str, &[u8])]) -> (Sandbox, Run) {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).expect("a folder");
    for (name, content) in files {
        sandbox.write(&format!("d/{name}"), content);
    }
    let run = sandbox.run(["index", "d"]);
    success(&run);
    (sandbox, run)
}

/// The best hit of a search in `d`.
fn best(sandbox: &Sandbox, query: &[&str]) -> Value {
    let arguments = ["search", "--json", "-n", "1"].iter().chain(query).chain(&["d"]);
    sandbox.run(arguments).json()["hits"][0].take()
}

#[test]
fn extract_keeps_every_cell_and_reads_the_encoding_of_a_page() {
    let sandbox = Sandbox::new();
    let table = "<table><tr><th>Born</th><td>1871 in Kiel</td></tr>\
                 <tr><th>Died</th><td>1950</td></tr></table>";
    let extract = ["extract", "--format", "html"];
    let text = sandbox.run_with(extract, table.as_bytes()).quiet().to_owned();
    assert_eq!(text.trim(), "| Born | 1871 in Kiel |\n| Died | 1950 |");
    let page = b"<meta charset=windows-1251><p>\xcf\xf0\xe8\xe2\xe5\xf2</p>";
    assert_eq!(sandbox.run_with(extract, page).quiet().trim(), "Привет");
}

#[test]
fn a_guessed_encoding_is_said_once() {
    let russian = b"\xcf\xf0\xe8\xe2\xe5\xf2, \xea\xe0\xea \xe4\xe5\xeb\xe0?\n";
    let declared = b"<meta charset=windows-1251><p>\xcf\xf0\xe8\xe2\xe5\xf2</p>";
    let utf16: Vec<u8> = "id,text\n1,Grüße\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (sandbox, run) = indexed(&[
        ("a.txt", russian),
        ("b.md", russian),
        ("c.py", russian),
        ("d.html", declared),
        ("e.CSV", &utf16),
    ]);
    assert_eq!(run.stderr.matches("read as").count(), 2, "{}", run.stderr);
    assert!(run.stderr.contains("3 files read as windows-1251\n"), "{}", run.stderr);
    assert!(run.stderr.contains("1 file read as UTF-16LE\n"), "{}", run.stderr);
    let content = content(&store(&sandbox, "d/.kokeshi/index.db"), "default");
    for name in ["a.txt", "b.md", "c.py"] {
        assert_eq!(content[name].1, ["Привет, как дела?"]);
    }
    assert_eq!(content["d.html"].1, ["Привет"]);
    assert_eq!(content["e.CSV"].1, ["Grüße"]);
}

#[test]
fn hits_name_lines_of_the_file_or_none() {
    let page = "<html>\n<body>\n\n<p>The harbour is closed in winter.</p>\n";
    let (sandbox, _) = indexed(&[
        ("a.csv", b"id,text\r\n1,one\r\n2,two\r\n3,three\r\n"),
        ("page.html", page.as_bytes()),
    ]);
    let row = best(&sandbox, &["three"]);
    assert_eq!((&row["lines"], &row["text"]), (&json!([4, 4]), &json!("three")));
    let web = best(&sandbox, &["closed harbour in winter"]);
    assert_eq!((&web["path"], &web["lines"]), (&json!("d/page.html"), &Value::Null));
    let run = sandbox.run(["search", "closed harbour in winter", "d", "-n", "1"]);
    assert!(run.quiet().starts_with("d/page.html  "), "{}", run.quiet());
}

#[test]
fn the_items_of_a_list_in_front_matter_can_each_be_filtered_by() {
    let text = "--- \ntags:\n  - tide # and ebb\n  - \"a, b\"\n---\nThe water comes and goes.\n";
    let (sandbox, _) = indexed(&[("a.MD", text.as_bytes()), ("b.md", b"Nothing to see.\n")]);
    for tag in ["tags=tide", "tags=a, b"] {
        assert_eq!(best(&sandbox, &["water", "--where", tag])["path"], "d/a.MD", "{tag}");
    }
}

#[test]
fn data_in_a_text_is_not_embedded() {
    let data: String = (0..30_000_u32)
        .map(|at| char::from(b"ABCDabcd0123wxyzWXYZ+/56"[(at * at % 24) as usize]))
        .collect();
    let markdown = format!("# Map\n\nSee ![the harbour](data:image/png;base64,{data}) here.\n");
    let page = format!("<p>A <img alt='lamp' src='data:image/png;base64,{data}'> on</p>");
    let notebook = json!({"cells": [
        {"cell_type": "markdown", "source": ["Tides"]},
        {"cell_type": "code", "source": "plot()", "outputs": [{"data": {"image/png": data}}]},
    ]});
    let (sandbox, _) = indexed(&[
        ("a.md", markdown.as_bytes()),
        ("b.html", page.as_bytes()),
        ("c.ipynb", notebook.to_string().as_bytes()),
    ]);
    let content = content(&store(&sandbox, "d/.kokeshi/index.db"), "default");
    assert_eq!(content["a.md"].1, ["# Map\n\nSee the harbour here."]);
    assert_eq!(content["b.html"].1, ["A lamp on"]);
    assert_eq!(content["c.ipynb"].1, ["Tides\n\n```\nplot()\n```"]);
}

#[test]
fn words_are_found_however_the_query_composes_them() {
    let (sandbox, _) = indexed(&[("a.txt", "Re\u{301}sume\u{301}\n".as_bytes())]);
    let hit = best(&sandbox, &["résumé", "--hybrid"]);
    assert!(hit["words"].is_object() || hit["why"]["words"].is_object(), "{hit}");
}

#[test]
#[ignore = "takes ten seconds; CI runs it"]
fn a_long_table_is_indexed_in_pieces_and_again_only_if_it_changes() {
    const ROWS: usize = 520;
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("d")).expect("a folder");
    let row = |number: usize| format!("{number},Row {number} is about number {number}.\n");
    let rows: String = (0..ROWS).map(row).collect();
    sandbox.write("d/t.csv", format!("id,text\n{rows}"));
    let first = sandbox.run(["index", "d"]);
    assert!(success(&first).contains("indexed 1 document (520 chunks"), "{}", first.stderr);
    let hits = |query: &str| {
        sandbox.run(["search", query, "d", "-n", "1", "--json"]).json()["hits"].clone()
    };
    for number in [0, 511, 512, 519] {
        let found = hits(&format!("Row {number} is about number {number}."));
        assert_eq!(found[0]["lines"], serde_json::json!([number + 2, number + 2]), "{found}");
        assert_eq!(found[0]["chunk"], number, "{found}");
        let bytes = found[0]["bytes"].as_array().expect("a range");
        let before: usize =
            (0..number).map(|number| row(number).split_once(',').expect("a row").1.len()).sum();
        assert_eq!(bytes[0], before, "{found}");
    }
    let again = sandbox.run(["index", "d"]);
    assert!(success(&again).contains("1 unchanged"), "{}", again.stderr);
    // A mistake in a late row leaves the whole file out, as one in the first row does.
    sandbox.write("d/t.csv", format!("id,text\n{rows}7,\"open\n"));
    let broken = sandbox.run(["index", "d"]);
    assert_eq!(broken.status, Some(3), "{}", broken.stderr);
    assert!(broken.stderr.contains("line 522 has no end"), "{}", broken.stderr);
    let status = sandbox.run(["status", "d", "--json"]).json();
    assert_eq!(status["collections"][0]["chunks"], 0, "{status}");
    sandbox.write("d/t.csv", "id,text\n1,short\n");
    assert!(success(&sandbox.run(["index", "d"])).contains("indexed 1 document (1 chunk"));
    let store = kokeshi_store::Sqlite::open(&sandbox.path("d/.kokeshi/index.db")).expect("a store");
    assert_eq!(store.check().expect("a check"), Vec::<String>::new());
}
