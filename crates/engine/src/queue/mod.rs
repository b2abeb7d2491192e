//! The queue of a model: requests of many clients share its forward passes.
//!
//! A request waits in one of three lanes, chosen by its total number of tokens. Each lane has a
//! thread and a priority. A pass of a higher lane interrupts passes of lower lanes at the next task
//! of a kernel, so that a short query does not wait for a long document. Within a lane, clients
//! take turns, and passes of many requests, of any task and length, run as one batch.

mod drive;
mod lane;
mod pending;
mod rate;
mod state;

use crate::embedded::Embedded;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::request::Request;
use crate::schedule::BATCH_TOKENS;
use kokeshi_model::Priority;
use pending::Pending;
use state::Shared;
use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Configuration of a lane.
#[derive(Clone, Copy, Debug)]
struct LaneConfig {
    /// The longest request of the lane, in tokens.
    request_tokens: usize,
    /// Maximum number of tokens of a batch.
    batch_tokens: usize,
    priority: Priority,
}

/// A request waits in the first lane that it fits. A lane of short requests has short batches, so
/// that the next request does not wait long either.
const LANES: [LaneConfig; 3] = [
    LaneConfig { request_tokens: 128, batch_tokens: 512, priority: Priority::Urgent },
    LaneConfig { request_tokens: 2048, batch_tokens: 2048, priority: Priority::Normal },
    LaneConfig { request_tokens: usize::MAX, batch_tokens: BATCH_TOKENS, priority: Priority::Bulk },
];

/// Limits of a queue, and its observer.
#[derive(Clone, Debug)]
pub struct QueueLimits {
    /// The queue is full while its unanswered requests have this many tokens or more. Below that it
    /// accepts a request of any size: a list is treated like a single text. A client with less than
    /// an even share of the limit is accepted even when the queue is full.
    pub waiting_tokens: usize,
    /// Receives the waiting times of requests and the times of batches.
    pub observer: Option<Arc<dyn Observer>>,
}

impl Default for QueueLimits {
    /// 32 documents of 8192 tokens.
    fn default() -> Self {
        Self { waiting_tokens: 32 * 8192, observer: None }
    }
}

/// Observes a queue. Its methods run in the queue's threads, which wait for them.
pub trait Observer: fmt::Debug + Send + Sync {
    /// The first pass of a request begins, `wait` after its submission.
    fn waited(&self, wait: Duration);

    /// A batch of `sequences` sequences and `tokens` tokens has run in `time`, interruptions
    /// included.
    fn ran(&self, tokens: usize, sequences: usize, time: Duration);
}

/// The state of a queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueStats {
    /// Unanswered requests.
    pub requests: usize,
    /// Tokens of unanswered requests, which [`QueueLimits::waiting_tokens`] limits.
    pub tokens: usize,
    /// Tokens of passes that have not begun.
    pub waiting_tokens: usize,
    /// Tokens of the batches in flight.
    pub running_tokens: usize,
    /// Batches that have run.
    pub batches: u64,
    /// Recent tokens per second of busy time; `None` before the first batch.
    pub tokens_per_second: Option<f64>,
    /// Longest time since a lane with work last finished a layer; `None` without work. Far more
    /// than the time of a batch means that a thread is stuck.
    pub stalled: Option<Duration>,
}

/// A model's queue. Its threads end when it is dropped; requests that have not run are refused.
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

/// An accepted request. Dropping the ticket before the answer cancels the request: it is not
/// answered, and its remaining passes do not run.
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
        for (lane, config) in LANES.iter().enumerate() {
            let shared = Arc::clone(&queue.shared);
            let name = format!("kokeshi-{:?}", config.priority).to_lowercase();
            let thread = thread::Builder::new().name(name);
            let thread = thread.spawn(move || drive::drive(&shared, lane));
            queue.lanes.push(thread.map_err(Error::Thread)?);
        }
        Ok(queue)
    }

    /// Accepts a request prepared by this queue's model, or refuses it at once. Clients, identified
    /// by `client`, share a lane evenly.
    ///
    /// `callback` is called once, by a thread of the queue that waits for it: it must be short.
    ///
    /// # Errors
    ///
    /// [`Error::QueueFull`] or, after [`Self::drain`], [`Error::QueueClosed`].
    pub fn submit(
        &self,
        request: Request,
        client: &str,
        callback: impl FnOnce(Result<Vec<Embedded>>) + Send + 'static,
    ) -> Result<Ticket> {
        let tokens = request.tokens();
        let fits = |lane: &LaneConfig| tokens <= lane.request_tokens;
        let lane = LANES.iter().position(fits).unwrap_or(LANES.len() - 1);
        let (pending, jobs) = Pending::new(request, client, lane, Box::new(callback));
        self.shared.admit(&pending, jobs)?;
        Ok(Ticket { shared: Arc::clone(&self.shared), pending })
    }

    /// Checks whether [`Self::submit`] would accept a request of `client` now. Called before a
    /// request is prepared, it makes a refusal almost free.
    ///
    /// # Errors
    ///
    /// Those of [`Self::submit`].
    pub fn check_room(&self, client: &str) -> Result<()> {
        self.shared.check_room(client)
    }

    /// The current state of the queue.
    pub fn stats(&self) -> QueueStats {
        self.shared.stats()
    }

    /// Refuses new requests and waits until the accepted ones are answered, but no longer than
    /// `deadline`. Returns whether all are answered.
    pub fn drain(&self, deadline: Duration) -> bool {
        self.shared.close();
        self.shared.wait_until_settled(deadline)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.shared.end();
        for lane in self.lanes.drain(..) {
            // A callback may own the last handle of the queue; its thread cannot wait for itself.
            if lane.thread().id() != thread::current().id() {
                drop(lane.join());
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(callback) = self.pending.take_callback() {
            self.shared.release(&self.pending);
            self.shared.settle(&self.pending);
            drop(callback);
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
