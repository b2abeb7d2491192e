//! The queue: many clients, the vectors of `Model::embed`, one answer each.

use kokeshi::{Embedded, Error, Input, LoadOptions, Model, Options, Queue, QueueLimits, Result};
use kokeshi_testkit::fixture;
use std::sync::{Arc, mpsc};
use std::time::Duration;

const V3: &str = "v3-tiny/original";

fn model(folder: &str) -> Arc<Model> {
    Arc::new(Model::open(&fixture(folder), &LoadOptions::default()).expect(folder))
}

fn start(model: &Arc<Model>) -> Queue {
    Queue::start(Arc::clone(model), QueueLimits::default()).expect("it starts")
}

/// Inputs of all tasks and lengths, of one vector and of many.
fn inputs(model: &Model, client: usize, request: usize) -> Vec<(String, Options)> {
    let task = |number: usize| {
        let tasks = &model.config().tasks;
        (number % 4 > 0).then(|| tasks[number % tasks.len()].name.clone())
    };
    let input = |number: usize| {
        let words = [1, 7, 40, 300, 1500][(client * 31 + request * 7 + number) % 5];
        let options = Options {
            task: task(client + number),
            normalized: number % 3 > 0,
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
fn every_request_of_many_clients_is_answered_once_with_the_bits_it_has_alone() {
    let model = model(V3);
    let queue = start(&model);
    let (answer, answers) = mpsc::channel();
    std::thread::scope(|scope| {
        for client in 0..8 {
            let (queue, model, answer) = (&queue, &model, answer.clone());
            scope.spawn(move || {
                let mut tickets = Vec::new();
                for number in 0..12 {
                    let inputs = inputs(model, client, number);
                    let request = model.prepare(&as_inputs(&inputs)).expect("prepared");
                    let answer = answer.clone();
                    let done = move |result| drop(answer.send((client, number, result)));
                    tickets.push(queue.submit(request, &client.to_string(), done).expect("room"));
                }
                assert!(queue.stats().requests <= 96);
                tickets
            });
        }
    });
    drop((queue, answer));
    assert_eq!(answers.iter().count(), 0);
}
