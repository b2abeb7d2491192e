//! Progress: on a terminal a line at its bottom, elsewhere a line of text every half minute.

mod estimate;
mod line;

use crate::layout::counted;
use crate::printer::{Printer, ProgressStyle};
use crate::status_line::StatusLine;
use crate::visible::visible;
use estimate::Estimate;
use line::Snapshot;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Time before anything is shown: shorter work needs no progress.
const PATIENCE: Duration = Duration::from_secs(1);
/// Time between two drawings on a terminal, and between two lines elsewhere.
const REDRAW: Duration = Duration::from_millis(200);
const LOG: Duration = Duration::from_secs(30);
/// Columns if the terminal does not report its width.
const DEFAULT_WIDTH: usize = 80;

/// What is known about some work. A thread shows it.
#[derive(Debug)]
struct State {
    /// The whole work in any unit, if known.
    total: Option<u64>,
    done: u64,
    /// Facts, the most important first.
    facts: Vec<String>,
    estimate: Estimate,
    start: Instant,
    is_over: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    over: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `time` or until the work is over; `None` in the latter case.
    fn wait(&self, time: Duration) -> Option<Snapshot> {
        let waited = self.over.wait_timeout_while(self.lock(), time, |state| !state.is_over);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (!state.is_over).then(|| state.snapshot())
    }
}

impl State {
    fn snapshot(&self) -> Snapshot {
        let total = self.total.filter(|total| *total > 0);
        Snapshot {
            share: total.map(|total| (self.done as f64 / total as f64).min(1.0)),
            facts: self.facts.clone(),
            elapsed: self.start.elapsed(),
            left: total.and_then(|total| self.estimate.left(total.saturating_sub(self.done))),
        }
    }
}

/// The progress of some work, shown until it is dropped.
pub(crate) struct Progress {
    shared: Arc<Shared>,
    line: StatusLine,
    shower: Option<JoinHandle<()>>,
}

impl Progress {
    /// `total` is the whole work in any unit, if it is known in advance.
    pub(crate) fn new(total: Option<u64>, printer: &Printer) -> Self {
        Self::logging(total, printer, LOG, io::stderr())
    }

    /// As [`Self::new`], with the time between two lines of text, and where these go.
    fn logging(
        total: Option<u64>,
        printer: &Printer,
        pause: Duration,
        to: impl Write + Send + 'static,
    ) -> Self {
        let (facts, estimate) = (Vec::new(), Estimate::default());
        let state =
            State { total, done: 0, facts, estimate, start: Instant::now(), is_over: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), over: Condvar::new() });
        let (to_show, line, blocks) = (Arc::clone(&shared), printer.line.clone(), printer.blocks);
        let shower = match printer.progress {
            ProgressStyle::Line => Some(thread::spawn(move || draw(&to_show, &line, blocks))),
            ProgressStyle::Log => Some(thread::spawn(move || log(&to_show, pause, to))),
            ProgressStyle::Off => None,
        };
        Self { shared, line: printer.line.clone(), shower }
    }

    /// Says what is going on, instead of what was said before.
    pub(crate) fn say(&self, what: impl Into<String>) {
        self.shared.lock().facts = vec![what.into()];
    }

    /// Sets the whole work; another amount than before is another work.
    pub(crate) fn set_total(&self, total: u64) {
        let mut state = self.shared.lock();
        if state.total != Some(total) {
            (state.total, state.estimate) = (Some(total), Estimate::default());
        }
    }

    /// Sets how much is done.
    pub(crate) fn set_done(&self, done: u64) {
        let mut state = self.shared.lock();
        let now = state.start.elapsed();
        state.estimate.set_done(done, now);
        state.done = done;
    }

    /// Adds work that is done.
    pub(crate) fn advance(&self, by: u64) {
        let done = self.shared.lock().done + by;
        self.set_done(done);
    }

    /// Takes out of the work what turned out to be none.
    fn skip(&self, amount: u64) {
        let mut state = self.shared.lock();
        state.total = state.total.map(|total| total.saturating_sub(amount));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.over.notify_all();
        if let Some(shower) = self.shower.take() {
            // A thread that panicked shows nothing more.
            let _ = shower.join();
        }
        self.line.clear();
    }
}

