//! How much a key may use: requests and tokens a minute, and requests at once.

use crate::problem::{Outcome, Problem};
use serde::Deserialize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Limits of a key; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct Allowance {
    pub(crate) requests_per_minute: Option<u32>,
    pub(crate) tokens_per_minute: Option<u32>,
    pub(crate) concurrency: Option<usize>,
}

/// What a key has used.
#[derive(Debug)]
pub(crate) struct Usage {
    requests: Option<Mutex<Bucket>>,
    tokens: Option<Mutex<Bucket>>,
    concurrency: Option<usize>,
    running: AtomicUsize,
}

/// A request of a key that counts as running until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Usage>);

impl Usage {
    pub(crate) fn new(allowance: Allowance) -> Self {
        let bucket = |rate: u32| Mutex::new(Bucket::full(rate, Instant::now()));
        Self {
            requests: allowance.requests_per_minute.map(bucket),
            tokens: allowance.tokens_per_minute.map(bucket),
            concurrency: allowance.concurrency,
            running: AtomicUsize::new(0),
        }
    }

    /// Counts a request, or says when there will be room for it.
    pub(crate) fn admit(self: &Arc<Self>) -> Outcome<Permit> {
        let permit = Permit(Arc::clone(self));
        let running = self.running.fetch_add(1, Ordering::Relaxed);
        if let Some(limit) = self.concurrency.filter(|limit| running >= *limit) {
            let message = format!("this key may have {limit} requests at once; wait for an answer");
            let code = "RATE_CONCURRENCY_LIMIT_EXCEEDED";
            return Err(Problem::limited(code, message, Duration::from_secs(1)));
        }
        take(self.requests.as_ref(), 1, "RATE_REQUEST_LIMIT_EXCEEDED", "requests")?;
        Ok(permit)
    }

    /// Counts tokens before they run.
    pub(crate) fn charge(&self, tokens: usize) -> Outcome<()> {
        take(self.tokens.as_ref(), tokens, "RATE_TOKEN_LIMIT_EXCEEDED", "tokens")
    }

    /// Requests and tokens that are left, of those that are limited.
    pub(crate) fn left(&self) -> [Option<u64>; 2] {
        let left = |bucket: &Mutex<Bucket>| lock(bucket).left(Instant::now());
        [self.requests.as_ref().map(left), self.tokens.as_ref().map(left)]
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

fn take(
    bucket: Option<&Mutex<Bucket>>,
    amount: usize,
    code: &'static str,
    noun: &str,
) -> Outcome<()> {
    let Some(bucket) = bucket else { return Ok(()) };
    let mut bucket = lock(bucket);
    bucket.take(amount as f64, Instant::now()).map_err(|wait| {
        let limit = bucket.capacity;
        let seconds = wait.as_secs_f64();
        let message =
            format!("this key may use {limit} {noun} a minute; try again in {seconds:.1} seconds");
        Problem::limited(code, message, wait)
    })
}

fn lock(bucket: &Mutex<Bucket>) -> MutexGuard<'_, Bucket> {
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bucket that fills evenly, to the brim in a minute.
#[derive(Debug)]
struct Bucket {
    capacity: f64,
    level: f64,
    updated: Instant,
}

impl Bucket {
    fn full(capacity: u32, now: Instant) -> Self {
        let capacity = capacity.into();
        Self { capacity, level: capacity, updated: now }
    }

    fn fill(&mut self, now: Instant) {
        let minutes = now.saturating_duration_since(self.updated).as_secs_f64() / 60.0;
        self.level = (self.level + self.capacity * minutes).min(self.capacity);
        self.updated = now;
    }

    /// Takes `amount`, or says how long to wait for it. What is more than the bucket holds needs a
    /// full one, and leaves a debt: a large request is slow, not impossible.
    fn take(&mut self, amount: f64, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        let missing = amount.min(self.capacity) - self.level;
        if missing > 0.0 || self.capacity == 0.0 {
            let minutes = missing / self.capacity;
            let seconds = if minutes.is_finite() { 60.0 * minutes } else { 3600.0 };
            return Err(Duration::from_secs_f64(seconds));
        }
        self.level -= amount;
        Ok(())
    }

    fn left(&mut self, now: Instant) -> u64 {
        self.fill(now);
        self.level.max(0.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_says_how_long_to_wait_and_is_right() {
        let start = Instant::now();
        let mut bucket = Bucket::full(60, start);
        assert_eq!(bucket.take(60.0, start), Ok(()));
        let wait = bucket.take(3.0, start).expect_err("it is empty");
        assert_eq!(wait, Duration::from_secs(3));
        assert!(bucket.take(3.0, start + wait - Duration::from_millis(1)).is_err());
        assert_eq!(bucket.take(3.0, start + wait), Ok(()));
        assert_eq!(bucket.left(start + Duration::from_secs(3600)), 60);
    }

    #[test]
    fn more_than_a_bucket_holds_needs_a_full_one_and_leaves_a_debt() {
        let start = Instant::now();
        let mut bucket = Bucket::full(60, start);
        assert_eq!(bucket.take(90.0, start), Ok(()));
        assert_eq!(bucket.left(start), 0);
        assert_eq!(bucket.take(1.0, start), Err(Duration::from_secs(31)));
    }

    #[test]
    fn a_key_without_requests_gets_none() {
        let start = Instant::now();
        assert!(Bucket::full(0, start).take(1.0, start).is_err());
    }

    #[test]
    fn concurrency_counts_permits_that_are_alive() {
        let allowance = Allowance { concurrency: Some(1), ..Allowance::default() };
        let usage = Arc::new(Usage::new(allowance));
        let permit = usage.admit().expect("the first");
        assert_eq!(usage.admit().expect_err("a second").code, "RATE_CONCURRENCY_LIMIT_EXCEEDED");
        drop(permit);
        assert!(usage.admit().is_ok());
    }
}
