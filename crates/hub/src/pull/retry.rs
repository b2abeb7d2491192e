//! Retries and their limits.

use super::{Events, PullEvent};
use crate::error::{Error, Result};
use std::time::Duration;

/// Timeouts and retries of a pull. Tests use small ones.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Maximum time to connect, TLS included.
    pub(crate) connect: Duration,
    /// Maximum time without a byte from the server.
    pub(crate) idle: Duration,
    /// Maximum number of attempts per file, counted anew after progress.
    pub(crate) attempts: u32,
    /// Bytes of a file that are progress: so few that a connection that ends all the time gets
    /// there, and so many that a file does not take for ever.
    pub(crate) progress: u64,
    /// Wait after the first failed attempt; doubles with each further one.
    pub(crate) backoff: Duration,
    /// Maximum wait, even if the server requests a longer one.
    pub(crate) max_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            attempts: 5,
            progress: 32 << 10,
            backoff: Duration::from_secs(1),
            max_wait: Duration::from_secs(60),
        }
    }
}

impl Limits {
    /// The wait after failed attempt number `attempt` (from 1); the server may have requested one.
    fn wait(&self, attempt: u32, requested: Option<Duration>) -> Duration {
        let doubled = self.backoff.saturating_mul(1 << (attempt - 1).min(16));
        requested.unwrap_or(doubled).min(self.max_wait)
    }
}

/// Why an attempt failed, and whether to repeat it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The next attempt may succeed.
    Transient {
        reason: String,
        /// The wait that the server requested.
        wait: Option<Duration>,
    },
    /// The content was wrong. One more attempt is made, from the beginning.
    Damaged(Error),
    /// A further attempt would fail as well.
    Final(Error),
}

impl Failure {
    pub(crate) fn transient(reason: impl ToString) -> Self {
        Self::Transient { reason: reason.to_string(), wait: None }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// Repeats `attempt` for `file` until it succeeds, fails permanently, or reaches the limits. An
/// attempt that starts further into the file than any before it, because the ones before made
/// progress, is the first of a new count.
pub(crate) fn with_retries<T>(
    limits: &Limits,
    file: &str,
    events: &mut Events<'_>,
    mut attempt: impl FnMut(&mut Events<'_>) -> Result<T, Failure>,
) -> Result<T> {
    let mut damaged = false;
    let (mut number, mut furthest) = (1, None);
    loop {
        let mut observed = |event: PullEvent<'_>| {
            if let PullEvent::Start { resumed, .. } = event {
                match furthest {
                    Some(before) if resumed < before + limits.progress => {}
                    Some(_) => (number, furthest) = (1, Some(resumed)),
                    None => furthest = Some(resumed),
                }
            }
            events(event);
        };
        let (reason, wait) = match attempt(&mut observed) {
            Ok(done) => return Ok(done),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Damaged(error)) if damaged => return Err(error),
            Err(Failure::Damaged(_)) => {
                damaged = true;
                ("its checksum is wrong".to_owned(), Duration::ZERO)
            }
            Err(Failure::Transient { reason, .. }) if number >= limits.attempts => {
                return Err(Error::Network { what: file.to_owned(), attempts: number, reason });
            }
            Err(Failure::Transient { reason, wait }) => (reason, limits.wait(number, wait)),
        };
        events(PullEvent::Retry { file, attempt: number, wait, reason: &reason });
        std::thread::sleep(wait);
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_or_follow_the_server_up_to_the_maximum() {
        let limits = Limits::default();
        let seconds = |attempt, requested: Option<u64>| {
            limits.wait(attempt, requested.map(Duration::from_secs)).as_secs()
        };
        assert_eq!([1, 2, 3, 4].map(|attempt| seconds(attempt, None)), [1, 2, 4, 8]);
        assert_eq!(seconds(1, Some(7)), 7);
        assert_eq!(seconds(1, Some(86_400)), 60);
        assert_eq!(seconds(u32::MAX, None), 60);
    }
}
