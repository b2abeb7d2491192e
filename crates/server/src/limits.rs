//! Limits of a key: requests and tokens per minute, and concurrent requests.

use crate::problem::{ApiResult, Problem};
use serde::Deserialize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Limits of a key; `None` means unlimited.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) requests_per_minute: Option<u32>,
    pub(crate) tokens_per_minute: Option<u32>,
    pub(crate) concurrency: Option<usize>,
}

/// The usage of a key, measured against its limits.
#[derive(Debug)]
pub(crate) struct KeyUsage {
    requests: Option<Mutex<Bucket>>,
    tokens: Option<Mutex<Bucket>>,
    allowance: Allowance,
    running: AtomicUsize,
}

/// Counts one request of a key as running until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<KeyUsage>);

impl KeyUsage {
    pub(crate) fn new(allowance: Allowance) -> Self {
        let bucket = |rate: u32| Mutex::new(Bucket::full(rate, Instant::now()));
        Self {
            requests: allowance.requests_per_minute.map(bucket),
            tokens: allowance.tokens_per_minute.map(bucket),
            allowance,
            running: AtomicUsize::new(0),
        }
    }

    /// The limits.
    pub(crate) fn allowance(&self) -> Allowance {
        self.allowance
    }

    /// Counts a request, or refuses it with the time of the next attempt.
    pub(crate) fn admit(self: &Arc<Self>) -> ApiResult<Permit> {
        let permit = Permit(Arc::clone(self));
        let running = self.running.fetch_add(1, Ordering::Relaxed);
        if let Some(limit) = self.allowance.concurrency.filter(|limit| running >= *limit) {
            let message = format!(
                "this key may have {limit} concurrent requests; wait for one to be answered"
            );
            let code = "RATE_CONCURRENCY_LIMIT_EXCEEDED";
            return Err(Problem::limited(code, message, Duration::from_secs(1)));
        }
        take(self.requests.as_ref(), 1, "RATE_REQUEST_LIMIT_EXCEEDED", "requests")?;
        Ok(permit)
    }

    /// Counts tokens before they run.
    pub(crate) fn charge(&self, tokens: usize) -> ApiResult<()> {
        take(self.tokens.as_ref(), tokens, "RATE_TOKEN_LIMIT_EXCEEDED", "tokens")
    }

    /// Refuses a key that has no tokens left.
    pub(crate) fn check_tokens(&self) -> ApiResult<()> {
        self.charge(1)?;
        self.correct(-1.0);
        Ok(())
    }

    /// Counts tokens of work that is done, even if too few were left, or returns some.
    pub(crate) fn correct(&self, tokens: f64) {
        if let Some(bucket) = &self.tokens {
            let mut bucket = lock(bucket);
            bucket.fill(Instant::now());
            bucket.level = (bucket.level - tokens).min(bucket.capacity);
        }
    }

    /// Remaining requests and tokens, if they are limited.
    pub(crate) fn remaining(&self) -> [Option<u64>; 2] {
        let remaining = |bucket: &Mutex<Bucket>| lock(bucket).remaining(Instant::now());
        [self.requests.as_ref().map(remaining), self.tokens.as_ref().map(remaining)]
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
) -> ApiResult<()> {
    let Some(bucket) = bucket else { return Ok(()) };
    let mut bucket = lock(bucket);
    bucket.take(amount as f64, Instant::now()).map_err(|wait| {
        let limit = bucket.capacity;
        let seconds = wait.as_secs_f64();
        let message = format!(
            "this key may use {limit} {noun} per minute; try again in {seconds:.1} seconds"
        );
        Problem::limited(code, message, wait)
    })
}

fn lock(bucket: &Mutex<Bucket>) -> MutexGuard<'_, Bucket> {
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A token bucket, which refills at an even rate, completely in a minute.
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

    /// Takes `amount`, or returns how long to wait for it. An amount over the capacity needs a full
    /// bucket and leaves a debt, so that a large request is delayed but possible.
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

    fn remaining(&mut self, now: Instant) -> u64 {
        self.fill(now);
        self.level.max(0.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_refills_after_the_wait_that_it_returns() {
        let start = Instant::now();
        let mut bucket = Bucket::full(60, start);
        assert_eq!(bucket.take(60.0, start), Ok(()));
        let wait = bucket.take(3.0, start).expect_err("it is empty");
        assert_eq!(wait, Duration::from_secs(3));
        assert!(bucket.take(3.0, start + wait - Duration::from_millis(1)).is_err());
        assert_eq!(bucket.take(3.0, start + wait), Ok(()));
        assert_eq!(bucket.remaining(start + Duration::from_secs(3600)), 60);
    }

    #[test]
    fn an_amount_over_the_capacity_needs_a_full_bucket_and_leaves_a_debt() {
        let start = Instant::now();
        let mut bucket = Bucket::full(60, start);
        assert_eq!(bucket.take(90.0, start), Ok(()));
        assert_eq!(bucket.remaining(start), 0);
        assert_eq!(bucket.take(1.0, start), Err(Duration::from_secs(31)));
    }

    #[test]
    fn a_bucket_without_capacity_is_always_empty() {
        let start = Instant::now();
        assert!(Bucket::full(0, start).take(1.0, start).is_err());
    }

    #[test]
    fn concurrency_counts_the_permits_that_are_held() {
        let allowance = Allowance { concurrency: Some(1), ..Allowance::default() };
        let usage = Arc::new(KeyUsage::new(allowance));
        let permit = usage.admit().expect("the first request");
        assert_eq!(
            usage.admit().expect_err("the second request").code,
            "RATE_CONCURRENCY_LIMIT_EXCEEDED"
        );
        drop(permit);
        assert!(usage.admit().is_ok());
    }
}
