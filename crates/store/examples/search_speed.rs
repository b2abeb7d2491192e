//! Search over many vectors: exact and by short list, warm and first after a start, beside sqlite-vec
//! on the same rows in the same run.
//!
//! `cargo run --release -p kokeshi-store --example search_speed -- FOLDER [ROWS] [DIMENSIONS]`
//!
//! FOLDER keeps the stores between runs (about 2.5 GB and 4.2 GB for 1,000,000 × 1024). The vectors
//! are drawn: 1,000 topics, and a deviation from them that falls with the dimension, as the
//! dimensions of a Matryoshka model do. A query is a stored vector with as much noise again.

#![expect(clippy::print_stdout, reason = "a table for people")]
#![expect(unsafe_code, reason = "sqlite-vec is registered by its C entry point")]

use kokeshi_store::{Chunk, Document, Filter, Place, Provenance, Query, Sqlite, Storage, Store};
use rusqlite::{Connection, params};
use std::collections::HashSet;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

/// Queries of each measurement.
const QUERIES: u64 = 20;
/// Chunks of a document.
const CHUNKS: u64 = 1000;
const TOPICS: u64 = 1000;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("say in which folder the stores may lie")?;
    let folder = Path::new(&folder);
    let number = |text: Option<String>, default: u64| {
        text.map_or(Ok(default), |text| text.parse().map_err(|_| "ROWS and DIMENSIONS are numbers"))
    };
    let rows = number(arguments.next(), 1_000_000)?;
    let width = number(arguments.next(), 1024)? as usize;
    std::fs::create_dir_all(folder)?;
    println!("{rows} vectors of {width} dimensions");
    let data = Data { width };
    let path = folder.join(format!("kokeshi-{rows}x{width}.db"));
    build(&path, &data, rows)?;
    let queries: Vec<Vec<f32>> = (0..QUERIES).map(|query| data.query(query, rows)).collect();
    let exact = ours(&path, &queries, true)?;
    let listed = ours(&path, &queries, false)?;
    let found = |(exact, listed): (&Vec<u64>, &Vec<u64>)| {
        let exact: HashSet<&u64> = exact.iter().collect();
        listed.iter().filter(|row| exact.contains(row)).count()
    };
    let found: usize = exact.found.iter().zip(&listed.found).map(found).sum();
    println!("recall@10 of the short list  {:.4}", found as f64 / (10 * QUERIES) as f64);
    let theirs =
        sqlite_vec(&folder.join(format!("sqlite-vec-{rows}x{width}.db")), &data, rows, &queries)?;
    println!("sqlite-vec / exact scan      {:.1}", theirs / exact.median);
    Ok(())
}

/// Drawn vectors: the same number always gives the same one.
struct Data {
    width: usize,
}

impl Data {
    fn row(&self, row: u64) -> Vec<f32> {
        let topic = self.noise(0x7000_0000 + row % TOPICS);
        let own = self.noise(row);
        unit(topic.iter().zip(own).map(|(topic, own)| topic + own).collect())
    }

    fn query(&self, query: u64, rows: u64) -> Vec<f32> {
        let noise = self.noise(0x9000_0000 + query);
        let near = self.row(query.wrapping_mul(0x9E37_79B9) % rows);
        let scale = 0.5 / noise.iter().map(|x| x * x).sum::<f32>().sqrt();
        unit(near.iter().zip(noise).map(|(x, noise)| x + scale * noise).collect())
    }

    /// Sums of four uniform numbers, nearly normal, smaller in later dimensions.
    fn noise(&self, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let draw = |dimension: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let sum: u64 = (0..4).map(|part| state >> (16 * part) & 0xffff).sum();
            (sum as f32 - 131_070.0) / 65_536.0 / (1.0 + dimension as f32).powf(0.3)
        };
        (0..self.width).map(draw).collect()
    }
}

fn unit(vector: Vec<f32>) -> Vec<f32> {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.into_iter().map(|x| x / norm).collect()
}

