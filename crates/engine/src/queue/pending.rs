//! A request between its submission and its answer.

use crate::error::Result;
use crate::finish;
use crate::prepare::{Place, Request};
use crate::request::Embedded;
use crate::schedule::Sums;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Told the answer, once.
pub(super) type Done = Box<dyn FnOnce(Result<Vec<Embedded>>) + Send>;

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
    sums: Sums,
    /// Passes that have not run.
    remaining: usize,
    /// `None` once the request is answered or cancelled.
    done: Option<Done>,
}

/// One pass of a request; `None` where a request has nothing to run, and is only to be answered.
pub(super) struct Job {
    pub(super) pending: Arc<Pending>,
    pub(super) place: Option<Place>,
}

impl Pending {
    /// With its jobs and their tokens.
    pub(super) fn new(
        request: Request,
        client: &str,
        lane: usize,
        done: Done,
    ) -> (Arc<Self>, Vec<(usize, Job)>) {
        let mut places: Vec<_> = request.places().map(Some).collect();
        if places.is_empty() {
            places.push(None);
        }
        let sums = Sums::new(&request);
        let work = Work { sums, remaining: places.len(), done: Some(done) };
        let pending = Arc::new(Self {
            client: client.to_owned(),
            lane,
            tokens: request.tokens(),
            request,
            submitted: Instant::now(),
            started: AtomicBool::new(false),
            work: Mutex::new(work),
        });
        let job = |place| {
            let job = Job { pending: Arc::clone(&pending), place };
            (job.tokens(), job)
        };
        let jobs = places.into_iter().map(job).collect();
        (pending, jobs)
    }

    /// Whether this is the first call.
    pub(super) fn start(&self) -> bool {
        !self.started.swap(true, Ordering::Relaxed)
    }

    /// Whether nobody waits for it: answered or cancelled.
    pub(super) fn is_over(&self) -> bool {
        self.lock().done.is_none()
    }

    /// The right to answer it or to leave it unanswered. Only one caller gets it.
    pub(super) fn take_done(&self) -> Option<Done> {
        self.lock().done.take()
    }

    /// Adds what a pass holds of each span: takes as many of `parts`.
    pub(super) fn add<'a>(&self, place: Place, parts: &mut impl Iterator<Item = &'a [f32]>) {
        self.lock().sums.add(&self.request, place, parts);
    }

    /// Counts a pass that has run. After the last one, the result.
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
        self.place.map_or(0, |place| self.pending.request.pass(place).1.run.len())
    }
}
