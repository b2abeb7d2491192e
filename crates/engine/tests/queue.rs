//! The queue: every request of many clients is answered once with the vectors of `Model::embed`.

use kokeshi::{
    Chunking, Embedded, Input, LoadOptions, Model, Options, Queue, QueueLimits, Request, Result,
    Ticket, Window,
};
use kokeshi_testkit::fixture;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const V3: &str = "v3-tiny/original";

fn model(folder: &str) -> Arc<Model> {
    Arc::new(Model::open(&fixture(folder), &LoadOptions::default()).expect(folder))
}

fn start_queue(model: &Arc<Model>) -> Queue {
    Queue::start(Arc::clone(model), QueueLimits::default()).expect("it starts")
}

/// Inputs of all tasks and of several lengths.
fn inputs(model: &Model, client: usize, request: usize) -> Vec<(String, Options)> {
    let task = |number: usize| {
        let tasks = &model.config().tasks;
        (!number.is_multiple_of(4)).then(|| tasks[number % tasks.len()].name.clone())
    };
    let input = |number: usize| {
        let words = [1, 7, 20, 60, 250][(client * 31 + request * 7 + number) % 5];
        let options = Options {
            task: task(client + number),
            normalized: !number.is_multiple_of(3),
            ..Options::default()
        };
        (format!("{client} {request} ").repeat(words), options)
    };
    (0..1 + (client + request) % 5).map(input).collect()
}

fn as_inputs(inputs: &[(String, Options)]) -> Vec<Input<'_>> {
    inputs.iter().map(|(text, options)| Input::new(text).options(options.clone())).collect()
}

#[test]
fn every_request_of_many_clients_is_answered_once_with_the_bits_of_embed() {
    let model = model(V3);
    let queue = start_queue(&model);
    let (answer, answers) = mpsc::channel();
    let send = |client: usize, number: usize| {
        let inputs = inputs(&model, client, number);
        let request = model.prepare(&as_inputs(&inputs)).expect("prepared");
        let answer = answer.clone();
        let done = move |result| drop(answer.send((client, number, result)));
        queue.submit(request, &client.to_string(), done).expect("room")
    };
    let tickets: Vec<Ticket> = thread::scope(|scope| {
        let client = |client| scope.spawn(move || (0..12).map(|n| send(client, n)).collect());
        let clients: Vec<thread::ScopedJoinHandle<'_, Vec<Ticket>>> = (0..8).map(client).collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    });
    let mut answered = BTreeSet::new();
    for (client, number, result) in answers.iter().take(8 * 12) {
        let alone = model.embed(&as_inputs(&inputs(&model, client, number)));
        assert_eq!(result.expect("embedded"), alone.expect("embedded"), "{client} {number}");
        assert!(answered.insert((client, number)), "answered twice: {client} {number}");
    }
    drop(tickets);
    // A request counts as answered just after its answer.
    assert!(queue.drain(Duration::from_secs(60)));
    let stats = queue.stats();
    assert_eq!((stats.requests, stats.tokens, stats.waiting_tokens), (0, 0, 0));
    assert!(stats.batches > 0 && stats.tokens_per_second.expect("measured") > 0.0);
    drop((queue, answer));
    assert_eq!(answers.iter().count(), 0, "nothing is answered later");
}

/// The answers of `queue` to `requests`, in order.
fn answers(queue: &Queue, requests: Vec<Request>) -> Vec<Vec<Embedded>> {
    let (answer, answers) = mpsc::channel();
    let submit = |(number, request)| {
        let answer = answer.clone();
        queue.submit(request, "a", move |result| drop(answer.send((number, result))))
    };
    let count = requests.len();
    let tickets = requests.into_iter().enumerate().map(submit).collect::<Result<Vec<_>>>();
    let tickets = tickets.expect("room");
    let mut answered: Vec<_> = answers.iter().take(count).collect();
    drop(tickets);
    answered.sort_by_key(|(number, _)| *number);
    answered.into_iter().map(|(_, result)| result.expect("embedded")).collect()
}

#[test]
fn late_chunks_blank_chunks_and_long_documents_equal_those_of_the_model() {
    for folder in [V3, "v2-tiny/std_wordpiece", "v2-tiny/code_bpe"] {
        let model = model(folder);
        let document = "The Force will be with you. Always.\n\n \n".repeat(60);
        let chunks = model.chunk(&document, Chunking::Tokens(100)).expect("chunks");
        let parts = ["one", " ", "", "two"];
        let window = Window { size: Some(500), overlap: Some(100) };
        let late =
            Input::late(&document, &chunks).options(Options { window, ..Options::default() });
        let inputs = [
            vec![late],
            vec![Input::late_parts(&parts), Input::new("")],
            vec![Input::new("short").task("text-matching")],
        ];
        let queue = start_queue(&model);
        let prepared = inputs.iter().map(|inputs| model.prepare(inputs).expect("prepared"));
        let alone: Vec<_> =
            inputs.iter().map(|inputs| model.embed(inputs).expect("embedded")).collect();
        assert_eq!(answers(&queue, prepared.collect()), alone, "{folder}");
    }
}

/// Continuous streams of short and long requests for two models on the same cores: each lane of
/// each model makes progress.
#[test]
fn neither_short_nor_long_requests_starve() {
    const ROUNDS: usize = 5;
    let models = [model(V3), model("v2-tiny/std_wordpiece")];
    let queues = models.each_ref().map(start_queue);
    let (word, mut counts) = ("word ", Vec::new());
    let done = AtomicUsize::new(0);
    let start = Instant::now();
    let stream = |model: &Arc<Model>, queue: &Queue, words: usize| {
        let text = word.repeat(words);
        let options = Options { truncate: true, ..Options::default() };
        let mut count = 0;
        // Runs until all streams have completed their rounds, so that none ends the pressure early.
        while done.load(Ordering::Relaxed) < 6 {
            assert!(start.elapsed() < Duration::from_secs(120), "a stream starves");
            let input = Input::new(&text).options(options.clone());
            let request = model.prepare(&[input]).expect("prepared");
            assert_eq!(answers(queue, vec![request])[0].len(), 1);
            count += 1;
            if count == ROUNDS {
                done.fetch_add(1, Ordering::Relaxed);
            }
        }
        count
    };
    thread::scope(|scope| {
        let streams: Vec<_> = models
            .iter()
            .zip(&queues)
            .flat_map(|(model, queue)| [5, 100, 600].map(|words| (model, queue, words)))
            .map(|(model, queue, words)| scope.spawn(move || stream(model, queue, words)))
            .collect();
        counts.extend(streams.into_iter().map(|stream| stream.join().expect("a stream")));
    });
    assert_eq!(counts.len(), 6);
    assert!(counts.iter().all(|&count| count >= ROUNDS), "{counts:?}");
}
