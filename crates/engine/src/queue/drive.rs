//! The thread of a lane: takes batches, runs them, answers.

use super::LANES;
use super::pending::{Job, Pending};
use super::state::Shared;
use crate::error::{Error, Result};
use crate::request::Embedded;
use crate::schedule::Passes;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// Runs a lane until the queue ends; then refuses what is left.
pub(super) fn drive(shared: &Shared, lane: usize) {
    let lane = Driver { shared, lane };
    while shared.wait_for_work(lane.lane) {
        // The batch is put together when it may run, so that it takes in what came meanwhile.
        let turn = shared.model.forward().turn(LANES[lane.lane].priority);
        lane.run_batch();
        drop(turn);
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
    Ran,
    /// Nobody waits for it any more, or the queue ends.
    Stopped,
    Panicked(String),
}

impl Driver<'_> {
    fn run_batch(&self) {
        let mut jobs = self.shared.take_batch(self.lane);
        let tokens = jobs.iter().map(Job::tokens).sum();
        self.note_starts(&jobs);
        let done = match self.run(&jobs) {
            Outcome::Ran => tokens,
            Outcome::Stopped => 0,
            Outcome::Panicked(reason) => {
                // Stable, so that windows of a document keep their order.
                jobs.sort_by_key(|job| Arc::as_ptr(&job.pending));
                self.isolate(&jobs, &reason)
            }
        };
        self.shared.end_batch(self.lane, tokens, done);
    }

    fn note_starts(&self, jobs: &[Job]) {
        let Some(observer) = &self.shared.limits.observer else { return };
        for job in jobs.iter().filter(|job| job.pending.start()) {
            observer.waited(job.pending.submitted.elapsed());
        }
    }

    /// Runs the requests of a batch that failed each alone, and fails those that fail again: one
    /// bad request harms nobody else. `jobs` are sorted by request. Tokens that ran.
    fn isolate(&self, jobs: &[Job], reason: &str) -> usize {
        let requests: Vec<&[Job]> =
            jobs.chunk_by(|a, b| Arc::ptr_eq(&a.pending, &b.pending)).collect();
        let fail = |jobs: &[Job], reason: &str| {
            let error = Error::Panicked { reason: reason.to_owned() };
            self.answer(&jobs[0].pending, Err(error));
            0
        };
        if let [alone] = requests[..] {
            return fail(alone, reason);
        }
        let run = |jobs: &[Job]| match self.run(jobs) {
            Outcome::Ran => jobs.iter().map(Job::tokens).sum(),
            Outcome::Stopped => 0,
            Outcome::Panicked(reason) => fail(jobs, &reason),
        };
        requests.into_iter().map(run).sum()
    }

    /// One forward pass over `jobs`, and the answers that it completes.
    fn run(&self, jobs: &[Job]) -> Outcome {
        let forward = self.shared.model.forward();
        let mut passes = Passes::default();
        let mut running = Vec::new();
        for job in jobs {
            if let Some(place) = job.place {
                passes.push(&job.pending.request, place);
                running.push((&job.pending, place));
            }
        }
        let start = Instant::now();
        let mut go_on = || {
            self.shared.goes_on(self.lane) && running.iter().any(|(pending, _)| !pending.is_over())
        };
        if !running.is_empty() {
            let ran = catch_unwind(AssertUnwindSafe(|| passes.run(forward, &mut go_on)));
            let parts = match ran {
                Ok(Some(parts)) => parts,
                Ok(None) => return self.stop(jobs),
                Err(panic) => return Outcome::Panicked(reason(&*panic)),
            };
            passes.each(&parts, |number, span, part| {
                let (pending, place) = running[number];
                pending.add(place, span, part);
            });
        }
        if let Some(observer) = &self.shared.limits.observer {
            observer.ran(passes.tokens(), running.len(), start.elapsed());
        }
        for job in jobs {
            if let Some(embedded) = job.pending.pass_done(forward.config().hidden) {
                self.answer(&job.pending, Ok(embedded));
            }
        }
        Outcome::Ran
    }

    /// Answers those that still wait: they do only if the queue ends.
    fn stop(&self, jobs: &[Job]) -> Outcome {
        jobs.iter().for_each(|job| self.answer(&job.pending, Err(Error::QueueClosed)));
        Outcome::Stopped
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

/// What a panic says.
fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}
