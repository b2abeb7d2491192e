//! What must not change a vector: company, order, number of threads, the way a task is mixed.

use kokeshi::{Chunking, Device, Input, LateSpans, LoadOptions, Model, Options, Window};
use kokeshi_testkit::{assert_close, fixture};

const TEXTS: [&str; 7] = [
    "The Force will be with you. Always.",
    "",
    "力量与你同在。永远。",
    "a",
    "  Смотритель маяка писал заметку о погоде.\n",
    "No, I am your father.",
    "La Forza sarà con te. Sempre. La Forza sarà con te. Sempre. La Forza sarà con te. Sempre.",
];
const TASKS: [Option<&str>; 6] = [
    None,
    Some("retrieval.query"),
    Some("retrieval.passage"),
    Some("separation"),
    Some("classification"),
    Some("text-matching"),
];

fn open(threads: Option<usize>) -> Model {
    let device = Device::Cpu { threads, level: None };
    Model::open(&fixture("v3-tiny/original"), &LoadOptions { device }).expect("a model")
}

/// Every text with every task.
fn mixed() -> Vec<Input<'static>> {
    let with_tasks = |text| {
        TASKS.map(|task| {
            let task = task.map(str::to_owned);
            Input::new(text).options(Options { task, ..Options::default() })
        })
    };
    TEXTS.into_iter().flat_map(with_tasks).collect()
}

fn vectors(model: &Model, inputs: &[Input<'_>]) -> Vec<Vec<f32>> {
    let embedded = model.embed(inputs).expect("vectors");
    embedded.into_iter().flat_map(|one| one.vectors).collect()
}

#[test]
fn an_input_alone_has_the_bits_it_has_in_a_batch() {
    let (model, inputs) = (open(None), mixed());
    let together = vectors(&model, &inputs);
    for (input, batched) in inputs.iter().zip(&together) {
        let alone = vectors(&model, std::slice::from_ref(input));
        assert_eq!(alone[0], *batched, "{input:?}");
    }
}

#[test]
fn order_does_not_change_a_bit() {
    let (model, mut inputs) = (open(None), mixed());
    let forwards = vectors(&model, &inputs);
    inputs.reverse();
    let mut backwards = vectors(&model, &inputs);
    backwards.reverse();
    assert_eq!(forwards, backwards);
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let inputs = mixed();
    let one = vectors(&open(Some(1)), &inputs);
    for threads in [2, 5] {
        assert_eq!(vectors(&open(Some(threads)), &inputs), one, "{threads} threads");
    }
}

#[test]
fn tasks_mixed_in_one_call_equal_tasks_run_apart() {
    let (model, inputs) = (open(None), mixed());
    let mixed = vectors(&model, &inputs);
    for (number, task) in TASKS.iter().enumerate() {
        let same_task: Vec<_> = inputs.iter().skip(number).step_by(TASKS.len()).cloned().collect();
        let apart = vectors(&model, &same_task).concat();
        let mixed: Vec<_> = mixed.iter().skip(number).step_by(TASKS.len()).cloned().collect();
        assert_close(task.unwrap_or("no task"), &mixed.concat(), &apart, 1e-6);
    }
}

#[test]
fn tasks_give_different_vectors() {
    let vectors = vectors(&open(None), &mixed());
    for (a, b) in vectors[..TASKS.len()].iter().zip(&vectors[1..TASKS.len()]) {
        assert_ne!(a, b);
    }
}

#[test]
fn late_chunking_with_one_chunk_is_the_mean_of_the_whole_text() {
    let model = open(None);
    for text in TEXTS {
        let chunks = model.chunk(text, Chunking::Tokens(usize::MAX)).expect("at most one chunk");
        let whole = vectors(&model, &[Input::new(text).task("retrieval.passage")]);
        let late = vectors(&model, &[Input::late(text, &chunks).task("retrieval.passage")]);
        assert_eq!(late, whole[..chunks.len()], "{text:?}");
        let part = vectors(&model, &[Input::late_parts(&[text]).task("retrieval.passage")]);
        assert_eq!(part, whole, "{text:?}");
    }
}

#[test]
fn parts_are_the_chunks_of_the_parts_joined_by_a_space() {
    let model = open(None);
    let parts = ["The Force will be with you.", "力量与你同在。", "Sempre!"];
    let joined = parts.join(" ");
    let mut start = 0;
    let chunks = parts.map(|part| {
        let bytes = start..start + part.len();
        start = bytes.end + 1;
        kokeshi::Chunk::new(&joined, bytes).expect("whole characters")
    });
    let by_parts = vectors(&model, &[Input::late_parts(&parts)]);
    assert_eq!(by_parts, vectors(&model, &[Input::late(&joined, &chunks)]));
}

#[test]
fn a_chunk_that_spans_two_windows_is_the_mean_over_both() {
    let model = open(None);
    let text = TEXTS.join(" ");
    let window = Window { size: Some(24), overlap: 8 };
    let plain =
        Options { window, normalized: false, late_spans: LateSpans::Content, ..Options::default() };
    let chunks = |size| model.chunk(&text, Chunking::Tokens(size)).expect("chunks");
    let (tokens, document) = (chunks(1), chunks(usize::MAX));
    let input = |chunks| Input::late(&text, chunks).options(plain.clone());
    let embedded = model.embed(&[input(&tokens), input(&document)]).expect("vectors");
    assert!(embedded[1].windows > 3, "{} windows", embedded[1].windows);
    let mut mean = vec![0.0; model.config().hidden];
    for state in &embedded[0].vectors {
        mean.iter_mut().zip(state).for_each(|(mean, x)| *mean += x / tokens.len() as f32);
    }
    assert_close("one chunk", &embedded[1].vectors[0], &mean, 1e-5);
}

#[test]
fn nothing_in_gives_nothing_out() {
    let model = open(None);
    assert!(model.embed(&[]).expect("no vectors").is_empty());
    let embedded = model.embed(&[Input::late("text", &[]), Input::late_parts(&[])]);
    for one in embedded.expect("no vectors") {
        assert!(one.vectors.is_empty());
        assert_eq!((one.tokens, one.windows), (0, 0));
    }
}
