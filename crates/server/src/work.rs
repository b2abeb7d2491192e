//! Work outside the queues, on threads that may block.

use crate::app::App;
use crate::cl100k;
use crate::problem::{ApiResult, Problem};
use crate::registry::ModelRef;
use crate::running_model::RunningModel;
use crate::turns::{Turn, Turns};
use crate::wire::input::{RawInput, RequestTexts};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Work on more bytes is long: tokenizing so many takes some 20 ms.
const SHORT_BYTES: usize = 64 << 10;
/// Token ids that are decoded on an async thread.
const MAX_INLINE_TOKENS: usize = 4096;

/// The slots for work, which forward passes share the cores with.
#[derive(Debug)]
pub(crate) struct Workers {
    /// For short work: one per core.
    short: Turns,
    /// For long work: half of the cores.
    long: Turns,
    /// For the one forward pass that may run outside a queue.
    passes: Turns,
    /// For loading models, one at a time.
    loads: Turns,
    /// For reading stores. A scan has all cores, and each of several needs the vectors in memory.
    reads: Turns,
    /// For embedding documents to add: these mostly wait for the queue.
    additions: Turns,
    /// For writing stores, which only one can at a time.
    writes: Turns,
}

/// Number of additions that are embedded at a time, and of searches.
const ADDITIONS: usize = 4;
const READS: usize = 2;

impl Workers {
    pub(crate) fn new(cores: usize) -> Self {
        let (short, long) = (Turns::new(cores), Turns::new((cores / 2).max(1)));
        let [passes, loads, writes] = [1; 3].map(Turns::new);
        let (reads, additions) = (Turns::new(READS), Turns::new(ADDITIONS));
        Self { short, long, passes, loads, reads, additions, writes }
    }
}

/// Tells running work whether to go on.
pub(crate) struct Pace {
    /// `None` for short work.
    turn: Option<Turn>,
    is_cancelled: Arc<AtomicBool>,
}

impl Pace {
    /// Between two steps of work: waits while others have a turn. Returns whether to go on.
    pub(crate) fn keep_running(&mut self) -> bool {
        if let Some(turn) = self.turn.as_mut().filter(|_| !is_set(&self.is_cancelled)) {
            turn.pause();
        }
        !is_set(&self.is_cancelled)
    }

    /// As [`Self::keep_running`], with the refusal of a request whose client has gone.
    pub(crate) fn check(&mut self) -> ApiResult<()> {
        if self.keep_running() { Ok(()) } else { Err(stopped()) }
    }

    /// Waits for `work` of a queue, unless the client has gone before.
    pub(crate) fn wait_for<T>(&self, work: impl Future<Output = ApiResult<T>>) -> ApiResult<T> {
        let gone = async {
            while !is_set(&self.is_cancelled) {
                tokio::time::sleep(CANCEL_INTERVAL).await;
            }
        };
        Handle::current().block_on(async {
            tokio::select! {
                result = work => result,
                () = gone => Err(stopped()),
            }
        })
    }
}

/// Time between two looks whether the client of waiting work has gone.
const CANCEL_INTERVAL: Duration = Duration::from_millis(100);

fn is_set(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Relaxed)
}

