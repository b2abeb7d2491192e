//! Jobs on files of every format, with a tiny model.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int8Type, Int64Type, UInt32Type};
use arrow_array::{
    Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow_schema::{DataType, TimeUnit};
use arrow_select::concat::concat_batches;
use kokeshi::{Chunking, Input, LoadOptions, Model, Options};
use kokeshi_tables::{
    Columns, Error, FOLDER, Job, Keep, Manifest, Method, ModelRecord, Progress, Shard, ShardResult,
    VectorType, matching,
};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use tempfile::TempDir;

static MODEL: LazyLock<Model> = LazyLock::new(|| {
    let folder = kokeshi_testkit::fixture("v3-tiny/original");
    Model::open(&folder, &LoadOptions::default()).expect("the fixture opens")
});

fn columns() -> Columns {
    let (keep, vector) = (Keep::Named(vec!["lang".to_owned()]), "embedding".to_owned());
    Columns { text: None, id: None, document: None, keep, vector }
}

fn method() -> Method {
    let options = Options { task: Some("separation".to_owned()), ..Options::default() };
    Method { options, chunking: None, late: false, has_text: true }
}

fn job_with(output: &Path, columns: Columns, method: Method, vectors: VectorType) -> Job {
    let model = ModelRecord { name: "tiny".to_owned(), revision: "1".to_owned() };
    Job::new(output.to_owned(), columns, method, vectors, model).expect("a job")
}

fn job(output: &Path) -> Job {
    job_with(output, columns(), method(), VectorType::F32)
}

/// Runs all shards of the files that match `pattern`.
fn run(job: &Job, pattern: &Path) -> Vec<ShardResult> {
    let shards = shards(job, pattern);
    shards.iter().map(|shard| run_one(job, shard).expect("it runs")).collect()
}

fn shards(job: &Job, pattern: &Path) -> Vec<Shard> {
    let files = matching(&[pattern.display().to_string()]).expect("files");
    let shards = job.shards(&files).expect("shards");
    job.prepare(&shards).expect("a folder");
    shards
}

fn run_one(job: &Job, shard: &Shard) -> Result<ShardResult, Error> {
    job.run(shard, &MODEL, &mut |_| true)
}

fn manifest(result: &ShardResult) -> &Manifest {
    match result {
        ShardResult::Now(manifest) => manifest,
        other => panic!("it ran: {other:?}"),
    }
}

/// All rows of a Parquet file.
fn table(path: &Path) -> RecordBatch {
    let file = File::open(path).expect("the output");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
    let schema = Arc::clone(reader.schema());
    let batches: Vec<RecordBatch> =
        reader.build().expect("a reader").map(|batch| batch.expect("a batch")).collect();
    concat_batches(&schema, &batches).expect("one batch")
}

fn names(table: &RecordBatch) -> Vec<String> {
    table.schema().fields().iter().map(|field| field.name().clone()).collect()
}

fn vectors(table: &RecordBatch) -> Vec<Vec<f32>> {
    let list = table.column_by_name("embedding").expect("vectors").as_fixed_size_list();
    let row = |row: usize| list.value(row).as_primitive::<Float32Type>().values().to_vec();
    (0..list.len()).map(row).collect()
}

/// The vectors of `texts`, each alone.
fn expected(texts: &[String]) -> Vec<Vec<f32>> {
    let options = method().options;
    let inputs: Vec<Input<'_>> =
        texts.iter().map(|text| Input::new(text).options(options.clone())).collect();
    let embedded = MODEL.embed(&inputs).expect("vectors");
    embedded.into_iter().flat_map(|one| one.vectors).collect()
}

fn texts(count: usize) -> Vec<String> {
    (0..count)
        .map(|n| format!("The keeper counted {n} boats, \"all\" back.\nThen {}.", n * n))
        .collect()
}

/// The same rows in every format.
fn write_inputs(folder: &Path, texts: &[String]) -> Vec<PathBuf> {
    let mut csv = String::from("id,text,lang\n");
    let mut jsonl = String::new();
    for (id, text) in texts.iter().enumerate() {
        csv += &format!("{id},\"{}\",en\n", text.replace('"', "\"\""));
        jsonl += &format!("{}\n", serde_json::json!({"id": id, "text": text, "lang": "en"}));
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(jsonl.as_bytes()).expect("gzip");
    let zstd = zstd::encode_all(csv.as_bytes(), 0).expect("zstd");
    let files = [
        ("a.csv", csv.into_bytes()),
        ("b.jsonl", jsonl.into_bytes()),
        ("c.jsonl.gz", gzip.finish().expect("gzip")),
        ("d.csv.zst", zstd),
    ];
    let mut paths: Vec<PathBuf> = files
        .into_iter()
        .map(|(name, content)| {
            fs::write(folder.join(name), content).expect("a file");
            folder.join(name)
        })
        .collect();
    let path = folder.join("e.parquet");
    write_parquet(&path, texts, 7);
    paths.push(path);
    paths
}

fn write_parquet(path: &Path, texts: &[String], group_rows: usize) {
    let ids = (0..texts.len() as i64).collect::<Vec<_>>();
    let columns: [(&str, ArrayRef); 4] = [
        ("at", Arc::new(TimestampNanosecondArray::from(ids.clone()))),
        ("id", Arc::new(Int64Array::from(ids.clone()))),
        ("lang", Arc::new(StringArray::from(vec!["en"; texts.len()]))),
        ("text", Arc::new(StringArray::from(texts.to_vec()))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let properties =
        WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let file = File::create(path).expect("a file");
    let mut writer =
        ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("rows");
    writer.close().expect("a file");
}

#[test]
fn every_format_gives_the_vectors_of_the_engine_with_ids_and_kept_columns() {
    let folder = TempDir::new().expect("a folder");
    let (texts, output) = (texts(20), folder.path().join("out"));
    write_inputs(folder.path(), &texts);
    let expected = expected(&texts);
    let results = run(&job(&output), &folder.path().join("?.*"));
    assert_eq!(results.len(), 5);
    for result in &results {
        let manifest = manifest(result);
        assert_eq!((manifest.rows, manifest.vectors, manifest.failed), (20, 20, 0));
        let table = table(&output.join(&manifest.shard.output));
        assert!(vectors(&table) == expected, "{}", manifest.shard.output);
        let id = table.column_by_name("id").expect("ids");
        let id = match id.data_type() {
            DataType::Int64 => id.as_primitive::<Int64Type>().value(19).to_string(),
            _ => id.as_string::<i32>().value(19).to_owned(),
        };
        assert_eq!(id, "19");
        assert_eq!(table.column_by_name("lang").expect("kept").as_string::<i32>().value(3), "en");
        assert_eq!(table.num_columns(), 3, "{:?}", names(&table));
    }
    let all = Columns { keep: Keep::All, ..columns() };
    let output = folder.path().join("all");
    run(&job_with(&output, all, method(), VectorType::F32), &folder.path().join("e.parquet"));
    let table = table(&output.join("e.parquet"));
    assert_eq!(names(&table), ["at", "id", "lang", "text", "embedding"]);
    let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
    assert_eq!(*table.column(0).data_type(), nanoseconds);
}

#[test]
fn a_large_file_is_cut_into_parts_that_have_every_row_once() {
    let folder = TempDir::new().expect("a folder");
    let texts = texts(100);
    let expected = expected(&texts);
    write_inputs(folder.path(), &texts);
    for (name, bytes) in [("b.jsonl", 777), ("e.parquet", 700)] {
        let output = folder.path().join(format!("out-{name}"));
        let mut job = job(&output);
        job.shard_bytes = bytes;
        let results = run(&job, &folder.path().join(name));
        assert!(results.len() > 5, "{name}: {}", results.len());
        let read = |result: &ShardResult| table(&output.join(&manifest(result).shard.output));
        let tables: Vec<RecordBatch> = results.iter().map(read).collect();
        let found = tables.iter().flat_map(vectors).collect::<Vec<_>>();
        assert!(found == expected, "{name}: {} rows", found.len());
        let ids = tables.iter().flat_map(|table| {
            table.column_by_name("id").expect("ids").as_primitive::<Int64Type>().values().to_vec()
        });
        assert!(ids.eq(0..100), "{name}");
        // With other parts, the files of the former ones do not stay.
        job.shard_bytes *= 3;
        let fewer = run(&job, &folder.path().join(name));
        let count = || fs::read_dir(&output).expect("the output").count() - 1;
        assert!(fewer.len() < results.len() && count() == fewer.len(), "{name}: {}", count());
    }
}

#[test]
fn what_is_finished_is_not_embedded_again_until_its_input_changes() {
    let folder = TempDir::new().expect("a folder");
    let output = folder.path().join("out");
    write_inputs(folder.path(), &texts(5));
    let pattern = folder.path().join("[ab].*");
    let is_now = |result: &ShardResult| matches!(result, ShardResult::Now(_));
    assert!(run(&job(&output), &pattern).iter().all(is_now));
    let again = run(&job(&output), &pattern);
    assert!(again.iter().all(|result| matches!(result, ShardResult::Before(_))), "{again:?}");

    fs::write(folder.path().join("a.csv"), "id,text,lang\n7,other,de\n").expect("a file");
    assert_eq!(run(&job(&output), &pattern).iter().map(is_now).collect::<Vec<_>>(), [true, false]);
    assert_eq!(table(&output.join("a.csv.parquet")).num_rows(), 1);

    fs::remove_file(output.join("b.jsonl.parquet")).expect("the file");
    assert_eq!(run(&job(&output), &pattern).iter().map(is_now).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn vectors_of_other_settings_are_not_mixed() {
    let folder = TempDir::new().expect("a folder");
    let output = folder.path().join("out");
    write_inputs(folder.path(), &texts(3));
    let pattern = folder.path().join("a.csv");
    run(&job(&output), &pattern);
    let mut other = method();
    other.options.dimensions = Some(32);
    let job = job_with(&output, columns(), other, VectorType::F32);
    let shards = job.shards(&matching(&[pattern.display().to_string()]).expect("files"));
    let error = job.prepare(&shards.expect("shards")).expect_err("other settings").to_string();
    assert!(error.ends_with("out has vectors with dimensions null, not 32"), "{error}");
}

#[test]
fn a_run_that_stops_anywhere_is_continued_to_the_same_bytes() {
    let folder = TempDir::new().expect("a folder");
    write_parquet(&folder.path().join("e.parquet"), &texts(700), 100);
    let (whole, output) = (folder.path().join("whole"), folder.path().join("out"));
    run(&job(&whole), &folder.path().join("e.parquet"));
    let job = job(&output);
    let shard = &shards(&job, &folder.path().join("e.parquet"))[0];
    for blocks in 0..3 {
        let mut left = blocks;
        let mut stop = |_: Progress| {
            left -= 1;
            left >= 0
        };
        let stopped = job.run(shard, &MODEL, &mut stop).expect_err("it stopped");
        assert!(matches!(stopped, Error::Stopped), "{stopped}");
        assert!(!output.join("e.parquet").exists(), "a part of it appeared");
        assert!(!output.join(FOLDER).join("e.partial").exists(), "a part of it was left");
    }
    run_one(&job, shard).expect("it runs");
    let read = |folder: &Path| fs::read(folder.join("e.parquet")).expect("the output");
    assert!(read(&whole) == read(&output));
}

#[test]
fn a_shard_that_another_process_works_on_is_left_to_it() {
    let folder = TempDir::new().expect("a folder");
    let output = folder.path().join("out");
    write_inputs(folder.path(), &texts(3));
    let job = job(&output);
    let shard = shards(&job, &folder.path().join("a.csv")).remove(0);
    let lock = File::create(output.join(FOLDER).join("a.csv.lock")).expect("a file");
    lock.lock().expect("a lock");
    assert_eq!(run_one(&job, &shard).expect("it is left"), ShardResult::Elsewhere);
    drop(lock);
    assert!(matches!(run_one(&job, &shard).expect("it runs"), ShardResult::Now(_)));
}

#[test]
fn rows_that_cannot_be_embedded_are_listed_and_the_others_are_written() {
    let folder = TempDir::new().expect("a folder");
    let output = folder.path().join("out");
    let long = "word ".repeat(9000);
    let lines = [
        r#"{"id": 1, "text": "fine"}"#.to_owned(),
        r#"{"id": 2}"#.to_owned(),
        "not JSON".to_owned(),
        String::new(),
        format!(r#"{{"id": 5, "text": "{long}"}}"#),
        r#"{"id": 6, "text": 7}"#.to_owned(),
        r#"{"id": 7, "text": "also fine", "lang": "en"}"#.to_owned(),
    ];
    fs::write(folder.path().join("a.jsonl"), lines.join("\n")).expect("a file");
    fs::write(folder.path().join("b.csv"), "id,text,lang\n1,a,en\n2,b,en,more\n3\n")
        .expect("a file");
    let results = run(&job(&output), &folder.path().join("*.*"));
    let counts = |index: usize| {
        let manifest = manifest(&results[index]);
        (manifest.rows, manifest.vectors, manifest.failed)
    };
    assert_eq!((counts(0), counts(1)), ((6, 2, 4), (3, 1, 2)));
    let failed = |name: &str| {
        fs::read_to_string(output.join(FOLDER).join(name)).expect("the rows that failed")
    };
    let of_lines = failed("a.jsonl.failed.jsonl");
    for part in [
        r#"{"at":"line 2","id":"2","document":null,"reason":"it has no text"}"#,
        r#""at":"line 3","id":null,"document":null,"reason":"it is not a JSON object: "#,
        r#""at":"line 5","id":"5","document":null,"reason":"it has 27002 tokens; the limit of the model is 8192"}"#,
        r#""at":"line 6","id":"6","document":null,"reason":"its text is not a string""#,
    ] {
        assert!(of_lines.contains(part), "{part}: {of_lines}");
    }
    let of_table = failed("b.csv.failed.jsonl");
    assert!(of_table.contains("it has 4 fields, and the header has 3"), "{of_table}");
    assert!(of_table.contains(r#""at":"line 4","id":"3""#), "{of_table}");
    assert_eq!(vectors(&table(&output.join("a.jsonl.parquet"))).len(), 2);
}

#[test]
fn rows_of_a_document_are_pooled_from_one_pass() {
    let folder = TempDir::new().expect("a folder");
    let output = folder.path().join("out");
    let parts = ["Berlin is large.", "It has parks.", "Paris is old.", "Alone."];
    let content =
        format!("text,doc\n{},a\n{},a\n{},b\n{},c\n", parts[0], parts[1], parts[2], parts[3]);
    fs::write(folder.path().join("a.csv"), content).expect("a file");
    let columns =
        Columns { document: Some("doc".to_owned()), keep: Keep::Named(vec![]), ..columns() };
    let late = Method { late: true, ..method() };
    run(&job_with(&output, columns, late, VectorType::F32), &folder.path().join("a.csv"));
    let table = table(&output.join("a.csv.parquet"));
    assert_eq!(names(&table), ["doc", "embedding"]);
    let documents = [&parts[..2], &parts[2..3], &parts[3..]];
    let inputs = documents.map(|parts| Input::late_parts(parts).options(method().options));
    let embedded = MODEL.embed(&inputs).expect("vectors");
    let expected: Vec<Vec<f32>> = embedded.into_iter().flat_map(|one| one.vectors).collect();
    assert!(vectors(&table) == expected);
}

#[test]
fn chunks_have_their_offsets_and_texts() {
    let folder = TempDir::new().expect("a folder");
    let text = "Größe zählt. It is old. The end.";
    fs::write(folder.path().join("a.jsonl"), format!("{{\"id\": 1, \"text\": \"{text}\"}}\n"))
        .expect("a file");
    let chunks = MODEL.chunk(text, Chunking::Sentences(1)).expect("chunks");
    for late in [false, true] {
        let output = folder.path().join(format!("out-{late}"));
        let method = Method { chunking: Some(Chunking::Sentences(1)), late, ..method() };
        let columns = Columns { keep: Keep::Named(vec![]), ..columns() };
        run(
            &job_with(&output, columns, method.clone(), VectorType::F32),
            &folder.path().join("a.jsonl"),
        );
        let table = table(&output.join("a.jsonl.parquet"));
        let expected = ["id", "chunk", "chunk_start", "chunk_end", "chunk_text", "embedding"];
        assert_eq!(names(&table), expected);
        let number = |name: &str, row: usize| {
            let column = table.column_by_name(name).expect("a column");
            column.as_primitive::<UInt32Type>().value(row) as usize
        };
        for (row, chunk) in chunks.iter().enumerate() {
            assert_eq!(number("chunk", row), row);
            let bytes = number("chunk_start", row)..number("chunk_end", row);
            assert_eq!(bytes, chunk.bytes);
            assert_eq!(table.column(4).as_string::<i32>().value(row), &text[bytes]);
        }
        let inputs: Vec<Input<'_>> = match late {
            true => vec![Input::late(text, &chunks)],
            false => chunks.iter().map(|chunk| Input::new(&text[chunk.bytes.clone()])).collect(),
        };
        let inputs: Vec<Input<'_>> =
            inputs.into_iter().map(|input| input.options(method.options.clone())).collect();
        let embedded = MODEL.embed(&inputs).expect("vectors");
        let expected: Vec<Vec<f32>> = embedded.into_iter().flat_map(|one| one.vectors).collect();
        assert!(vectors(&table) == expected, "late: {late}");
    }
}

#[test]
fn bytes_have_their_scales_beside_them() {
    let folder = TempDir::new().expect("a folder");
    let (output, texts) = (folder.path().join("out"), texts(3));
    write_inputs(folder.path(), &texts);
    run(&job_with(&output, columns(), method(), VectorType::Int8), &folder.path().join("b.jsonl"));
    let table = table(&output.join("b.jsonl.parquet"));
    assert_eq!(names(&table), ["id", "lang", "embedding", "embedding_scale"]);
    let list = table.column(2).as_fixed_size_list();
    let scales = table.column(3).as_primitive::<Float32Type>();
    for (row, vector) in expected(&texts).iter().enumerate() {
        let bytes = list.value(row);
        let bytes = bytes.as_primitive::<Int8Type>().values();
        let back = bytes.iter().map(|byte| f32::from(*byte) * scales.value(row));
        assert!(back.zip(vector).all(|(a, b)| (a - b).abs() <= scales.value(row)));
    }
}

#[test]
fn columns_of_jsonl_have_the_types_of_their_values() {
    let folder = TempDir::new().expect("a folder");
    let output = folder.path().join("out");
    let lines = "{\"text\": \"a\", \"n\": 1, \"x\": 1, \"big\": 123456789012345678901, \"tags\": [\"b\"]}\n\
                 {\"text\": \"b\", \"x\": 2.5, \"ok\": true, \"n\": null}\n";
    fs::write(folder.path().join("a.jsonl"), lines).expect("a file");
    let all = Columns { keep: Keep::All, ..columns() };
    run(&job_with(&output, all, method(), VectorType::F32), &folder.path().join("a.jsonl"));
    let table = table(&output.join("a.jsonl.parquet"));
    assert_eq!(names(&table), ["text", "n", "x", "big", "tags", "ok", "embedding"]);
    assert_eq!(table.column(1).as_primitive::<Int64Type>(), &Int64Array::from(vec![Some(1), None]));
    let x = Float64Array::from(vec![1.0, 2.5]);
    assert_eq!(table.column(2).as_ref(), &x as &dyn Array);
    assert_eq!(table.column(3).as_string::<i32>().value(0), "123456789012345678901");
    assert_eq!(table.column(4).as_string::<i32>().value(0), "[\"b\"]");
    assert!(table.column(5).as_boolean().value(1) && table.column(5).is_null(0));
}

#[test]
fn damaged_files_are_errors_that_name_them() {
    let folder = TempDir::new().expect("a folder");
    let output = folder.path().join("out");
    for (name, content) in [
        ("a.parquet", b"PAR1 and no more".as_slice()),
        ("b.csv", b"id,text\n1,\"never closed\n2,b\n"),
        ("c.csv", b"id,text\n1,caf\xe9\n"),
        ("d.csv", b"id,title\n1,a\n"),
        ("e.jsonl", b""),
    ] {
        fs::write(folder.path().join(name), content).expect("a file");
        let job =
            job_with(&output, Columns { keep: Keep::All, ..columns() }, method(), VectorType::F32);
        let shard = shards(&job, &folder.path().join(name)).remove(0);
        let error = run_one(&job, &shard).expect_err(name).to_string();
        assert!(error.contains(name), "{error}");
        assert_eq!(fs::read_dir(&output).expect("the output").count(), 1, "{error}");
    }
}
