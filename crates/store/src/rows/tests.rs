use super::*;

fn fields() -> Fields {
    let name = |name: &str| Some(name.to_owned());
    Fields {
        table: None,
        id: name("key"),
        text: name("body"),
        document: name("book"),
        ..Fields::default()
    }
}

fn paths(entries: &[Entry]) -> Vec<(&str, usize, u64)> {
    entries.iter().map(|entry| (entry.path.as_str(), entry.chunks, entry.size)).collect()
}

fn written(extension: &str, content: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(format!("rows.{extension}"));
    std::fs::write(&path, content).expect("a file");
    (folder, path)
}

fn refusal(content: &str, fields: &Fields) -> String {
    let (_folder, path) = written("jsonl", content);
    Rows::read(&path, fields, "vector").expect_err("refused").to_string()
}

/// Checks the contents of the JSONL and of the Parquet file, which are the same.
fn check(rows: &Rows) {
    let provenance =
        rows.collection("embedding").expect("an answer").expect("a collection").provenance;
    assert!(provenance.is_unknown() && provenance.dimensions == 2);
    assert_eq!(rows.count("embedding").expect("counts"), Counts { documents: 2, chunks: 3 });
    let all = rows.list_after("embedding", "", 9).expect("documents");
    assert_eq!(paths(&all), [("a", 2, 8), ("b", 1, 27)]);
    assert_eq!(paths(&rows.list_after("embedding", "a", 9).expect("documents")), [("b", 1, 27)]);
    assert_eq!(rows.list_after("embedding", "", 1).expect("documents"), all[..1]);
    let wanted = ["c", "a"].map(str::to_owned);
    assert_eq!(rows.entries("embedding", &wanted).expect("documents"), all[..1]);
    let found = rows.documents("embedding", &wanted).expect("documents");
    let chunks: Vec<(&str, &[f32])> = found[0]
        .chunks
        .iter()
        .map(|chunk| (chunk.text.as_str(), chunk.vector.as_slice()))
        .collect();
    assert_eq!(chunks, [("One.", &[0.5, -1.0][..]), ("Two.", &[2.0, 0.0][..])]);
    let metadata = &found[0].chunks[1].metadata;
    assert_eq!((&metadata["id"], &metadata["year"]), (&"8".into(), &1948.into()));
    let error = rows.count("other").expect_err("no such field").to_string();
    assert!(error.contains("`other`") && error.contains("`embedding`"), "{error}");
}

#[test]
fn rows_of_json_are_documents_in_any_order() {
    let (_folder, path) = written(
        "jsonl",
        "{\"key\": 7, \"body\": \"One.\", \"book\": \"a\", \"embedding\": [0.5, -1]}\n\
         \n\
         {\"key\": \"9\", \"body\": \"Three, of another document.\", \"book\": \"b\", \"embedding\": [0.25, 3]}\n\
         {\"key\": 8, \"body\": \"Two.\", \"book\": \"a\", \"embedding\": [2, 0], \"year\": 1948}",
    );
    check(&Rows::read(&path, &fields(), "embedding").expect("rows"));
}

#[cfg(feature = "parquet")]
#[test]
fn a_foreign_parquet_file_has_the_same_documents() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rows.parquet");
    check(&Rows::read(&path, &fields(), "embedding").expect("rows"));
    let other = Fields { text: Some("words".to_owned()), ..fields() };
    let error = Rows::read(&path, &other, "embedding").expect_err("refused").to_string();
    assert!(
        error.contains("row 1") && error.contains("`words`") && error.contains("`body`"),
        "{error}"
    );
}

#[test]
fn rows_without_documents_are_documents_and_need_no_vectors() {
    let (_folder, path) =
        written("ndjson", "{\"id\": \"x\", \"text\": \"\"}\n{\"id\": \"y\", \"text\": \"b\"}\n");
    let rows = Rows::read(&path, &Fields::default(), "vector").expect("rows");
    let all = rows.list_after("vector", "", 9).expect("documents");
    assert_eq!(paths(&all), [("x", 1, 0), ("y", 1, 1)]);
    let provenance =
        rows.collection("vector").expect("an answer").expect("a collection").provenance;
    assert_eq!(provenance.dimensions, 0);
}

#[test]
fn a_row_that_cannot_be_read_is_named() {
    let row = "{\"id\": 1, \"text\": \"a\", \"vector\": [1, 2]}\n";
    for (second, wanted) in [
        ("{\"id\": 1, \"text\": \"b\", \"vector\": [1, 2]}", "also has the id `1`"),
        (
            "{\"id\": 2, \"text\": \"b\", \"vector\": [1]}",
            "a vector of width 1, where earlier rows have a vector of width 2",
        ),
        ("{\"id\": 2, \"text\": \"b\"}", "no vector, where earlier rows have a vector of width 2"),
        ("{\"id\": 2, \"text\": \"b\", \"vector\": [1, \"2\"]}", "not a number"),
        ("{\"id\": 2, \"text\": \"b\", \"vector\": [1, 1e300]}", "not finite"),
        ("{\"id\": 2, \"text\": \"b\", \"vector\": 3}", "not an array"),
        ("{\"id\": [], \"text\": \"b\"}", "no id"),
        ("{\"id\": \"\", \"text\": \"b\"}", "no id"),
        ("{\"id\": 2, \"text\": 5}", "no text in `text`; it has `id`, `text`"),
        ("{\"id\": 2, \"text\": \"b\", \"doc_id\": true}", "neither a text nor a number"),
        ("[1]", "not a JSON object"),
        ("{\"id\": 2", "not a JSON object"),
    ] {
        let error = refusal(&format!("{row}{second}\n"), &Fields::default());
        assert!(error.contains("rows.jsonl, row 2: ") && error.contains(wanted), "{error}");
    }
}

