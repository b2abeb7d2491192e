//! What a queue's threads share, and how they wait for each other.

use super::lane::Lane;
use super::pending::{Job, Pending};
use super::rate::Rate;
use super::{LANES, QueueLimits, QueueStats};
use crate::error::{Error, Result};
use crate::model::Model;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(super) struct Shared {
    pub(super) model: Arc<Model>,
    pub(super) limits: QueueLimits,
    state: Mutex<State>,
    /// Told when there may be work for a lane, or it should end.
    work: Condvar,
    /// Told when a request has been answered or cancelled.
    answered: Condvar,
}

struct State {
    lanes: [LaneState; LANES.len()],
    /// Tokens of the requests that are not answered, in all and of each client that has any.
    tokens: usize,
    clients: HashMap<String, usize>,
    /// Batches in flight, and their tokens.
    running: usize,
    running_tokens: usize,
    batches: u64,
    /// The tokens that were run since, and the time up to which they are in the rate.
    rate: Rate,
    rated: Instant,
    /// No request is accepted any more.
    closed: bool,
    /// The threads end, and what waits is refused.
    ending: bool,
}

struct LaneState {
    waiting: Lane<Job>,
    /// Requests that are not answered.
    requests: usize,
    /// When this lane last did something, or got something to do.
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
            rated: now,
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

    /// # Errors
    ///
    /// If a request of `client` would be refused now.
    pub(super) fn check_room(&self, client: &str) -> Result<()> {
        self.lock().check_room(client, 0, self.limits.waiting_tokens)
    }

    /// Waits until something waits in a lane. Whether it does; otherwise the lane should end.
    pub(super) fn wait_for_work(&self, lane: usize) -> bool {
        let idle = |state: &mut State| !state.ending && state.lanes[lane].waiting.is_empty();
        let state = self.work.wait_while(self.lock(), idle);
        !state.unwrap_or_else(PoisonError::into_inner).ending
    }

    /// The next batch of a lane, which may be empty by now.
    pub(super) fn take_batch(&self, lane: usize) -> Vec<Job> {
        let mut state = self.lock();
        let jobs = state.lanes[lane].waiting.next_batch();
        let now = Instant::now();
        if state.running == 0 {
            state.rated = now;
        }
        state.lanes[lane].progress = now;
        state.running += 1;
        state.running_tokens += jobs.iter().map(Job::tokens).sum::<usize>();
        jobs
    }

    /// After [`Self::take_batch`], whatever came of it. `tokens` were taken, `done` of them run.
    pub(super) fn end_batch(&self, lane: usize, tokens: usize, done: usize) {
        let mut state = self.lock();
        let now = Instant::now();
        let time = now - state.rated;
        state.rate.add(done, time);
        state.rated = now;
        state.lanes[lane].progress = now;
        state.running -= 1;
        state.running_tokens -= tokens;
        state.batches += 1;
    }

    /// Notes that a lane gets on. Whether it should.
    pub(super) fn goes_on(&self, lane: usize) -> bool {
        let mut state = self.lock();
        state.lanes[lane].progress = Instant::now();
        !state.ending
    }

    /// Forgets a request that is not to be run any further: its tokens, and its jobs that wait.
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

    /// Counts a request that was answered or will never be.
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

    /// Waits until every request is answered, but no longer than `deadline`. Whether they are.
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

    /// The state is whole between any two of its changes, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether `tokens` more of `client` may wait where `limit` may in all. One client cannot keep
    /// others out: who has less than an even share of the limit may wait beyond it.
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
