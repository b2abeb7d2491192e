//! How long a short query takes while long documents run without pause.
//!
//! `cargo run --release -p kokeshi --example short_behind_long -- FOLDER [f32|bf16]` prints
//! the latency of a query of 16 tokens alone and behind documents of 8192, the speed of the documents
//! without and with queries, and whether the bar is held: p95 behind documents no more than 400 ms
//! above the median alone. It ends with an error where it is not.
//! `kokeshi models synthesize FOLDER` makes a checkpoint of the released shape.

#![expect(clippy::print_stdout, reason = "it prints what it measures")]

use kokeshi::{Device, Error, Input, LoadOptions, Model, Options, Precision, Queue, QueueLimits};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const QUERY_TOKENS: usize = 16;
const DOCUMENT_TOKENS: usize = 8192;
const BAR: Duration = Duration::from_millis(400);
/// Queries that are timed alone.
const ALONE: usize = 30;
/// Between an answer and the next query.
const PAUSE: Duration = Duration::from_millis(100);

/// A model, its queue, and texts of the lengths that are measured.
struct Bench {
    model: Arc<Model>,
    queue: Queue,
    query: String,
    document: String,
}

impl Bench {
    fn open(folder: &str, precision: Precision) -> Result<Self, Error> {
        let options = LoadOptions { device: Device::Cpu { threads: None, level: None, precision } };
        let model = Arc::new(Model::open(Path::new(folder), &options)?);
        let queue = Queue::start(Arc::clone(&model), QueueLimits::default())?;
        let query = text(&model, QUERY_TOKENS)?;
        let document = text(&model, DOCUMENT_TOKENS.min(model.config().max_tokens))?;
        Ok(Self { model, queue, query, document })
    }

    /// Seconds from the text to its vector.
    fn seconds(&self, text: &str, client: &str) -> Result<f64, Error> {
        let start = Instant::now();
        let options = Options { truncate: true, ..Options::default() };
        let request = self.model.prepare(&[Input::new(text).options(options)])?;
        let (answer, answers) = mpsc::channel();
        let ticket = self.queue.submit(request, client, move |result| drop(answer.send(result)))?;
        answers.recv().map_err(|_| Error::QueueClosed)??;
        drop(ticket);
        Ok(start.elapsed().as_secs_f64())
    }

    /// Seconds of a document, and of the queries that ran beside it.
    fn document_with_queries(&self) -> Result<(f64, Vec<f64>), Error> {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let document = scope.spawn(|| {
                let seconds = self.seconds(&self.document, "documents");
                done.store(true, Ordering::Relaxed);
                seconds
            });
            let mut queries = Vec::new();
            thread::sleep(PAUSE);
            while !done.load(Ordering::Relaxed) {
                queries.push(self.seconds(&self.query, "queries")?);
                thread::sleep(PAUSE);
            }
            let document = document.join().map_err(|_| Error::QueueClosed)??;
            Ok((document, queries))
        })
    }
}

/// A text of `tokens` tokens, or of more for long ones, which are truncated.
fn text(model: &Model, tokens: usize) -> Result<String, Error> {
    let mut text = String::from("a");
    while model.prepare(&[Input::new(&text)]).is_ok_and(|request| request.tokens() < tokens) {
        let words = if tokens > 1000 { " and so on and on".repeat(500) } else { " b".to_owned() };
        text.push_str(&words);
    }
    Ok(text)
}

/// The value that a share of all does not exceed; `times` are sorted.
fn percentile(times: &[f64], share: f64) -> f64 {
    times[((times.len() - 1) as f64 * share).ceil() as usize]
}

fn print_times(name: &str, times: &[f64]) {
    let [p50, p95, max] = [0.5, 0.95, 1.0].map(|share| 1e3 * percentile(times, share));
    let count = times.len();
    println!("{name:<34} p50 {p50:6.0} ms   p95 {p95:6.0} ms   max {max:6.0} ms   ({count})");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("name a checkpoint folder")?;
    let precision = match arguments.next().as_deref() {
        Some("bf16") => Precision::Bf16,
        _ => Precision::F32,
    };
    let bench = Bench::open(&folder, precision)?;
    bench.seconds(&bench.query, "warm-up")?;
    let alone = (0..ALONE).map(|_| bench.seconds(&bench.query, "queries"));
    let mut alone = alone.collect::<Result<Vec<_>, _>>()?;
    alone.sort_by(f64::total_cmp);
    print_times("query alone", &alone);

    let undisturbed = bench.seconds(&bench.document, "documents")?;
    let (disturbed, mut behind) = bench.document_with_queries()?;
    behind.sort_by(f64::total_cmp);
    if behind.is_empty() {
        return Err("the document was over before a query began".into());
    }
    print_times("query behind a document", &behind);
    let speed = |seconds: f64| DOCUMENT_TOKENS as f64 / seconds;
    println!("document alone                     {:6.0} tokens/s", speed(undisturbed));
    println!("document with queries              {:6.0} tokens/s", speed(disturbed));
    let allowed = percentile(&alone, 0.5) + BAR.as_secs_f64();
    let held = percentile(&behind, 0.95) <= allowed;
    println!("bar: p95 at most {:.0} ms: {}", 1e3 * allowed, if held { "held" } else { "missed" });
    if held { Ok(()) } else { Err("the bar is missed".into()) }
}
