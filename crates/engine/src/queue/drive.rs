//! The thread of a lane: takes batches, runs them, answers.

use super::pending::{Job, Pending};
use super::state::Shared;
use super::{LANES, Observer};
use crate::error::{Error, Result};
use crate::prepare::Place;
use crate::request::Embedded;
use crate::schedule::{Parts, Passes};
use kokeshi_model::Turn;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// Runs a lane until the queue ends; then refuses what is left.
pub(super) fn drive(shared: &Shared, lane: usize) {
    let lane = Driver { shared, lane };
    while shared.wait_for_work(lane.lane) {
        // The batch is put together when it may run, so that it takes in what came meanwhile.
        lane.run_batch(shared.model.forward().turn(LANES[lane.lane].priority));
    }
    loop {
        let jobs = shared.take_batch(lane.lane);
        shared.end_batch(lane.lane, jobs.iter().map(Job::tokens).sum(), 0);
        if jobs.is_empty() {
            break;
        }
        jobs.iter().for_each(|job| lane.answer(&job.pending, Err(Error::QueueClosed)));
    }
}

struct Driver<'a> {
    shared: &'a Shared,
    lane: usize,
}

/// What came of a forward pass.
enum Outcome {
    /// What [`Passes::run`] gave.
    Ran(Parts),
    /// Nobody waits for it any more, or the queue ends.
    Stopped,
    /// The device failed, or the pass panicked.
    Failed(String),
}

impl Driver<'_> {
    /// Runs the next batch; `turn` is the right to.
    fn run_batch(&self, turn: Option<Turn>) {
        let mut jobs = self.shared.take_batch(self.lane);
        let tokens = jobs.iter().map(Job::tokens).sum();
        self.note_starts(&jobs);
        match self.run(&jobs) {
            Outcome::Failed(reason) => {
                // Stable, so that windows of a document keep their order.
                jobs.sort_by_key(|job| Arc::as_ptr(&job.pending));
                let done = self.isolate(&jobs, reason);
                self.shared.end_batch(self.lane, tokens, done);
            }
            outcome => {
                // Others may have the cores while answers are made.
                drop(turn);
                let done = if matches!(outcome, Outcome::Ran(_)) { tokens } else { 0 };
                self.shared.end_batch(self.lane, tokens, done);
                self.finish(&jobs, outcome);
            }
        }
    }

    fn note_starts(&self, jobs: &[Job]) {
        for job in jobs.iter().filter(|job| job.pending.start()) {
            self.tell(|observer| observer.waited(job.pending.submitted.elapsed()));
        }
    }

    /// A mistake of the observer must not end the lane. The panic hook has reported it.
    fn tell(&self, what: impl Fn(&dyn Observer)) {
        if let Some(observer) = &self.shared.limits.observer {
            drop(catch_unwind(AssertUnwindSafe(|| what(&**observer))));
        }
    }

    /// Runs the requests of a batch that failed each alone, and fails those that fail again: one
    /// bad request harms nobody else. `jobs` are sorted by request. Tokens that ran.
    fn isolate(&self, jobs: &[Job], reason: String) -> usize {
        let requests: Vec<&[Job]> =
            jobs.chunk_by(|a, b| Arc::ptr_eq(&a.pending, &b.pending)).collect();
        if let [alone] = requests[..] {
            return self.finish(alone, Outcome::Failed(reason));
        }
        requests.into_iter().map(|request| self.finish(request, self.run(request))).sum()
    }

    /// One forward pass over `jobs`.
    fn run(&self, jobs: &[Job]) -> Outcome {
        let (mut passes, mut running) = (Passes::default(), Vec::new());
        for (job, place) in placed(jobs) {
            passes.push(&job.pending.request, place);
            running.push(&job.pending);
        }
        if running.is_empty() {
            return Outcome::Ran(Parts::default());
        }
        let mut go_on =
            || self.shared.goes_on(self.lane) && running.iter().any(|pending| !pending.is_over());
        let start = Instant::now();
        let run = || passes.run(self.shared.model.forward(), &mut go_on);
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(Some(parts))) => {
                let time = start.elapsed();
                self.tell(|observer| observer.ran(passes.tokens(), running.len(), time));
                Outcome::Ran(parts)
            }
            Ok(Ok(None)) => Outcome::Stopped,
            Ok(Err(error)) => Outcome::Failed(error.to_string()),
            Err(panic) => Outcome::Failed(reason(&*panic)),
        }
    }

    /// Takes in what came of `jobs`, and answers the requests that are complete. Tokens that ran.
    fn finish(&self, jobs: &[Job], outcome: Outcome) -> usize {
        let fail = |error: &dyn Fn() -> Error| {
            jobs.iter().for_each(|job| self.answer(&job.pending, Err(error())));
            0
        };
        let parts = match outcome {
            Outcome::Ran(parts) => parts,
            // Those that still wait do so because the queue ends.
            Outcome::Stopped => return fail(&|| Error::QueueClosed),
            Outcome::Failed(reason) => {
                return fail(&|| Error::Panicked { reason: reason.clone() });
            }
        };
        let mut parts = parts.rows();
        for (job, place) in placed(jobs) {
            job.pending.add(place, &mut parts);
        }
        for job in jobs {
            if let Some(embedded) = job.pending.pass_done() {
                self.answer(&job.pending, Ok(embedded));
            }
        }
        jobs.iter().map(Job::tokens).sum()
    }

    /// Answers a request, unless that has happened or nobody waits for it.
    fn answer(&self, pending: &Arc<Pending>, result: Result<Vec<Embedded>>) {
        let Some(done) = pending.take_done() else { return };
        self.shared.release(pending);
        // A caller's mistake must not end the lane. The panic hook has reported it.
        drop(catch_unwind(AssertUnwindSafe(|| done(result))));
        self.shared.settle(pending);
    }
}

/// The jobs that have something to run.
fn placed(jobs: &[Job]) -> impl Iterator<Item = (&Job, Place)> {
    jobs.iter().filter_map(|job| job.place.map(|place| (job, place)))
}

/// What a panic says.
fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}
