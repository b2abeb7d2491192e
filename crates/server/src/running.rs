//! A model and its queue, seen from async code.

use crate::problem::{Outcome, Problem};
use kokeshi::{Embedded, Model, Queue, QueueLimits, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// A loaded model that answers requests.
#[derive(Debug)]
pub(crate) struct Running {
    /// The name in the API.
    pub(crate) name: String,
    pub(crate) model: Arc<Model>,
    queue: Queue,
}

impl Running {
    pub(crate) fn start(
        name: &str,
        model: Arc<Model>,
        limits: QueueLimits,
    ) -> kokeshi::Result<Self> {
        let queue = Queue::start(Arc::clone(&model), limits)?;
        Ok(Self { name: name.to_owned(), model, queue })
    }

    /// Whether nobody waits for it.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.stats().requests == 0
    }

    /// What its queue is doing.
    pub(crate) fn stats(&self) -> kokeshi::QueueStats {
        self.queue.stats()
    }

    /// Refuses what the queue would refuse: asked before the work of tokenising, so that a refusal
    /// under overload costs next to nothing.
    pub(crate) fn check_room(&self, client: &str) -> Outcome<()> {
        Ok(self.queue.check_room(client)?)
    }

    /// Runs a request. A dropped future cancels it.
    pub(crate) async fn embed(
        &self,
        request: Request,
        client: &str,
        limit: Duration,
    ) -> Outcome<Vec<Embedded>> {
        let (answer, answered) = oneshot::channel();
        let ticket = self.queue.submit(request, client, move |result| {
            // Nobody listens if the client has gone.
            let _ = answer.send(result);
        })?;
        let result = timeout(limit, answered).await;
        drop(ticket);
        match result {
            Ok(Ok(result)) => Ok(result?),
            Ok(Err(_)) => Err(Problem::internal("the queue gave the request up")),
            Err(_) => Err(Problem::timeout(limit)),
        }
    }
}

/// 429 for a full queue.
pub(crate) fn queue_full(tokens: usize, limit: usize, retry_after: Duration) -> Problem {
    let message = format!(
        "the server is at its limit: {tokens} tokens wait for this model, and {limit} may; try \
         again later"
    );
    Problem::limited("RATE_CONCURRENCY_LIMIT_EXCEEDED", message, retry_after)
}
