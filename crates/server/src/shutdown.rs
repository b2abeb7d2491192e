//! The end: what was accepted is finished, what is new is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Counts requests that are being answered, and knows whether new ones are still accepted.
#[derive(Clone, Debug)]
pub(crate) struct Drain {
    closing: Arc<AtomicBool>,
    in_flight: watch::Sender<usize>,
}

/// An accepted request; it is answered or given up when dropped.
#[derive(Debug)]
pub(crate) struct Accepted(watch::Sender<usize>);

impl Default for Drain {
    fn default() -> Self {
        Self { closing: Arc::default(), in_flight: watch::Sender::new(0) }
    }
}

impl Drain {
    /// Counts a request, even while draining: refusing it is an answer too.
    pub(crate) fn accept(&self) -> Accepted {
        self.in_flight.send_modify(|count| *count += 1);
        Accepted(self.in_flight.clone())
    }

    /// Whether new work is refused.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// From now on new work is refused.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    /// Waits until no request is being answered, but not longer than `limit`; how many still are.
    pub(crate) async fn settled(&self, limit: Duration) -> usize {
        let mut in_flight = self.in_flight.subscribe();
        let settled = in_flight.wait_for(|count| *count == 0);
        match tokio::time::timeout(limit, settled).await {
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

/// Waits for the signal to stop: TERM or INT.
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
