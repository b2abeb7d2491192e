//! The queue of a model: requests of many clients share its forward passes.
//!
//! A request waits in one of three lanes, by the tokens that it takes in all. Each lane has a thread
//! and a priority; a pass of a higher lane interrupts those of lower ones at the next task of a
//! kernel, so that a short query does not wait for a long document. Within a lane clients take
//! turns, and passes of many requests, of any task and length, run as one batch.

mod drive;
mod lane;
mod pending;
mod rate;
mod state;

use crate::error::{Error, Result};
use crate::model::Model;
use crate::prepare::Request;
use crate::request::Embedded;
use crate::schedule::BATCH_TOKENS;
use kokeshi_model::Priority;
use pending::Pending;
use state::Shared;
use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A lane of the queue.
#[derive(Clone, Copy, Debug)]
struct LaneKind {
    /// The longest request that it takes, in tokens.
    request_tokens: usize,
    /// Tokens of a batch.
    batch_tokens: usize,
    priority: Priority,
}

/// A request takes the first lane that it fits. A short lane has short batches, so that who comes
/// next does not wait long either.
const LANES: [LaneKind; 3] = [
    LaneKind { request_tokens: 128, batch_tokens: 512, priority: Priority::Urgent },
    LaneKind { request_tokens: 2048, batch_tokens: 2048, priority: Priority::Normal },
    LaneKind { request_tokens: usize::MAX, batch_tokens: BATCH_TOKENS, priority: Priority::Bulk },
];

/// What a queue accepts, and whom it tells.
#[derive(Clone, Debug)]
pub struct QueueLimits {
    /// The queue is full while the requests that it has accepted and not yet answered have this
    /// many tokens or more. Any request is accepted before, whatever its size: a list is treated
    /// as a single text is. A client that has less than an even share of it is accepted beyond.
    pub waiting_tokens: usize,
    /// Told how long requests wait and passes take.
    pub observer: Option<Arc<dyn Observer>>,
}

impl Default for QueueLimits {
    /// 32 documents of 8192 tokens.
    fn default() -> Self {
        Self { waiting_tokens: 32 * 8192, observer: None }
    }
}

/// Is told what happens in a queue, from its threads, which wait for it.
pub trait Observer: fmt::Debug + Send + Sync {
    /// A request's first pass begins, `wait` after its submission.
    fn waited(&self, wait: Duration);

    /// A batch of `sequences` with `tokens` in all has run, in `time`, interruptions included.
    fn ran(&self, tokens: usize, sequences: usize, time: Duration);
}

/// What a queue is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueStats {
    /// Requests that were accepted and not yet answered.
    pub requests: usize,
    /// Their tokens: what [`QueueLimits::waiting_tokens`] limits.
    pub tokens: usize,
    /// Tokens of passes that have not begun.
    pub waiting_tokens: usize,
    /// Tokens of the batches in flight.
    pub running_tokens: usize,
    /// Batches that have run.
    pub batches: u64,
    /// Tokens a second of late, while there was work; `None` before the first batch.
    pub tokens_per_second: Option<f64>,
    /// How long the slowest lane that has work has not come to the end of a layer; `None` without
    /// work. Far more than a batch's share of time means that a thread is stuck.
    pub stalled: Option<Duration>,
}

/// A model's queue. Its threads end when it is dropped; what has not run then is refused.
///
/// ```
/// use kokeshi::{Input, LoadOptions, Model, Queue, QueueLimits};
/// use std::sync::{Arc, mpsc};
///
/// let model = Arc::new(Model::starter(&LoadOptions::default())?);
/// let queue = Queue::start(Arc::clone(&model), QueueLimits::default())?;
/// let request = model.prepare(&[Input::new("How do I charge it?").task("retrieval.query")])?;
/// let (answer, answers) = mpsc::channel();
/// let ticket = queue.submit(request, "a client", move |result| drop(answer.send(result)))?;
/// let embedded = answers.recv().expect("an answer")?;
/// assert_eq!(embedded[0].vectors.len(), 1);
/// drop(ticket);
/// # Ok::<(), kokeshi::Error>(())
/// ```
pub struct Queue {
    shared: Arc<Shared>,
    lanes: Vec<JoinHandle<()>>,
}

/// An accepted request. Dropping it before the answer cancels the request: it is not answered, and
/// what has not run of it does not run.
#[must_use = "dropping a ticket cancels its request"]
pub struct Ticket {
    shared: Arc<Shared>,
    pending: Arc<Pending>,
}

impl Queue {
    /// Starts the threads of a queue for `model`.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread.
    pub fn start(model: Arc<Model>, limits: QueueLimits) -> Result<Self> {
        let shared = Arc::new(Shared::new(model, limits));
        let mut queue = Self { shared, lanes: Vec::new() };
        for (lane, kind) in LANES.iter().enumerate() {
            let shared = Arc::clone(&queue.shared);
            let name = format!("kokeshi-{:?}", kind.priority).to_lowercase();
            let thread = thread::Builder::new().name(name);
            let thread = thread.spawn(move || drive::drive(&shared, lane));
            queue.lanes.push(thread.map_err(Error::Thread)?);
        }
        Ok(queue)
    }

    /// Accepts a request of this queue's model, or refuses it at once. `client` is the key of
    /// fairness: clients share a lane evenly.
    ///
    /// `done` is called once, from a thread of the queue, which waits for it: it must be short.
    ///
    /// # Errors
    ///
    /// [`Error::QueueFull`] or, after [`Self::drain`], [`Error::QueueClosed`].
    pub fn submit(
        &self,
        request: Request,
        client: &str,
        done: impl FnOnce(Result<Vec<Embedded>>) + Send + 'static,
    ) -> Result<Ticket> {
        let tokens = request.tokens();
        let fits = |lane: &LaneKind| tokens <= lane.request_tokens;
        let lane = LANES.iter().position(fits).unwrap_or(LANES.len() - 1);
        let (pending, jobs) = Pending::new(request, client, lane, Box::new(done));
        self.shared.admit(&pending, jobs)?;
        Ok(Ticket { shared: Arc::clone(&self.shared), pending })
    }

    /// What [`Self::submit`] would say to a request of `client` now, without one: asked before the
    /// work of preparing it, so that a refusal costs next to nothing.
    ///
    /// # Errors
    ///
    /// Those of [`Self::submit`].
    pub fn check_room(&self, client: &str) -> Result<()> {
        self.shared.check_room(client)
    }

    /// What the queue is doing now.
    pub fn stats(&self) -> QueueStats {
        self.shared.stats()
    }

    /// Refuses new requests, and waits until the accepted ones are answered, but not longer than
    /// `deadline`. Whether all are.
    pub fn drain(&self, deadline: Duration) -> bool {
        self.shared.close();
        self.shared.wait_until_settled(deadline)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.shared.end();
        for lane in self.lanes.drain(..) {
            // A callback may hold the last handle of the queue; its thread cannot wait for itself.
            if lane.thread().id() != thread::current().id() {
                drop(lane.join());
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(done) = self.pending.take_done() {
            self.shared.release(&self.pending);
            self.shared.settle(&self.pending);
            drop(done);
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("tokens", &self.pending.tokens).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
