//! Times search over many vectors, exact and by short list, cold and warm, and compares it with
//! sqlite-vec or the ANN index on the same rows in the same run. Prints one JSON object.
//!
//! ```sh
//! cargo run --release -p kokeshi-store --features ann --example search_speed -- \
//!     FOLDER [NAME=VALUE…]
//! ```
//!
//! | name | default | |
//! |---|---|---|
//! | `rows` | 1000000 | number of vectors |
//! | `dimensions` | 1024 | dimensions of each |
//! | `data` | `topics` | how they are generated: see [`Kind`] |
//! | `codes` | `bits` | codes of the short list |
//! | `peer` | `yes` | whether sqlite-vec runs as well |
//! | `near` | `no` | whether the ANN index is built and searched as well |
//!
//! FOLDER keeps the stores between runs (2.5 GB and 4.2 GB for 1,000,000 × 1024). A query is a
//! stored vector plus noise of half its length.

#![expect(clippy::print_stdout, reason = "a result for programs")]
#![expect(unsafe_code, reason = "sqlite-vec is registered by its C entry point")]

use kokeshi_kernels::median;
use kokeshi_kernels::random::Random;
use kokeshi_store::{
    Chunk, ChunkLocation, Codes, Document, Filter, Hit, Provenance, Query, Source as _, Sqlite,
    Storage, Store,
};
use rusqlite::{Connection, params};
use serde_json::{Map, Value, json};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Queries per measurement.
const QUERIES: u64 = 20;
/// Queries of sqlite-vec, each of which takes about a second. The first one reads the file and is
/// not counted.
const PEER_QUERIES: usize = 4;
/// Chunks of a document.
const CHUNKS: u64 = 1000;
const TOPICS: u64 = 1000;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;
/// The numbers of the rows that a query found, best first.
type RowNumbers = Vec<u64>;

fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    std::fs::create_dir_all(&options.folder)?;
    let Options { data, rows, codes, .. } = options;
    let (kind, width) = (data.kind.name(), data.width);
    let name = format!("{kind}-{}-{rows}x{width}.db", codes.to_string().replace(':', "-"));
    let path = options.folder.join(name);
    // Removes the index of an earlier run: search without it is measured first.
    let _ = std::fs::remove_dir_all(path.with_extension("db.near"));
    let build = build(&path, &data, rows, codes)?;
    let queries: Vec<Vec<f32>> = (0..QUERIES).map(|query| data.query(query, rows)).collect();
    let (exact, exact_found) = time_searches(&path, &queries, true)?;
    let (listed, listed_found) = time_searches(&path, &queries, false)?;
    let mut answer = json!({
        "rows": rows, "dimensions": width, "data": kind, "codes": codes.to_string(),
        "build_s": build, "bytes": std::fs::metadata(&path)?.len(),
        "exact": exact, "short_list": listed, "recall_10": recall(&exact_found, &listed_found),
    });
    if options.near {
        let built = Sqlite::open(&path)?.build_ann("bench", &|_| true)?;
        let (times, found) = time_searches(&path, &queries, false)?;
        answer["near"] = json!({
            "times": times, "recall_10": recall(&exact_found, &found), "build_s": built.seconds,
            "bytes": built.bytes, "own_queries": built.queries, "own_recall_10": built.recall,
        });
    }
    if options.peer {
        let path = options.folder.join(format!("sqlite-vec-{kind}-{rows}x{width}.db"));
        let (median, found) = sqlite_vec(&path, &data, rows, &queries)?;
        // Half precision may exchange rows only if their scores are nearly equal.
        let agree = recall(&found, &exact_found);
        if agree < 0.99 {
            return Err(
                format!("kokeshi finds only {agree} of the rows that sqlite-vec finds").into()
            );
        }
        answer["sqlite_vec"] = json!({ "median_ms": median, "same_rows": agree });
    }
    println!("{answer}");
    Ok(())
}

