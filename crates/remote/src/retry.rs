//! Calls of a server that may fail for a reason that passes.

use kokeshi_store::{Error, Result};
use std::thread;
use std::time::Duration;

/// How long to wait before each further try: 6.3 s in all, enough for a server to start again.
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
    /// It may go well next time.
    Passing(String),
    /// It will not.
    Lasting(Error),
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        Self::Lasting(error)
    }
}

/// Calls `work` with the number of the try, until it goes well, fails for good, or was tried often
/// enough.
pub(crate) fn with_retries<T>(
    store: &str,
    mut work: impl FnMut(usize) -> Result<T, CallError>,
) -> Result<T> {
    let mut waits = WAITS.into_iter();
    for attempt in 0.. {
        match work(attempt) {
            Ok(value) => return Ok(value),
            Err(CallError::Permanent(error)) => return Err(error),
            Err(CallError::Transient(reason)) => match waits.next() {
                Some(wait) => thread::sleep(wait),
                None => return Err(Error::Unreachable { store: store.to_owned(), reason }),
            },
        }
    }
    unreachable!("the waits end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_tried_again_and_what_lasts_is_not() {
        let third = |attempt| match attempt {
            2 => Ok("well"),
            _ => Err(CallError::Transient("not yet".to_owned())),
        };
        assert_eq!(with_retries("s", third).expect("an answer"), "well");
        let mut tries = 0;
        let lasting: Result<()> = with_retries("s", |_| {
            tries += 1;
            Err(Error::Filter("no".to_owned()).into())
        });
        assert!(lasting.is_err() && tries == 1);
    }

    #[test]
    fn tries_end() {
        let mut tries = 0;
        let error = with_retries::<()>("s", |_| {
            tries += 1;
            Err(CallError::Transient("nobody there".to_owned()))
        });
        let error = error.expect_err("an end");
        assert!(matches!(&error, Error::Unreachable { reason, .. } if reason == "nobody there"));
        assert_eq!(tries, 1 + WAITS.len());
    }
}
