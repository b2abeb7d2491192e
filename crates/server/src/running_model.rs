//! A loaded model and its queue, for async code.

use crate::problem::{ApiResult, Problem};
use kokeshi::{Embedded, Model, Queue, QueueLimits, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// A loaded model with its queue.
#[derive(Debug)]
pub(crate) struct RunningModel {
    /// The name in the API.
    pub(crate) name: String,
    pub(crate) model: Arc<Model>,
    queue: Queue,
}

impl RunningModel {
    pub(crate) fn start(
        name: &str,
        model: Arc<Model>,
        limits: QueueLimits,
    ) -> kokeshi::Result<Self> {
        let queue = Queue::start(Arc::clone(&model), limits)?;
        Ok(Self { name: name.to_owned(), model, queue })
    }

    /// Whether no request is waiting or running.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.stats().requests == 0
    }

    /// The state of its queue.
    pub(crate) fn stats(&self) -> kokeshi::QueueStats {
        self.queue.stats()
    }

    /// Refuses a request that the queue would refuse. Checking before tokenization makes refusals
    /// under overload almost free.
    pub(crate) fn check_room(&self, client: &str) -> ApiResult<()> {
        Ok(self.queue.check_room(client)?)
    }

    /// Runs a request. Dropping the future cancels it.
    pub(crate) async fn embed(
        &self,
        request: Request,
        client: &str,
        limit: Duration,
    ) -> ApiResult<Vec<Embedded>> {
        let (sender, receiver) = oneshot::channel();
        let ticket = self.queue.submit(request, client, move |result| {
            // The receiver is gone if the client has disconnected.
            let _ = sender.send(result);
        })?;
        let result = timeout(limit, receiver).await;
        drop(ticket);
        match result {
            Ok(Ok(result)) => Ok(result?),
            Ok(Err(_)) => Err(Problem::internal("the queue dropped the request")),
            Err(_) => Err(Problem::timeout(limit)),
        }
    }
}

/// The code of a refusal because the queue is full.
pub(crate) const QUEUE_FULL: &str = "RATE_CONCURRENCY_LIMIT_EXCEEDED";

/// 429 for a full queue.
pub(crate) fn queue_full(tokens: usize, limit: usize, retry_after: Duration) -> Problem {
    let message = format!(
        "the queue of this model is full: {tokens} tokens are waiting, and the limit is {limit}; \
         try again later"
    );
    Problem::limited(QUEUE_FULL, message, retry_after)
}