/// The share of the rows in `wanted` that are also in `found`.
fn recall(wanted: &[RowNumbers], found: &[RowNumbers]) -> f64 {
    let pairs = || wanted.iter().zip(found);
    let hits =
        pairs().map(|(wanted, found)| wanted.iter().filter(|row| found.contains(row)).count());
    hits.sum::<usize>() as f64 / pairs().map(|(wanted, _)| wanted.len()).sum::<usize>() as f64
}

struct Options {
    folder: PathBuf,
    rows: u64,
    data: Data,
    codes: Codes,
    peer: bool,
    near: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let folder = arguments.next().ok_or("usage: search_speed FOLDER [NAME=VALUE…]")?.into();
        let data = Data { kind: Kind::Topics, width: 1024 };
        let codes = "bits".parse()?;
        let mut options = Self { folder, rows: 1_000_000, data, codes, peer: true, near: false };
        for argument in arguments {
            match argument.split_once('=').ok_or("an option has the form NAME=VALUE")? {
                ("rows", value) => options.rows = value.parse()?,
                ("dimensions", value) => options.data.width = value.parse()?,
                ("data", value) => options.data.kind = Kind::parse(value)?,
                ("codes", value) => options.codes = value.parse()?,
                ("peer", value) => options.peer = value == "yes",
                ("near", value) => options.near = value == "yes",
                (name, _) => return Err(format!("unknown option `{name}`").into()),
            }
        }
        Ok(options)
    }
}

/// How vectors are generated.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Around 1,000 topics; topics and deviations are smaller in later dimensions, like those of a
    /// Matryoshka model.
    Topics,
    /// All dimensions alike and no two rows related: the hardest case for a short list.
    Even,
}

impl Kind {
    fn name(self) -> &'static str {
        if self == Self::Topics { "topics" } else { "even" }
    }

    fn parse(name: &str) -> Result<Self> {
        let known = [Self::Topics, Self::Even].into_iter().find(|kind| kind.name() == name);
        Ok(known.ok_or("`data` is `topics` or `even`")?)
    }
}

/// Generated vectors: the same row number always gives the same vector.
#[derive(Clone, Copy)]
struct Data {
    kind: Kind,
    width: usize,
}

impl Data {
    fn row(&self, row: u64) -> Vec<f32> {
        let own = self.noise(row);
        if self.kind == Kind::Even {
            return unit(own);
        }
        let topic = self.noise(0x7000_0000 + row % TOPICS);
        unit(topic.iter().zip(own).map(|(topic, own)| topic + own).collect())
    }

    fn query(&self, number: u64, rows: u64) -> Vec<f32> {
        let noise = self.noise(0x9000_0000 + number);
        let near = self.row(number.wrapping_mul(0x9E37_79B9) % rows);
        let scale = 0.5 / noise.iter().map(|x| x * x).sum::<f32>().sqrt();
        unit(near.iter().zip(noise).map(|(x, noise)| x + scale * noise).collect())
    }

    /// Sums of four uniform numbers, nearly normal.
    fn noise(&self, seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed);
        let decay = if self.kind == Kind::Topics { 0.3 } else { 0.0 };
        let draw = |dimension: usize| {
            let bits = random.next_u64();
            let sum: u64 = (0..4).map(|part| bits >> (16 * part) & 0xffff).sum();
            (sum as f32 - 131_070.0) / 65_536.0 / (1.0 + dimension as f32).powf(decay)
        };
        (0..self.width).map(draw).collect()
    }
}

fn unit(vector: Vec<f32>) -> Vec<f32> {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.into_iter().map(|x| x / norm).collect()
}