#[cfg(feature = "parquet")]
#[test]
fn a_file_that_is_not_parquet_is_an_error() {
    for content in ["", "PAR1", "PAR1\0\0\0\0PAR1", "nothing of the kind, at all"] {
        let (_folder, path) = written("parquet", content);
        let error = Rows::read(&path, &Fields::default(), "vector").expect_err("refused");
        assert!(error.to_string().contains("rows.parquet"), "{error}");
    }
}

#[test]
fn a_file_that_does_not_exist_is_an_error() {
    let error = Rows::read(Path::new("/nowhere/x.jsonl"), &Fields::default(), "v").err();
    assert!(matches!(error, Some(Error::Io { action: "read", .. })));
}

#[cfg(not(feature = "parquet"))]
#[test]
fn a_build_without_parquet_names_the_feature() {
    let path = Path::new("rows.parquet");
    for error in [Rows::read(path, &Fields::default(), "v").err(), Rows::fields(path).err()] {
        let message = error.expect("refused").to_string();
        assert_eq!(message, "this build cannot read rows.parquet: it lacks the feature `parquet`");
    }
}

#[test]
fn rows_of_a_document_are_in_the_order_of_the_named_field() {
    let row = |id: &str, position: &str| {
        format!(
            "{{\"key\": \"{id}\", \"body\": \"{id}.\", \"book\": \"a\", \"position\": {position}}}\n"
        )
    };
    let content = row("c", "10") + &row("a", "9.5") + &row("d", "\"end\"") + &row("b", "-1");
    let (_folder, path) = written("jsonl", &content);
    let fields = Fields { order: Some("position".to_owned()), ..fields() };
    let rows = Rows::read(&path, &fields, "vector").expect("rows");
    let found = rows.documents("vector", &["a".to_owned()]).expect("a document");
    let texts: Vec<&str> = found[0].chunks.iter().map(|chunk| chunk.text.as_str()).collect();
    assert_eq!(texts, ["b.", "a.", "c.", "d."]);
    let error = refusal(&(content + "{\"key\": 5, \"body\": \"E.\", \"book\": \"a\"}"), &fields);
    assert!(error.contains("row 5: no text or number in `position`; it has"), "{error}");
}

#[test]
fn a_changed_text_or_field_changes_the_hash_of_its_document() {
    let hash = |line: &str| {
        let (_folder, path) = written("jsonl", line);
        let rows = Rows::read(&path, &fields(), "vector").expect("rows");
        rows.list_after("vector", "", 1).expect("documents").remove(0).hash
    };
    let first = hash("{\"key\": 7, \"body\": \"One.\", \"x\": 1, \"y\": {\"a\": 2, \"b\": 3}}");
    let again = "{\"y\": {\"b\": 3, \"a\": 2}, \"x\": 1, \"body\": \"One.\", \"key\": \"7\"}";
    assert_eq!(first, hash(again), "fields in another order");
    for other in ["\"One\", \"x\": 1", "\"One.\", \"x\": 2", "\"One.\""] {
        let line = format!("{{\"key\": 7, \"body\": {other}, \"y\": {{\"a\": 2, \"b\": 3}}}}");
        assert_ne!(first, hash(&line), "{line}");
    }
}

#[test]
fn a_byte_order_mark_is_passed_over_and_long_numbers_stay_as_written() {
    let (_folder, path) = written(
        "jsonl",
        "\u{feff}{\"key\": 123456789012345678901234567890, \"body\": \"One.\", \
         \"serial\": -98765432109876543210, \"share\": 0.25, \"embedding\": [1, 0]}\n",
    );
    let fields = Fields { document: None, ..fields() };
    let rows = Rows::read(&path, &fields, "embedding").expect("rows");
    let wanted = ["123456789012345678901234567890".to_owned()];
    let found = rows.documents("embedding", &wanted).expect("documents");
    let metadata = &found[0].chunks[0].metadata;
    assert_eq!(metadata["serial"], "-98765432109876543210");
    assert_eq!(metadata["share"], 0.25);
    assert_eq!(Rows::fields(&path).expect("fields")[0].name, "key");
}

#[test]
fn a_field_that_is_called_like_the_id_is_kept() {
    let fields = |text: &str| serde_json::from_str(text).expect("an object");
    let kept = |text: &str| serde_json::Value::Object(with_id(fields(text), "7")).to_string();
    assert_eq!(kept(r#"{"year": 1}"#), r#"{"year":1,"id":"7"}"#);
    assert_eq!(kept(r#"{"id": 7}"#), r#"{"id":"7"}"#);
    let all: serde_json::Value =
        serde_json::from_str(&kept(r#"{"id": "x", "id_": "y"}"#)).expect("an object");
    assert_eq!(all, serde_json::json!({ "id": "7", "id_": "y", "id__": "x" }));
}
