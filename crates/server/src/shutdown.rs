//! Stopping: the server finishes accepted requests and refuses new ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Counts the requests being answered, and records whether new ones are still accepted.
#[derive(Clone, Debug)]
pub(crate) struct Drain {
    closing: Arc<AtomicBool>,
    in_flight: watch::Sender<usize>,
}

/// Counts one request as being answered until it is dropped.
#[derive(Debug)]
pub(crate) struct Accepted(watch::Sender<usize>);

impl Default for Drain {
    fn default() -> Self {
        Self { closing: Arc::default(), in_flight: watch::Sender::new(0) }
    }
}

impl Drain {
    /// Counts a request. Refusals while draining count as well, because they must be sent too.
    pub(crate) fn accept(&self) -> Accepted {
        self.in_flight.send_modify(|count| *count += 1);
        Accepted(self.in_flight.clone())
    }

    /// Whether new requests are refused.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Refuses new requests from now on.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    /// Waits at most `limit` until no request is being answered; returns how many still are.
    pub(crate) async fn wait(&self, limit: Duration) -> usize {
        let mut in_flight = self.in_flight.subscribe();
        let wait = in_flight.wait_for(|count| *count == 0);
        match tokio::time::timeout(limit, wait).await {
            Ok(_) => 0,
            Err(_) => *self.in_flight.borrow(),
        }
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Waits for a signal to stop: TERM or INT.
pub(crate) async fn signal() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
        Ok(())
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
