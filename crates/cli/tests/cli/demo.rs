//! The texts and first results that the page of the demo corpus lists, each in another language.

use crate::Sandbox;
use std::fs;
use std::path::{Path, PathBuf};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo")
}

/// Copies the folder `from` to `to`, which must not exist yet.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a new folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, name) = (entry.path(), entry.file_name());
        match path.is_dir() {
            true if name == ".kokeshi" => (),
            true => copy(&path, &to.join(name)),
            false => drop(fs::copy(&path, to.join(name)).expect("a copy")),
        }
    }
}

/// The cells of each row of the table below `heading`, without its header.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, part) = page.split_once(heading).expect("the heading");
    let rows = part.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    let cells = rows.map(|row| row.trim_matches('|').split('|'));
    cells.map(|cells| cells.map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
#[ignore = "slow; `.ci/run` runs it"]
fn texts_and_first_results_are_those_of_the_page() {
    let sandbox = Sandbox::new();
    copy(&corpus(), &sandbox.path("demo"));
    let run = sandbox.run(["index", "demo"]);
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    let page = fs::read_to_string(corpus().join("README.md")).expect("the page");
    check_texts(&sandbox, &page);
    let queries = table(&page, "What the bundled model finds");
    assert!(queries.len() >= 8, "{queries:?}");
    let mut wanted = String::new();
    for row in &queries {
        let query = row[0].trim_matches('`');
        if let Some((file, _)) = row[1].trim_start_matches('[').split_once(']') {
            file.clone_into(&mut wanted);
        }
        let found = sandbox.run(["search", query, "demo", "-l", "-n", "1"]);
        assert_eq!(found.quiet(), format!("demo/{wanted}\n"), "{query}");
    }
}

/// Every text is on the page, and the page is not a text.
#[track_caller]
fn check_texts(sandbox: &Sandbox, page: &str) {
    let listed = sandbox.run(["search", "x", "demo", "-l", "-n", "1000"]);
    let mut listed: Vec<&str> = listed.quiet().lines().collect();
    listed.sort_unstable();
    let texts = table(page, "`.ignore` keeps");
    let name =
        |row: &Vec<String>| format!("demo/{}", row[0].split(['[', ']']).nth(1).expect("a link"));
    let mut named: Vec<String> = texts.iter().map(name).collect();
    named.sort();
    assert_eq!(listed, named);
}
