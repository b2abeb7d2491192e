//! A request between submission and answer.

use crate::embedded::Embedded;
use crate::error::Result;
use crate::finish;
use crate::request::{PassIndex, Request};
use crate::schedule::RequestSums;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Receives the answer, once.
pub(super) type Callback = Box<dyn FnOnce(Result<Vec<Embedded>>) + Send>;

/// An accepted request.
pub(super) struct Pending {
    pub(super) request: Request,
    pub(super) client: String,
    /// Index of its lane.
    pub(super) lane: usize,
    pub(super) tokens: usize,
    pub(super) submitted: Instant,
    started: AtomicBool,
    work: Mutex<Work>,
}

struct Work {
    sums: RequestSums,
    /// Passes that have not run.
    remaining: usize,
    /// `None` once the request is answered or cancelled.
    callback: Option<Callback>,
}

/// One pass of a request; `None` if the request has nothing to run and only needs an answer.
pub(super) struct Job {
    pub(super) pending: Arc<Pending>,
    pub(super) pass: Option<PassIndex>,
}

impl Pending {
    /// A pending request, and its jobs with the tokens of each.
    pub(super) fn new(
        request: Request,
        client: &str,
        lane: usize,
        callback: Callback,
    ) -> (Arc<Self>, Vec<(usize, Job)>) {
        let mut passes: Vec<_> = request.pass_indices().map(Some).collect();
        if passes.is_empty() {
            passes.push(None);
        }
        let sums = RequestSums::new(&request);
        let work = Work { sums, remaining: passes.len(), callback: Some(callback) };
        let pending = Arc::new(Self {
            client: client.to_owned(),
            lane,
            tokens: request.tokens(),
            request,
            submitted: Instant::now(),
            started: AtomicBool::new(false),
            work: Mutex::new(work),
        });
        let job = |pass| {
            let job = Job { pending: Arc::clone(&pending), pass };
            (job.tokens(), job)
        };
        let jobs = passes.into_iter().map(job).collect();
        (pending, jobs)
    }

    /// Marks the request as started. Returns whether this is the first call.
    pub(super) fn start(&self) -> bool {
        !self.started.swap(true, Ordering::Relaxed)
    }

    /// Whether the request was answered or cancelled.
    pub(super) fn is_over(&self) -> bool {
        self.lock().callback.is_none()
    }

    /// The callback: the right to answer the request or to leave it unanswered. Only one caller
    /// gets it.
    pub(super) fn take_callback(&self) -> Option<Callback> {
        self.lock().callback.take()
    }

    /// Adds the sums of a pass: one of `rows` for each span that it overlaps.
    pub(super) fn add<'a>(&self, pass: PassIndex, rows: &mut impl Iterator<Item = &'a [f32]>) {
        self.lock().sums.add(&self.request, pass, rows);
    }

    /// Counts a pass that has run. Returns the result after the last pass.
    pub(super) fn pass_done(&self) -> Option<Vec<Embedded>> {
        let mut work = self.lock();
        work.remaining -= 1;
        let sums = (work.remaining == 0).then(|| std::mem::take(&mut work.sums))?;
        drop(work);
        Some(finish::embedded(&self.request, sums))
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    /// Tokens of its pass.
    pub(super) fn tokens(&self) -> usize {
        self.pass.map_or(0, |pass| self.pending.request.pass(pass).1.run.len())
    }
}
