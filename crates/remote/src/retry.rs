//! Retries of calls that may fail for a transient reason.

use kokeshi_store::{Error, Result};
use std::thread;
use std::time::{Duration, Instant};

/// Time to wait before each further attempt: 6.3 s in total, enough for a server to restart.
const WAITS: [Duration; 6] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(1600),
    Duration::from_millis(3200),
];

/// Time after which no further attempt begins: a server that accepts calls and does not answer them
/// would otherwise be waited for once per attempt.
const MAX_TIME: Duration = Duration::from_secs(60);

/// Why a call failed.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The same call may succeed later.
    Transient(String),
    /// The same call would fail again.
    Permanent(Error),
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        Self::Permanent(error)
    }
}

/// Calls `attempt` until it succeeds, fails permanently, or has used up all attempts or the time for
/// them.
pub(crate) fn with_retries<T>(
    store: &str,
    attempt: impl FnMut() -> Result<T, CallError>,
) -> Result<T> {
    retry_within(MAX_TIME, store, attempt)
}

fn retry_within<T>(
    limit: Duration,
    store: &str,
    mut attempt: impl FnMut() -> Result<T, CallError>,
) -> Result<T> {
    let (started, mut waits) = (Instant::now(), WAITS.into_iter());
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(CallError::Permanent(error)) => return Err(error),
            Err(CallError::Transient(reason)) => {
                match waits.next().filter(|_| started.elapsed() < limit) {
                    Some(wait) => thread::sleep(wait),
                    None => return Err(Error::Unreachable { store: store.to_owned(), reason }),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transient_error_is_retried_and_a_permanent_one_is_not() {
        let mut attempts = 0;
        let third = || {
            attempts += 1;
            if attempts == 3 { Ok("done") } else { Err(CallError::Transient("not yet".to_owned())) }
        };
        assert_eq!(with_retries("s", third).expect("an answer"), "done");
        let mut attempts = 0;
        let permanent: Result<()> = with_retries("s", || {
            attempts += 1;
            Err(Error::Parse("no".to_owned()).into())
        });
        assert!(permanent.is_err() && attempts == 1);
    }

    #[test]
    fn retries_end() {
        let mut attempts = 0;
        let error = with_retries::<()>("s", || {
            attempts += 1;
            Err(CallError::Transient("no answer".to_owned()))
        });
        let error = error.expect_err("an end");
        assert!(matches!(&error, Error::Unreachable { reason, .. } if reason == "no answer"));
        assert_eq!(attempts, 1 + WAITS.len());
    }

    #[test]
    fn a_server_that_does_not_answer_is_not_waited_for_again_and_again() {
        let mut attempts = 0;
        let error = retry_within::<()>(Duration::from_millis(10), "s", || {
            attempts += 1;
            thread::sleep(Duration::from_millis(20));
            Err(CallError::Transient("no answer".to_owned()))
        });
        assert!(matches!(error, Err(Error::Unreachable { .. })) && attempts == 1);
    }
}
