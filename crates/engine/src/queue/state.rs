//! State that a queue's threads share, and how they wait for each other.

use super::lane::Lane;
use super::pending::{Job, Pending};
use super::rate::Rate;
use super::{LANES, QueueLimits, QueueStats};
use crate::error::{Error, Result};
use crate::model::Model;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// State of a queue, shared by its lanes and its callers.
pub(super) struct Shared {
    pub(super) model: Arc<Model>,
    pub(super) limits: QueueLimits,
    state: Mutex<State>,
    /// Notified when a lane may have work or should end.
    work: Condvar,
    /// Notified when a request has been answered or cancelled.
    answered: Condvar,
}

struct State {
    lanes: [LaneState; LANES.len()],
    /// Tokens of unanswered requests, in total and by client; clients without any are absent.
    tokens: usize,
    clients: HashMap<String, usize>,
    /// Batches in flight, and their tokens.
    running: usize,
    running_tokens: usize,
    batches: u64,
    /// Throughput, and the time up to which it has been measured.
    rate: Rate,
    measured_until: Instant,
    /// New requests are refused.
    closed: bool,
    /// The threads end and waiting requests are refused.
    ending: bool,
}

struct LaneState {
    waiting: Lane<Job>,
    /// Number of unanswered requests.
    requests: usize,
    /// When this lane last made progress or got its first work.
    progress: Instant,
}

impl Shared {
    pub(super) fn new(model: Arc<Model>, limits: QueueLimits) -> Self {
        let now = Instant::now();
        let lanes = LANES.map(|lane| LaneState {
            waiting: Lane::new(lane.batch_tokens),
            requests: 0,
            progress: now,
        });
        let state = State {
            lanes,
            tokens: 0,
            clients: HashMap::new(),
            running: 0,
            running_tokens: 0,
            batches: 0,
            rate: Rate::default(),
            measured_until: now,
            closed: false,
            ending: false,
        };
        Self {
            model,
            limits,
            state: Mutex::new(state),
            work: Condvar::new(),
            answered: Condvar::new(),
        }
    }

    /// Accepts a request and adds its jobs to its lane.
    ///
    /// # Errors
    ///
    /// If the queue is full or closed.
    pub(super) fn admit(&self, pending: &Pending, jobs: Vec<(usize, Job)>) -> Result<()> {
        let mut state = self.lock();
        state.check_room(&pending.client, pending.tokens, self.limits.waiting_tokens)?;
        state.tokens += pending.tokens;
        *state.clients.entry(pending.client.clone()).or_default() += pending.tokens;
        let lane = &mut state.lanes[pending.lane];
        if lane.requests == 0 {
            lane.progress = Instant::now();
        }
        lane.requests += 1;
        lane.waiting.push(&pending.client, jobs);
        drop(state);
        self.work.notify_all();
        Ok(())
    }

    /// Checks whether a request of `client` would be accepted now.
    ///
    /// # Errors
    ///
    /// If it would be refused.
    pub(super) fn check_room(&self, client: &str) -> Result<()> {
        self.lock().check_room(client, 0, self.limits.waiting_tokens)
    }

    /// Waits until a lane has work. Returns `false` if the lane should end instead.
    pub(super) fn wait_for_work(&self, lane: usize) -> bool {
        let idle = |state: &mut State| !state.ending && state.lanes[lane].waiting.is_empty();
        let state = self.work.wait_while(self.lock(), idle);
        !state.unwrap_or_else(PoisonError::into_inner).ending
    }

    /// Takes the next batch of a lane. It is empty if all waiting requests were cancelled.
    pub(super) fn take_batch(&self, lane: usize) -> Vec<Job> {
        let mut state = self.lock();
        let jobs = state.lanes[lane].waiting.next_batch();
        let now = Instant::now();
        if state.running == 0 {
            state.measured_until = now;
        }
        state.lanes[lane].progress = now;
        state.running += 1;
        state.running_tokens += jobs.iter().map(Job::tokens).sum::<usize>();
        jobs
    }

    /// Ends a batch of [`Self::take_batch`], whatever its result. It had `tokens` tokens, of which
    /// `done` ran.
    pub(super) fn end_batch(&self, lane: usize, tokens: usize, done: usize) {
        let mut state = self.lock();
        let now = Instant::now();
        let time = now - state.measured_until;
        state.rate.add(done, time);
        state.measured_until = now;
        state.lanes[lane].progress = now;
        state.running -= 1;
        state.running_tokens -= tokens;
        state.batches += 1;
    }

    /// Records that a lane makes progress. Returns whether it should continue.
    pub(super) fn keep_running(&self, lane: usize) -> bool {
        let mut state = self.lock();
        state.lanes[lane].progress = Instant::now();
        !state.ending
    }

    /// Removes a request that should not run any further: its tokens and its waiting jobs.
    pub(super) fn release(&self, pending: &Arc<Pending>) {
        let mut state = self.lock();
        state.tokens -= pending.tokens;
        if let Some(tokens) = state.clients.get_mut(&pending.client) {
            *tokens -= pending.tokens;
            if *tokens == 0 {
                state.clients.remove(&pending.client);
            }
        }
        let waiting = &mut state.lanes[pending.lane].waiting;
        waiting.remove(&pending.client, |job| Arc::ptr_eq(&job.pending, pending));
    }

    /// Counts a request that was answered or cancelled.
    pub(super) fn settle(&self, pending: &Pending) {
        self.lock().lanes[pending.lane].requests -= 1;
        self.answered.notify_all();
    }

    /// Refuses new requests.
    pub(super) fn close(&self) {
        self.lock().closed = true;
    }

    /// Refuses new requests and lets the threads end.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        (state.closed, state.ending) = (true, true);
        drop(state);
        self.work.notify_all();
    }

    /// Waits until every request is answered, but no longer than `deadline`. Returns whether all
    /// are.
    pub(super) fn wait_until_settled(&self, deadline: Duration) -> bool {
        let open = |state: &mut State| state.lanes.iter().any(|lane| lane.requests > 0);
        let waited = self.answered.wait_timeout_while(self.lock(), deadline, open);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    pub(super) fn stats(&self) -> QueueStats {
        let state = self.lock();
        let busy = state.lanes.iter().filter(|lane| lane.requests > 0);
        QueueStats {
            requests: state.lanes.iter().map(|lane| lane.requests).sum(),
            tokens: state.tokens,
            waiting_tokens: state.lanes.iter().map(|lane| lane.waiting.tokens()).sum(),
            running_tokens: state.running_tokens,
            batches: state.batches,
            tokens_per_second: state.rate.tokens_per_second(),
            stalled: busy.map(|lane| lane.progress.elapsed()).max(),
        }
    }

    /// The state is consistent between any two of its changes, so a panic elsewhere does not
    /// invalidate it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Checks whether `tokens` more of `client` may wait under a total limit of `limit`. One client
    /// cannot keep others out: the total may be exceeded by a client below an even share of the
    /// limit.
    fn check_room(&self, client: &str, tokens: usize, limit: usize) -> Result<()> {
        if self.closed {
            return Err(Error::QueueClosed);
        }
        let waiting_tokens = self.tokens;
        let own = self.clients.get(client).copied();
        let clients = self.clients.len() + usize::from(own.is_none());
        if waiting_tokens < limit || own.unwrap_or(0) < limit / clients {
            return Ok(());
        }
        let retry_after = self.rate.time_for(waiting_tokens - limit + tokens);
        Err(Error::QueueFull { waiting_tokens, limit, retry_after })
    }
}