fn draw(shared: &Shared, line: &StatusLine, blocks: bool) {
    let mut pause = PATIENCE;
    while let Some(snapshot) = shared.wait(pause) {
        pause = REDRAW;
        // The window may have another size than the last time.
        let size = terminal_size::terminal_size_of(io::stderr());
        let width = size.map_or(DEFAULT_WIDTH, |(width, _)| width.0.into());
        line.draw(&snapshot.line(width.saturating_sub(1), blocks), width);
    }
}

fn log(shared: &Shared, pause: Duration, mut to: impl Write) {
    while let Some(snapshot) = shared.wait(pause) {
        // If the stream is closed, there is nowhere to show it.
        let _ = writeln!(to, "{}", visible(&snapshot.text()));
    }
}

/// The progress of texts through a model: their number, tokens per second, and the remaining time
/// by the bytes of the input, the only measure of work that is known in advance.
pub(crate) struct Meter {
    progress: Progress,
    noun: &'static str,
    start: Instant,
    texts: usize,
    tokens: usize,
    bytes: u64,
}

impl Meter {
    /// `bytes` is the size of the input, if known; `noun` is what is counted, such as `text`.
    pub(crate) fn new(bytes: Option<u64>, noun: &'static str, printer: &Printer) -> Self {
        Self::of(Progress::new(bytes, printer), noun)
    }

    fn of(progress: Progress, noun: &'static str) -> Self {
        Self { progress, noun, start: Instant::now(), texts: 0, tokens: 0, bytes: 0 }
    }

    /// Shows the progress within the current block.
    pub(crate) fn show(&self, texts: usize, tokens: usize, bytes: u64) {
        let (texts, tokens) = (self.texts + texts, self.tokens + tokens);
        let speed = tokens as f64 / self.start.elapsed().as_secs_f64().max(1e-3);
        let facts = vec![counted(texts, self.noun), format!("{speed:.0} tokens/s")];
        self.progress.shared.lock().facts = facts;
        self.progress.set_done(self.bytes + bytes);
    }

    /// Adds a finished block. A block without texts and tokens was no work.
    pub(crate) fn advance(&mut self, texts: usize, tokens: usize, bytes: u64) {
        if (texts, tokens) == (0, 0) {
            return self.progress.skip(bytes);
        }
        self.show(texts, tokens, bytes);
        self.texts += texts;
        self.tokens += tokens;
        self.bytes += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that were written so far.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn all(&self) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().expect("no panic").clone()).expect("UTF-8");
            text.lines().map(str::to_owned).collect()
        }

        /// Waits until there are `count` lines.
        fn wait_for(&self, count: usize) {
            let start = Instant::now();
            while self.all().len() < count {
                assert!(start.elapsed() < Duration::from_secs(60), "{:?}", self.all());
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn printer(progress: ProgressStyle) -> Printer {
        let mut printer = Printer::detect();
        printer.progress = progress;
        printer
    }

    #[test]
    fn without_a_terminal_a_line_is_written_after_every_pause_until_the_work_is_over() {
        assert_eq!(LOG, Duration::from_secs(30));
        let (lines, pause) = (Lines::default(), Duration::from_millis(20));
        let start = Instant::now();
        let log = printer(ProgressStyle::Log);
        let progress = Progress::logging(Some(200), &log, pause, lines.clone());
        let mut meter = Meter::of(progress, "text");
        meter.advance(1, 50, 100);
        lines.wait_for(2);
        assert!(start.elapsed() >= 2 * pause, "two pauses");
        meter.advance(2, 50, 50);
        lines.wait_for(lines.all().len() + 2);
        drop(meter);
        let written = lines.all();
        assert!(written[0].starts_with("50 %, 1 text, "), "{written:?}");
        assert!(written[0].ends_with(" tokens/s"), "{written:?}");
        assert!(written.last().is_some_and(|last| last.starts_with("75 %, 3 texts, ")));
        thread::sleep(3 * pause);
        assert_eq!(lines.all(), written, "the work is over");
    }

    #[test]
    fn nothing_is_written_before_the_first_pause_is_over_nor_if_it_is_not_wanted() {
        for (style, pause) in
            [(ProgressStyle::Log, LOG), (ProgressStyle::Off, Duration::from_millis(1))]
        {
            let lines = Lines::default();
            let progress = Progress::logging(None, &printer(style), pause, lines.clone());
            let mut meter = Meter::of(progress, "text");
            meter.advance(1, 50, 100);
            thread::sleep(Duration::from_millis(30));
            drop(meter);
            assert_eq!(lines.all(), [""; 0], "{style:?}");
        }
    }
}
