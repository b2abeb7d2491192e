//! Latency of a short query while long documents run without pause.
//!
//! `cargo run --release -p kokeshi --example short_behind_long -- FOLDER [f32|bf16]` prints the
//! latency of a query of 16 tokens alone and behind documents of 8192 tokens, the speed of a list
//! of texts without and with concurrent queries, and whether the bound is met: p95 behind documents
//! at most 400 ms above the median alone. It fails if it is not. `kokeshi models synthesize FOLDER`
//! creates a checkpoint of the released shape.

#![expect(clippy::print_stdout, reason = "prints its measurements")]

use kokeshi::{
    Device, Embedded, Error, Input, LoadOptions, Model, Precision, Queue, QueueLimits, Ticket,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

const QUERY_TOKENS: usize = 16;
const DOCUMENT_TOKENS: usize = 8192;
/// Texts of a list that takes longer than a query but less time than a document.
const LIST: [usize; 5] = [512; 5];
/// Accepted delay behind documents.
const BOUND: Duration = Duration::from_millis(400);
/// Number of queries timed alone.
const ALONE: usize = 30;
/// How long queries run behind documents.
const BEHIND: Duration = Duration::from_secs(40);
/// Time between an answer and the next query.
const PAUSE: Duration = Duration::from_millis(100);

type Answer = Result<Vec<Embedded>, Error>;

struct Bench {
    model: Arc<Model>,
    queue: Queue,
    query: Vec<String>,
}

impl Bench {
    fn open(folder: &str, precision: Precision) -> Result<Self, Error> {
        let device = Device::Cpu { threads: None, level: None, precision: Some(precision) };
        let options = LoadOptions { device };
        let model = Arc::new(Model::open(Path::new(folder), &options)?);
        let queue = Queue::start(Arc::clone(&model), QueueLimits::default())?;
        Ok(Self { query: texts(&model, &[QUERY_TOKENS])?, model, queue })
    }

    fn submit(&self, texts: &[String], client: &str) -> Result<(Ticket, Receiver<Answer>), Error> {
        let inputs: Vec<_> = texts.iter().map(|text| Input::new(text)).collect();
        let (answer, answers) = mpsc::channel();
        let done = move |result| drop(answer.send(result));
        Ok((self.queue.submit(self.model.prepare(&inputs)?, client, done)?, answers))
    }

    /// Seconds to embed `texts`.
    fn seconds(&self, texts: &[String], client: &str) -> Result<f64, Error> {
        let start = Instant::now();
        let (ticket, answers) = self.submit(texts, client)?;
        answers.recv().map_err(|_| Error::QueueClosed)??;
        drop(ticket);
        Ok(start.elapsed().as_secs_f64())
    }

    /// Ascending seconds of consecutive queries until `done`.
    fn queries(&self, done: impl Fn() -> bool) -> Result<Vec<f64>, Error> {
        let mut seconds = Vec::new();
        while !done() {
            thread::sleep(PAUSE);
            seconds.push(self.seconds(&self.query, "queries")?);
        }
        seconds.sort_by(f64::total_cmp);
        Ok(seconds)
    }

    /// Ascending seconds of queries while documents run without pause.
    fn queries_behind_documents(&self) -> Result<Vec<f64>, Error> {
        let tokens = DOCUMENT_TOKENS.min(self.model.config().max_tokens);
        let document = texts(&self.model, &[tokens])?;
        let documents = (0..20).map(|_| self.submit(&document, "documents"));
        let documents = documents.collect::<Result<Vec<_>, _>>()?;
        let start = Instant::now();
        let queries = self.queries(|| start.elapsed() > BEHIND)?;
        // If the last document has finished, documents did not run all the time.
        let finished = documents.last().is_none_or(|(_, answers)| answers.try_recv().is_ok());
        if finished {
            Err(Error::Options("the documents finished before the queries".into()))
        } else {
            Ok(queries)
        }
    }

    /// Seconds of a list while queries run.
    fn list_with_queries(&self, list: &[String]) -> Result<f64, Error> {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let queries = scope.spawn(|| self.queries(|| done.load(Ordering::Relaxed)));
            let seconds = self.seconds(list, "list");
            done.store(true, Ordering::Relaxed);
            queries.join().map_err(|_| Error::QueueClosed)??;
            seconds
        })
    }
}

/// Texts with these lengths in tokens.
fn texts(model: &Model, lengths: &[usize]) -> Result<Vec<String>, Error> {
    let count = |text: &str| model.prepare(&[Input::new(text)]).map(|request| request.tokens());
    let special_tokens = count("")?;
    let text = |&tokens: &usize| {
        let text = vec!["a"; tokens - special_tokens].join(" ");
        match count(&text)? {
            got if got == tokens => Ok(text),
            got => Err(Error::Options(format!("a text of {got} tokens, not {tokens}"))),
        }
    };
    lengths.iter().map(text).collect()
}

/// The percentile `share`, in 0..=1, of `times`, which ascend.
fn percentile(times: &[f64], share: f64) -> f64 {
    times[((times.len() - 1) as f64 * share).ceil() as usize]
}

fn print_times(name: &str, times: &[f64]) {
    let [p50, p95, max] = [0.5, 0.95, 1.0].map(|share| 1e3 * percentile(times, share));
    let count = times.len();
    println!("{name:<22} p50 {p50:6.0} ms   p95 {p95:6.0} ms   max {max:6.0} ms   ({count})");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: short_behind_long FOLDER [f32|bf16]")?;
    let precision = match arguments.next().as_deref() {
        Some("bf16") => Precision::Bf16,
        _ => Precision::F32,
    };
    let bench = Bench::open(&folder, precision)?;
    bench.seconds(&bench.query, "warm-up")?;
    let answered = AtomicUsize::new(0);
    let alone = bench.queries(|| answered.fetch_add(1, Ordering::Relaxed) == ALONE)?;
    print_times("query alone", &alone);
    let behind = bench.queries_behind_documents()?;
    print_times("query behind documents", &behind);

    let list = texts(&bench.model, &LIST)?;
    let speed = |seconds: f64| LIST.iter().sum::<usize>() as f64 / seconds;
    println!("list alone          {:6.0} tokens/s", speed(bench.seconds(&list, "list")?));
    println!("list with queries   {:6.0} tokens/s", speed(bench.list_with_queries(&list)?));
    let allowed = percentile(&alone, 0.5) + BOUND.as_secs_f64();
    let met = percentile(&behind, 0.95) <= allowed;
    let verdict = if met { "met" } else { "missed" };
    println!("bound: p95 at most {:.0} ms: {verdict}", 1e3 * allowed);
    if met { Ok(()) } else { Err("the bound is missed".into()) }
}
