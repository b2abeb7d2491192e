//! Retries of calls that may fail for a transient reason.

use kokeshi_store::{Error, Result};
use std::thread;
use std::time::Duration;

/// Time to wait before each further attempt: 6.3 s in total, enough for a server to restart.
const WAITS: [Duration; 6] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(1600),
    Duration::from_millis(3200),
];

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

/// Calls `attempt` until it succeeds, fails permanently, or has used up all attempts.
pub(crate) fn with_retries<T>(
    store: &str,
    mut attempt: impl FnMut() -> Result<T, CallError>,
) -> Result<T> {
    let mut waits = WAITS.into_iter();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(CallError::Permanent(error)) => return Err(error),
            Err(CallError::Transient(reason)) => match waits.next() {
                Some(wait) => thread::sleep(wait),
                None => return Err(Error::Unreachable { store: store.to_owned(), reason }),
            },
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
}