/// Makes the store, if there is none of so many rows.
fn build(path: &Path, data: &Data, rows: u64) -> Result<()> {
    let mut store = Sqlite::create(path)?;
    if store.collection("bench")?.is_none() {
        let provenance = Provenance {
            model: "drawn".to_owned(),
            revision: "1".to_owned(),
            passage_task: None,
            query_task: None,
            dimensions: data.width,
            normalised: true,
            chunking: "none".to_owned(),
            late: false,
            storage: Storage::F16,
            codes: Some("bits".parse()?),
        };
        store.create("bench", &provenance)?;
    }
    let start = Instant::now();
    let have = store.count("bench")?.chunks as u64;
    for first in (have..rows).step_by(CHUNKS as usize) {
        let chunk = |row: u64| Chunk {
            place: Place::default(),
            text: format!("row {row}"),
            metadata: serde_json::Map::new(),
            vector: data.row(row),
        };
        let document = Document {
            path: format!("{first:012}"),
            hash: String::new(),
            modified: 0,
            size: 0,
            format: "text".to_owned(),
            metadata: serde_json::Map::new(),
            chunks: (first..rows.min(first + CHUNKS)).map(chunk).collect(),
        };
        store.upsert("bench", &[document])?;
    }
    store.checkpoint()?;
    if have < rows {
        println!("written in                   {:.0} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

struct Measured {
    /// Rows of each query.
    found: Vec<Vec<u64>>,
    /// Milliseconds.
    median: f64,
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn ours(path: &Path, queries: &[Vec<f32>], exact: bool) -> Result<Measured> {
    let name = if exact { "exact, f16" } else { "short list of bits" };
    let filter = Filter::default();
    // What a process does before its first search is a part of that.
    let start = Instant::now();
    let store = Sqlite::open(path)?;
    let search = |vector: &[f32]| {
        store.search("bench", &Query { vector, words: None, limit: 10, filter: &filter, exact })
    };
    search(&queries[0])?;
    println!("{name:<20} first   {:>8.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let (mut found, mut times) = (Vec::new(), Vec::new());
    for query in queries {
        let start = Instant::now();
        let hits = search(query)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        let row = |hit: &kokeshi_store::Hit| hit.text[4..].parse::<u64>();
        found.push(hits.iter().map(row).collect::<Result<_, _>>()?);
    }
    let median = median(times);
    println!("{name:<20} warm    {median:>8.1} ms");
    Ok(Measured { found, median })
}

/// Median milliseconds of an exact search by cosine.
fn sqlite_vec(path: &Path, data: &Data, rows: u64, queries: &[Vec<f32>]) -> Result<f64> {
    type Entry = unsafe extern "C" fn(
        *mut rusqlite::ffi::sqlite3,
        *mut *mut std::ffi::c_char,
        *const rusqlite::ffi::sqlite3_api_routines,
    ) -> std::ffi::c_int;
    // SAFETY: the function is the entry point of an SQLite extension, which has this type; the crate
    // declares it without arguments.
    let entry = unsafe {
        std::mem::transmute::<*const (), Entry>(sqlite_vec::sqlite3_vec_init as *const ())
    };
    // SAFETY: the entry point lives as long as the program.
    unsafe { rusqlite::ffi::sqlite3_auto_extension(Some(entry)) };
    let connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;")?;
    connection.execute_batch(&format!(
        "CREATE VIRTUAL TABLE IF NOT EXISTS v USING vec0(e float[{}] distance_metric=cosine)",
        data.width
    ))?;
    let bytes = |vector: &[f32]| vector.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let have: u64 = connection.query_row("SELECT count(*) FROM v_rowids", [], |row| {
        row.get::<_, i64>(0).map(i64::cast_unsigned)
    })?;
    connection.execute_batch("BEGIN")?;
    for row in have..rows {
        let sql = "INSERT INTO v (rowid, e) VALUES (?1, ?2)";
        let id = row.cast_signed();
        connection.prepare_cached(sql)?.execute(params![id, bytes(&data.row(row))])?;
    }
    connection.execute_batch("COMMIT")?;
    let sql = "SELECT rowid FROM v WHERE e MATCH ?1 AND k = 10 ORDER BY distance";
    let mut statement = connection.prepare(sql)?;
    let mut times = Vec::new();
    // The first one reads the file and does not count; three are enough of what takes seconds.
    for query in &queries[..4] {
        let start = Instant::now();
        let found = statement.query_map([bytes(query)], |row| row.get::<_, i64>(0))?;
        let found = found.collect::<Result<Vec<_>, _>>()?;
        assert_eq!(found.len(), 10, "sqlite-vec finds ten");
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let median = median(times.split_off(1));
    println!("{:<20} warm    {median:>8.1} ms", "sqlite-vec, f32");
    Ok(median)
}
