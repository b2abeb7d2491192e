//! Tests of the queue with forward passes that wait at a gate or fail.

use super::*;
use crate::input::{Input, Options};
use crate::{LoadOptions, Window};
use kokeshi_model::{Batch, EncoderConfig, Forward, Turn};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

/// Passes with this task panic.
const BAD_TASK: &str = "classification";

/// Longer than any step of a test that succeeds.
const PATIENCE: Duration = Duration::from_secs(60);

/// An encoder whose passes begin only while a gate is open, and are recorded.
#[derive(Debug)]
struct Gated {
    inner: Box<dyn Forward>,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    /// Maximum number of tokens of a batch that may run.
    open_to: usize,
    /// Lengths of the sequences of each batch that began.
    begun: Vec<Vec<usize>>,
    /// Number of batches that were stopped.
    stopped: usize,
}

impl Gate {
    fn open_to(&self, tokens: usize) {
        self.change(|state| state.open_to = tokens);
    }

    fn change(&self, change: impl FnOnce(&mut GateState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits until `read` returns a value.
    fn wait_for<T>(&self, mut read: impl FnMut(&GateState) -> Option<T>) -> T {
        let start = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(value) = read(&state) {
                return value;
            }
            assert!(start.elapsed() < PATIENCE, "still waiting: {state:?}");
            let waited = self.changed.wait_timeout(state, Duration::from_millis(1));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn wait_for_begun(&self, count: usize) -> Vec<Vec<usize>> {
        self.wait_for(|state| (state.begun.len() >= count).then(|| state.begun.clone()))
    }
}

impl Forward for Gated {
    fn config(&self) -> &EncoderConfig {
        self.inner.config()
    }

    fn len_bytes(&self) -> usize {
        self.inner.len_bytes()
    }

    fn device(&self) -> String {
        self.inner.device()
    }

    fn hidden_states(&self, batch: &Batch) -> kokeshi_model::Result<Vec<f32>> {
        self.inner.hidden_states(batch)
    }

    fn pool_while(
        &self,
        batch: &Batch,
        spans: &[Range<usize>],
        width: usize,
        keep_running: &mut (dyn FnMut() -> bool + Send),
    ) -> kokeshi_model::Result<Option<Vec<f32>>> {
        let lengths = batch.sequences().map(|sequence| sequence.len()).collect();
        self.gate.change(|state| state.begun.push(lengths));
        let opened = self.gate.wait_for(|state| {
            let open = state.open_to >= batch.tokens();
            if open { Some(true) } else { (!keep_running()).then_some(false) }
        });
        if !opened {
            self.gate.change(|state| state.stopped += 1);
            return Ok(None);
        }
        let bad = self.config().tasks.iter().position(|task| task.name == BAD_TASK);
        assert!(!batch.adapters().contains(&bad), "a bad task");
        self.inner.pool_while(batch, spans, width, keep_running)
    }

    fn turn(&self, _: Priority) -> Option<Turn> {
        // With a turn, a batch at the gate would block the batches that the test expects to run.
        None
    }
}

/// A queue whose passes wait at a gate.
struct Setup {
    model: Arc<Model>,
    queue: Queue,
    gate: Arc<Gate>,
}

type Answer = Result<Vec<Embedded>>;

impl Setup {
    fn new(limits: QueueLimits) -> Self {
        let gate = Arc::new(Gate::default());
        let model = Model::starter(&LoadOptions::default()).expect("the bundled model");
        let gated = |inner| Box::new(Gated { inner, gate: Arc::clone(&gate) }) as Box<dyn Forward>;
        let model = Arc::new(model.wrap(gated));
        let queue = Queue::start(Arc::clone(&model), limits).expect("threads");
        Self { model, queue, gate }
    }

    /// A request of texts with these lengths in tokens.
    fn request(&self, lengths: &[usize], task: Option<&str>) -> Request {
        let texts: Vec<String> = lengths.iter().map(|&tokens| text(tokens)).collect();
        let options =
            Options { task: task.map(str::to_owned), instruction: false, ..Options::default() };
        let inputs: Vec<_> =
            texts.iter().map(|text| Input::new(text).options(options.clone())).collect();
        let request = self.model.prepare(&inputs).expect("prepared");
        assert_eq!(request.tokens(), lengths.iter().sum::<usize>());
        request
    }

    fn submit(&self, lengths: &[usize], client: &str) -> Result<(Ticket, Receiver<Answer>)> {
        self.submit_request(self.request(lengths, None), client)
    }

    fn submit_request(&self, request: Request, client: &str) -> Result<(Ticket, Receiver<Answer>)> {
        let (send, answers) = mpsc::channel();
        let ticket = self.queue.submit(request, client, send_to(send))?;
        Ok((ticket, answers))
    }
}

fn send_to(answers: Sender<Answer>) -> impl FnOnce(Answer) + Send + 'static {
    move |result| drop(answers.send(result))
}

/// A text of `tokens` tokens of the bundled model, special ones included.
fn text(tokens: usize) -> String {
    vec!["a"; tokens - 2].join(" ")
}

/// The answer, which must be the only one.
fn answer((_ticket, answers): &(Ticket, Receiver<Answer>)) -> Answer {
    let answer = answers.recv_timeout(PATIENCE).expect("an answer");
    assert_eq!(answers.recv_timeout(PATIENCE).err(), Some(RecvTimeoutError::Disconnected));
    answer
}

fn tight(waiting_tokens: usize) -> QueueLimits {
    QueueLimits { waiting_tokens, observer: None }
}

#[test]
fn a_short_query_passes_a_long_document_that_is_running() {
    let setup = Setup::new(QueueLimits::default());
    let long = setup.submit(&[3000], "a").expect("room");
    setup.gate.wait_for_begun(1);
    setup.gate.open_to(300);
    answer(&setup.submit(&[16], "a").expect("room")).expect("embedded");
    answer(&setup.submit(&[300], "a").expect("room")).expect("embedded");
    assert_eq!(setup.gate.wait_for_begun(3), [[3000], [16], [300]]);
    setup.gate.open_to(usize::MAX);
    assert_eq!(answer(&long).expect("embedded").len(), 1);
}

#[test]
fn requests_of_different_dimensions_get_the_same_vectors_together_and_alone() {
    let setup = Setup::new(QueueLimits::default());
    let first = setup.submit(&[100], "a").expect("room");
    setup.gate.wait_for_begun(1);
    let text = text(40);
    let input = |dimensions: usize| [Input::new(&text).dimensions(dimensions)];
    let submitted = [7, 256, 1, 64].map(|dimensions| {
        let request = setup.model.prepare(&input(dimensions)).expect("prepared");
        (dimensions, setup.submit_request(request, "a").expect("room"))
    });
    setup.gate.open_to(usize::MAX);
    answer(&first).expect("embedded");
    for (dimensions, request) in &submitted {
        let got = answer(request).expect("embedded");
        assert_eq!(got, setup.model.embed(&input(*dimensions)).expect("a vector"));
        assert_eq!(got[0].vectors[0].len(), *dimensions);
    }
    assert!(setup.gate.wait_for_begun(2)[1].len() > 1, "they ran together");
}

#[test]
fn waiting_requests_run_together_and_clients_take_turns() {
    let setup = Setup::new(QueueLimits::default());
    let first = setup.submit(&[100], "a").expect("room");
    setup.gate.wait_for_begun(1);
    let many: Vec<_> = (0..9).map(|_| setup.submit(&[100], "a").expect("room")).collect();
    let other = setup.submit(&[50], "b").expect("room");
    setup.gate.open_to(usize::MAX);
    answer(&other).expect("embedded");
    for request in many.iter().chain([&first]) {
        answer(request).expect("embedded");
    }
    let begun = setup.gate.wait_for_begun(3);
    assert_eq!(begun.len(), 3);
    assert_eq!((begun[0].len(), begun[1].len(), begun[2].len()), (1, 5, 5));
    assert!(begun[1].contains(&50), "{begun:?}");
    assert_eq!(setup.queue.stats().batches, 3);
}

#[test]
fn a_bad_request_fails_alone_and_the_queue_continues() {
    let setup = Setup::new(QueueLimits::default());
    let blocker = setup.submit(&[20], "a").expect("room");
    setup.gate.wait_for_begun(1);
    let good = [setup.submit(&[10, 30], "a"), setup.submit(&[12], "b")];
    let bad = setup.submit_request(setup.request(&[10, 11], Some(BAD_TASK)), "c").expect("room");
    setup.gate.open_to(usize::MAX);
    answer(&blocker).expect("embedded");
    let error = answer(&bad).expect_err("it panics");
    assert_eq!(error.to_string(), "the forward pass failed: a bad task");
    for (request, lengths) in good.into_iter().zip([vec![10, 30], vec![12]]) {
        let embedded = answer(&request.expect("room")).expect("embedded");
        let texts: Vec<String> = lengths.into_iter().map(text).collect();
        let inputs: Vec<_> = texts.iter().map(|text| Input::new(text)).collect();
        assert_eq!(embedded, setup.model.embed(&inputs).expect("embedded"));
    }
    let alone = setup.submit_request(setup.request(&[10], Some(BAD_TASK)), "c").expect("room");
    assert!(matches!(answer(&alone), Err(Error::Failed { .. })));
    answer(&setup.submit(&[10], "c").expect("room")).expect("the queue continues");
    assert_eq!(setup.queue.stats().tokens, 0);
}

#[test]
fn a_full_queue_refuses_a_text_and_a_list_alike_and_at_once() {
    let setup = Setup::new(tight(100));
    let huge = setup.submit(&[60, 60, 60], "a").expect("any size, while there is room");
    setup.gate.wait_for_begun(1);
    for lengths in [&[3][..], &[3, 3, 3, 3], &[2000]] {
        match setup.submit(lengths, "a") {
            Err(Error::QueueFull { waiting_tokens: 180, limit: 100, retry_after }) => {
                assert!(retry_after >= Duration::from_secs(1));
            }
            other => panic!("{other:?}"),
        }
    }
    let error = setup.submit(&[3], "a").expect_err("full").to_string();
    assert_eq!(
        error,
        "the queue is full: 180 tokens are waiting; the limit is 100. Try again in 1 s"
    );
    assert!(matches!(setup.queue.check_room("a"), Err(Error::QueueFull { .. })));
    setup.gate.open_to(usize::MAX);
    answer(&huge).expect("embedded");
    setup.queue.check_room("a").expect("room again");
    answer(&setup.submit(&[3], "a").expect("room again")).expect("embedded");
}

#[test]
fn a_client_that_fills_the_queue_does_not_keep_others_out() {
    let setup = Setup::new(tight(100));
    let hog: Vec<_> = (0..5).map(|_| setup.submit(&[20], "hog").expect("room")).collect();
    assert!(matches!(setup.submit(&[3], "hog"), Err(Error::QueueFull { .. })));
    // Half of 100 for two, a third for three.
    let second: Vec<_> = (0..3).map(|_| setup.submit(&[20], "b").expect("a share")).collect();
    assert!(matches!(setup.submit(&[3], "b"), Err(Error::QueueFull { .. })));
    let third: Vec<_> = (0..2).map(|_| setup.submit(&[20], "c").expect("a share")).collect();
    assert!(matches!(setup.submit(&[3], "c"), Err(Error::QueueFull { .. })));
    setup.gate.open_to(usize::MAX);
    for request in hog.iter().chain(&second).chain(&third) {
        answer(request).expect("embedded");
    }
    // Clients without requests have no share.
    let alone: Vec<_> = (0..5).map(|_| setup.submit(&[20], "b")).collect();
    assert!(alone.iter().all(Result::is_ok));
}

#[test]
fn a_cancelled_request_is_not_answered_and_does_not_run() {
    let setup = Setup::new(QueueLimits::default());
    let running = setup.submit(&[100], "a").expect("room");
    setup.gate.wait_for_begun(1);
    let waiting: Vec<_> = (0..3).map(|_| setup.submit(&[7, 8], "a").expect("room")).collect();
    let kept = setup.submit(&[9], "b").expect("room");
    for (ticket, answers) in waiting {
        drop(ticket);
        assert_eq!(answers.recv().err(), Some(mpsc::RecvError), "the callback was dropped");
    }
    assert_eq!((setup.queue.stats().tokens, setup.queue.stats().waiting_tokens), (109, 9));
    // The pass in flight stops at the next layer and makes room for the remaining request.
    drop(running.0);
    setup.gate.wait_for(|state| (state.stopped == 1).then_some(()));
    assert!(running.1.recv().is_err());
    setup.gate.open_to(usize::MAX);
    answer(&kept).expect("embedded");
    assert_eq!(setup.gate.wait_for_begun(2), [vec![100], vec![9]]);
}

#[test]
fn a_batch_keeps_running_while_one_of_its_requests_is_not_cancelled() {
    let setup = Setup::new(QueueLimits::default());
    let blocker = setup.submit(&[100], "a").expect("room");
    setup.gate.wait_for_begun(1);
    let [cancelled, kept] = ["a", "b"].map(|client| setup.submit(&[30], client).expect("room"));
    setup.gate.open_to(usize::MAX);
    answer(&blocker).expect("embedded");
    setup.gate.wait_for_begun(2);
    drop(cancelled.0);
    answer(&kept).expect("embedded");
    assert_eq!(setup.gate.wait_for(|state| Some(state.stopped)), 0);
}

#[test]
fn draining_refuses_new_requests_and_answers_accepted_ones() {
    let setup = Setup::new(QueueLimits::default());
    let accepted: Vec<_> =
        [16, 300, 3000].map(|tokens| setup.submit(&[tokens], "a").expect("room")).into();
    assert!(!setup.queue.drain(Duration::from_millis(20)), "the gate is closed");
    assert!(matches!(setup.submit(&[3], "a"), Err(Error::QueueClosed)));
    setup.gate.open_to(usize::MAX);
    assert!(setup.queue.drain(PATIENCE));
    for request in &accepted {
        answer(request).expect("embedded");
    }
}

#[test]
fn a_dropped_queue_refuses_requests_that_have_not_run() {
    let setup = Setup::new(QueueLimits::default());
    let requests: Vec<_> = [16, 16, 300, 300, 3000, 3000]
        .map(|tokens| setup.submit(&[tokens], "a").expect("room"))
        .into();
    setup.gate.wait_for_begun(3);
    drop(setup.queue);
    for request in &requests {
        assert!(matches!(answer(request), Err(Error::QueueClosed)));
    }
    drop(requests);
    assert_eq!(Arc::strong_count(&setup.model), 1, "no thread is left");
}

#[test]
fn a_callback_may_panic_or_drop_the_queue() {
    let setup = Setup::new(QueueLimits::default());
    setup.gate.open_to(usize::MAX);
    let request = setup.request(&[5], None);
    let panics = setup.queue.submit(request, "a", |_| panic!("a bug in the caller"));
    answer(&setup.submit(&[5], "a").expect("room")).expect("embedded");
    drop(panics);
    let request = setup.request(&[5], None);
    let queue = Arc::new(Mutex::new(None));
    let (last, (send, answers)) = (Arc::clone(&queue), mpsc::channel());
    let drops = move |result: Answer| {
        drop(last.lock().expect("not poisoned").take());
        drop(send.send(result));
    };
    let mut held = queue.lock().expect("not poisoned");
    let ticket = setup.queue.submit(request, "a", drops).expect("room");
    *held = Some(setup.queue);
    drop(held);
    answers.recv_timeout(PATIENCE).expect("no thread waits for itself").expect("embedded");
    drop(ticket);
}

#[test]
fn a_request_without_anything_to_run_is_answered() {
    let setup = Setup::new(QueueLimits::default());
    assert!(answer(&setup.submit(&[], "a").expect("room")).expect("empty").is_empty());
}

#[test]
fn a_stalled_lane_is_reported() {
    let setup = Setup::new(QueueLimits::default());
    assert_eq!(setup.queue.stats().stalled, None);
    // Blocks as the model's threads would if they hung: without calling `keep_running`.
    setup.gate.open_to(usize::MAX);
    let (enter, entered) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let hang = move |_| {
        enter.send(()).expect("the test waits");
        left.recv().expect_err("nothing is sent; the sender is dropped");
    };
    let ticket = setup.queue.submit(setup.request(&[5], None), "a", hang).expect("room");
    entered.recv_timeout(PATIENCE).expect("answered");
    std::thread::sleep(Duration::from_millis(50));
    answer(&setup.submit(&[300], "a").expect("room")).expect("another lane makes progress");
    let stalled = setup.queue.stats().stalled.expect("a request is not settled");
    assert!(stalled >= Duration::from_millis(50), "{stalled:?}");
    drop(leave);
    assert!(setup.queue.drain(PATIENCE));
    assert_eq!(setup.queue.stats().stalled, None);
    drop(ticket);
}

/// Records its calls and then panics.
#[derive(Debug, Default)]
struct Counts {
    waits: Mutex<Vec<Duration>>,
    runs: Mutex<BTreeSet<(usize, usize)>>,
}

impl Observer for Counts {
    fn waited(&self, wait: Duration) {
        self.waits.lock().expect("not poisoned").push(wait);
    }

    fn ran(&self, tokens: usize, sequences: usize, _: Duration) {
        self.runs.lock().expect("not poisoned").insert((tokens, sequences));
        panic!("a bug in the observer");
    }
}

#[test]
fn an_observer_receives_waits_and_runs_and_may_panic() {
    let counts = Arc::new(Counts::default());
    let observer: Arc<dyn Observer> = Arc::clone(&counts) as _;
    let limits = QueueLimits { observer: Some(observer), ..QueueLimits::default() };
    let setup = Setup::new(limits);
    setup.gate.open_to(usize::MAX);
    for lengths in [&[5, 6][..], &[300]] {
        answer(&setup.submit(lengths, "a").expect("room")).expect("embedded");
    }
    assert_eq!(counts.waits.lock().expect("not poisoned").len(), 2);
    let runs = counts.runs.lock().expect("not poisoned").clone();
    assert_eq!(runs, BTreeSet::from([(11, 2), (300, 1)]));
}

#[test]
fn windows_of_a_document_run_in_order_together_with_other_requests() {
    let setup = Setup::new(QueueLimits::default());
    let document = text(1800);
    let chunks = setup.model.chunk(&document, crate::Chunking::Tokens(250)).expect("chunks");
    let window = Window { size: Some(900), overlap: Some(150) };
    let options = Options { window, ..Options::default() };
    let inputs = [Input::late(&document, &chunks).options(options)];
    let (late, other) = (
        setup.submit_request(setup.model.prepare(&inputs).expect("prepared"), "a").expect("room"),
        setup.submit(&[800, 800], "b").expect("room"),
    );
    setup.gate.open_to(usize::MAX);
    answer(&other).expect("embedded");
    assert_eq!(answer(&late).expect("embedded"), setup.model.embed(&inputs).expect("embedded"));
}
