//! The thread of a lane: takes batches, runs them and answers their requests.

use super::pending::{Job, Pending};
use super::state::Shared;
use super::{LANES, Observer};
use crate::embedded::Embedded;
use crate::error::{Error, Result};
use crate::request::PassIndex;
use crate::schedule::{BatchSums, PassBatch};
use kokeshi_model::Turn;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// Runs a lane until the queue ends, then refuses the remaining requests.
pub(super) fn drive(shared: &Shared, lane: usize) {
    let driver = Driver { shared, lane };
    while shared.wait_for_work(lane) {
        // The batch is formed when it may run, so that it includes jobs that arrived by then.
        driver.run_batch(shared.model.forward().turn(LANES[lane].priority));
    }
    loop {
        let jobs = shared.take_batch(lane);
        shared.end_batch(lane, jobs.iter().map(Job::tokens).sum(), 0);
        if jobs.is_empty() {
            break;
        }
        jobs.iter().for_each(|job| driver.answer(&job.pending, Err(Error::QueueClosed)));
    }
}

struct Driver<'a> {
    shared: &'a Shared,
    lane: usize,
}

/// The result of a forward pass over a batch.
enum BatchResult {
    /// The pass ran to its end.
    Ran(BatchSums),
    /// The pass was stopped: every request was cancelled, or the queue is ending.
    Stopped,
    /// The device failed or the pass panicked; the message.
    Failed(String),
}

impl Driver<'_> {
    /// Runs the next batch; `turn` is the right to run it.
    fn run_batch(&self, turn: Option<Turn>) {
        let mut jobs = self.shared.take_batch(self.lane);
        let tokens = jobs.iter().map(Job::tokens).sum();
        self.report_waits(&jobs);
        match self.run(&jobs) {
            BatchResult::Failed(reason) => {
                // A stable sort keeps the order of a document's windows.
                jobs.sort_by_key(|job| Arc::as_ptr(&job.pending));
                let done = self.isolate(&jobs, reason);
                self.shared.end_batch(self.lane, tokens, done);
            }
            result => {
                // Other lanes may use the cores while requests are answered.
                drop(turn);
                let done = if matches!(result, BatchResult::Ran(_)) { tokens } else { 0 };
                self.shared.end_batch(self.lane, tokens, done);
                self.finish(&jobs, result);
            }
        }
    }

    /// Reports the waiting time of each request whose first pass begins.
    fn report_waits(&self, jobs: &[Job]) {
        for job in jobs.iter().filter(|job| job.pending.start()) {
            self.observe(|observer| observer.waited(job.pending.submitted.elapsed()));
        }
    }

    /// Calls `report` with the observer, if there is one. A panic of the observer must not end the
    /// lane; the panic hook has reported it.
    fn observe(&self, report: impl Fn(&dyn Observer)) {
        if let Some(observer) = &self.shared.limits.observer {
            drop(catch_unwind(AssertUnwindSafe(|| report(&**observer))));
        }
    }

    /// Runs each request of a failed batch alone and fails those that fail again, so that one bad
    /// request does not affect others. `jobs` are sorted by request. Returns the tokens that ran.
    fn isolate(&self, jobs: &[Job], reason: String) -> usize {
        let requests: Vec<&[Job]> =
            jobs.chunk_by(|a, b| Arc::ptr_eq(&a.pending, &b.pending)).collect();
        if let [alone] = requests[..] {
            return self.finish(alone, BatchResult::Failed(reason));
        }
        requests.into_iter().map(|request| self.finish(request, self.run(request))).sum()
    }

    /// One forward pass over `jobs`.
    fn run(&self, jobs: &[Job]) -> BatchResult {
        let (mut passes, mut running) = (PassBatch::default(), Vec::new());
        for (job, pass) in passes_of(jobs) {
            passes.push(&job.pending.request, pass);
            running.push(&job.pending);
        }
        if running.is_empty() {
            return BatchResult::Ran(BatchSums::default());
        }
        let mut keep_running = || {
            self.shared.keep_running(self.lane) && running.iter().any(|pending| !pending.is_over())
        };
        let start = Instant::now();
        let run = || passes.run(self.shared.model.forward(), &mut keep_running);
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(Some(sums))) => {
                let time = start.elapsed();
                self.observe(|observer| observer.ran(passes.tokens(), running.len(), time));
                BatchResult::Ran(sums)
            }
            Ok(Ok(None)) => BatchResult::Stopped,
            Ok(Err(error)) => BatchResult::Failed(error.to_string()),
            Err(panic) => BatchResult::Failed(panic_message(&*panic)),
        }
    }

    /// Applies `result` to `jobs` and answers the requests that are complete. Returns the tokens
    /// that ran.
    fn finish(&self, jobs: &[Job], result: BatchResult) -> usize {
        let fail = |error: &dyn Fn() -> Error| {
            jobs.iter().for_each(|job| self.answer(&job.pending, Err(error())));
            0
        };
        let sums = match result {
            BatchResult::Ran(sums) => sums,
            // Requests that were not cancelled stopped because the queue is ending.
            BatchResult::Stopped => return fail(&|| Error::QueueClosed),
            BatchResult::Failed(reason) => {
                return fail(&|| Error::Failed { reason: reason.clone() });
            }
        };
        let mut rows = sums.rows();
        for (job, pass) in passes_of(jobs) {
            job.pending.add(pass, &mut rows);
        }
        for job in jobs {
            if let Some(embedded) = job.pending.pass_done() {
                self.answer(&job.pending, Ok(embedded));
            }
        }
        jobs.iter().map(Job::tokens).sum()
    }

    /// Answers a request, unless it was answered before or cancelled.
    fn answer(&self, pending: &Arc<Pending>, result: Result<Vec<Embedded>>) {
        let Some(callback) = pending.take_callback() else { return };
        self.shared.release(pending);
        // A panic of the callback must not end the lane; the panic hook has reported it.
        drop(catch_unwind(AssertUnwindSafe(|| callback(result))));
        self.shared.settle(pending);
    }
}

/// The jobs that have a pass to run, with their passes.
fn passes_of(jobs: &[Job]) -> impl Iterator<Item = (&Job, PassIndex)> {
    jobs.iter().filter_map(|job| job.pass.map(|pass| (job, pass)))
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}