/// Writes the rows that the store lacks, and returns how many seconds that took.
fn build(path: &Path, data: &Data, rows: u64, codes: Codes) -> Result<f64> {
    let mut store = Sqlite::create(path)?;
    if store.collection("bench")?.is_none() {
        let provenance = Provenance {
            model: "generated".to_owned(),
            revision: "1".to_owned(),
            passage_task: None,
            query_task: None,
            dimensions: data.width,
            normalized: true,
            chunking: "none".to_owned(),
            late: false,
            storage: Storage::F16,
            codes: Some(codes),
        };
        store.create("bench", &provenance)?;
    }
    let start = Instant::now();
    let existing = store.count("bench")?.chunks as u64;
    for first in (existing..rows).step_by(CHUNKS as usize) {
        let chunk = |row: u64| Chunk {
            location: ChunkLocation::default(),
            text: format!("row {row}"),
            metadata: Map::new(),
            vector: data.row(row),
        };
        let document = Document {
            path: format!("{first:012}"),
            hash: String::new(),
            modified: 0,
            size: 0,
            format: "text".to_owned(),
            metadata: Map::new(),
            chunks: (first..rows.min(first + CHUNKS)).map(chunk).collect(),
        };
        store.upsert("bench", &[document])?;
    }
    store.checkpoint()?;
    Ok(start.elapsed().as_secs_f64())
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Milliseconds of the first search, of the second, and the median of later ones.
fn time_searches(
    path: &Path,
    queries: &[Vec<f32>],
    exact: bool,
) -> Result<(Value, Vec<RowNumbers>)> {
    let filter = Filter::default();
    // Opening the store counts towards the first search.
    let start = Instant::now();
    let store = Sqlite::open(path)?;
    let search = |vector: &[f32]| -> Result<RowNumbers> {
        let query = Query { vector, words: None, limit: 10, filter: &filter, exact };
        let row = |hit: &Hit| Ok(hit.text[4..].parse()?);
        store.search("bench", &query)?.iter().map(row).collect()
    };
    let once = search(&queries[0])?;
    let first = milliseconds(start);
    let start = Instant::now();
    if search(&queries[0])? != once {
        return Err("the second search differs from the first".into());
    }
    let second = milliseconds(start);
    let (mut found, mut times) = (Vec::new(), Vec::new());
    for query in queries {
        let start = Instant::now();
        found.push(search(query)?);
        times.push(milliseconds(start));
    }
    let times = json!({ "first_ms": first, "second_ms": second, "median_ms": median(&times) });
    Ok((times, found))
}

/// Median milliseconds of an exact search by cosine with sqlite-vec, and the rows it found.
fn sqlite_vec(
    path: &Path,
    data: &Data,
    rows: u64,
    queries: &[Vec<f32>],
) -> Result<(f64, Vec<RowNumbers>)> {
    type Entry = unsafe extern "C" fn(
        *mut rusqlite::ffi::sqlite3,
        *mut *mut std::ffi::c_char,
        *const rusqlite::ffi::sqlite3_api_routines,
    ) -> std::ffi::c_int;
    // SAFETY: the function is the entry point of an SQLite extension, which has this type; the
    // crate declares it without arguments.
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
    let existing: u64 = connection.query_row("SELECT count(*) FROM v_rowids", [], |row| {
        row.get::<_, i64>(0).map(i64::cast_unsigned)
    })?;
    connection.execute_batch("BEGIN")?;
    for row in existing..rows {
        let sql = "INSERT INTO v (rowid, e) VALUES (?1, ?2)";
        let id = row.cast_signed();
        connection.prepare_cached(sql)?.execute(params![id, bytes(&data.row(row))])?;
    }
    connection.execute_batch("COMMIT")?;
    let sql = "SELECT rowid FROM v WHERE e MATCH ?1 AND k = 10 ORDER BY distance";
    let mut statement = connection.prepare(sql)?;
    let (mut times, mut rows) = (Vec::new(), Vec::new());
    for query in &queries[..PEER_QUERIES] {
        let start = Instant::now();
        let found = statement.query_map([bytes(query)], |row| row.get::<_, u64>(0))?;
        rows.push(found.collect::<Result<RowNumbers, _>>()?);
        times.push(milliseconds(start));
    }
    Ok((median(&times.split_off(1)), rows))
}