/// Stops work when the request that waits for it ends.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl App {
    /// Runs `work` on `size` bytes for `client` when it is its turn. If the request ends before,
    /// the work does not begin, or stops at its next step.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        client: &Arc<str>,
        size: usize,
        work: impl FnOnce(&mut Pace) -> T + Send + 'static,
    ) -> ApiResult<T> {
        let is_long = size > SHORT_BYTES;
        let turns = if is_long { &self.workers.long } else { &self.workers.short };
        self.run(Slot { turns, client, size, pauses: is_long }, work).await
    }

    /// Runs `read` on a store, apart from other work: a store may be slow.
    pub(crate) async fn read_store<T: Send + 'static>(
        &self,
        client: &Arc<str>,
        read: impl FnOnce() -> ApiResult<T> + Send + 'static,
    ) -> ApiResult<T> {
        let turns = &self.workers.reads;
        self.run(Slot { turns, client, size: 1, pauses: false }, |_| read()).await?
    }

    /// Runs `embed`, which embeds `size` bytes of documents through a queue and waits for it.
    pub(crate) async fn embed_addition<T: Send + 'static>(
        &self,
        client: &Arc<str>,
        size: usize,
        embed: impl FnOnce(&mut Pace) -> ApiResult<T> + Send + 'static,
    ) -> ApiResult<T> {
        let turns = &self.workers.additions;
        self.run(Slot { turns, client, size, pauses: true }, embed).await?
    }

    /// Runs `write` on a store, one at a time.
    pub(crate) async fn write_store<T: Send + 'static>(
        &self,
        client: &Arc<str>,
        write: impl FnOnce() -> ApiResult<T> + Send + 'static,
    ) -> ApiResult<T> {
        let turns = &self.workers.writes;
        self.run(Slot { turns, client, size: 1, pauses: false }, |_| write()).await?
    }

    /// Runs `work` that contains a forward pass, outside the queue: one at a time, clients in turn,
    /// and without delaying short work.
    pub(crate) async fn forward<T: Send + 'static>(
        &self,
        client: &Arc<str>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> ApiResult<T> {
        let turns = &self.workers.passes;
        self.run(Slot { turns, client, size: usize::MAX, pauses: false }, |_| work()).await
    }

    /// The model of a request, which is loaded if it is not running. That takes seconds, and so has
    /// a slot of its own.
    pub(crate) async fn loaded(
        self: &Arc<Self>,
        client: &Arc<str>,
        reference: &ModelRef,
    ) -> ApiResult<Arc<RunningModel>> {
        if let Some(running) = self.registry.running(reference.entry()) {
            return Ok(running);
        }
        let (app, reference) = (Arc::clone(self), reference.clone());
        let load = move |_: &mut Pace| app.registry.load(reference.entry());
        let turns = &self.workers.loads;
        Ok(self.run(Slot { turns, client, size: usize::MAX, pauses: false }, load).await??)
    }

    /// The texts of the field called `field`.
    pub(crate) async fn texts(
        &self,
        client: &Arc<str>,
        field: &'static str,
        input: RawInput,
    ) -> ApiResult<RequestTexts> {
        let tokens = input.token_ids();
        self.check_tokens(tokens)?;
        if tokens <= MAX_INLINE_TOKENS {
            return input.texts(field, cl100k::decode);
        }
        let bytes = tokens.saturating_mul(size_of::<u32>());
        let decode = move |pace: &mut Pace| {
            let pace = std::cell::RefCell::new(pace);
            input.texts(field, |ids| {
                let goes_on = pace.borrow_mut().keep_running();
                if goes_on { cl100k::decode(ids) } else { Err(stopped()) }
            })
        };
        self.work(client, bytes, decode).await?
    }
}

/// The refusal of a request whose client has gone.
fn stopped() -> Problem {
    kokeshi::Error::Stopped.into()
}

/// Where and for whom work runs.
struct Slot<'a> {
    turns: &'a Turns,
    client: &'a Arc<str>,
    /// Bytes that it works on.
    size: usize,
    /// Whether it gives its turn away between two steps.
    pauses: bool,
}

impl App {
    /// Runs `work` when it is its turn, within the time of a request.
    async fn run<T: Send + 'static>(
        &self,
        slot: Slot<'_>,
        work: impl FnOnce(&mut Pace) -> T + Send + 'static,
    ) -> ApiResult<T> {
        let (sender, receiver) = oneshot::channel();
        let work = move |pace: &mut Pace| drop(sender.send(work(pace)));
        let limit = self.config().timeouts.request;
        Box::pin(run_within(limit, slot, Box::new(work))).await?;
        receiver.await.map_err(|_| failure())
    }
}

/// Work whose result has another way back: one function for all types keeps the program small.
type BoxedWork = Box<dyn FnOnce(&mut Pace) + Send>;

async fn run_within(limit: Duration, slot: Slot<'_>, work: BoxedWork) -> ApiResult<()> {
    let run = run(slot, work);
    tokio::time::timeout(limit, run).await.map_err(|_| Problem::timeout(limit))?
}

async fn run(slot: Slot<'_>, work: BoxedWork) -> ApiResult<()> {
    let Slot { turns, client, size, pauses } = slot;
    let turn = turns.turn(client, size).await.ok_or_else(failure)?;
    let stop = StopOnDrop(Arc::default());
    let is_cancelled = Arc::clone(&stop.0);
    let work = tokio::task::spawn_blocking(move || {
        let (turn, slot) = if pauses { (Some(turn), None) } else { (None, Some(turn)) };
        let mut pace = Pace { turn, is_cancelled };
        work(&mut pace);
        drop((pace, slot));
    });
    let result = work.await.map_err(|_| failure());
    drop(stop);
    result
}

fn failure() -> Problem {
    Problem::internal("the request failed; see the server's log")
}
