//! A vector does not depend on the rest of the batch, its order, the number of threads or the mix
//! of tasks.

use kokeshi::{Chunking, Device, Input, LateSpans, LoadOptions, Model, Options, Precision, Window};
use kokeshi_testkit::{assert_close, fixture, unit_rows};

const TEXTS: [&str; 7] = [
    "The Force will be with you. Always.",
    "",
    "力量与你同在。永远。",
    "a",
    "  Смотритель маяка писал заметку о погоде.\n",
    "No, I am your father.",
    "La Forza sarà con te. Sempre. La Forza sarà con te. Sempre. La Forza sarà con te. Sempre.",
];
/// Both families and all kinds of tokenizer.
const FOLDERS: [&str; 5] = [
    "v3-tiny/original",
    "v2-tiny/std_wordpiece",
    "v2-tiny/code_bpe",
    "v2-tiny/std_zh_f16",
    "v2-tiny/code_reglu_bf16",
];

fn open_on(folder: &str, threads: Option<usize>) -> Model {
    let device = Device::Cpu { threads, level: None, precision: Some(Precision::F32) };
    Model::open(&fixture(folder), &LoadOptions { device }).expect(folder)
}

fn open(folder: &str) -> Model {
    open_on(folder, None)
}

/// No task, then the model's tasks.
fn tasks(model: &Model) -> Vec<Option<String>> {
    let names = model.config().tasks.iter().map(|task| Some(task.name.clone()));
    std::iter::once(None).chain(names).collect()
}

/// Every text with every task.
fn mixed(model: &Model) -> Vec<Input<'static>> {
    let with_tasks = |text| {
        let options = |task| Options { task, ..Options::default() };
        tasks(model).into_iter().map(move |task| Input::new(text).options(options(task)))
    };
    TEXTS.into_iter().flat_map(with_tasks).collect()
}

fn vectors(model: &Model, inputs: &[Input<'_>]) -> Vec<Vec<f32>> {
    let embedded = model.embed(inputs).expect("vectors");
    embedded.into_iter().flat_map(|one| one.vectors).collect()
}

#[test]
fn an_input_has_the_same_bits_alone_and_in_a_batch() {
    for folder in FOLDERS {
        let model = open(folder);
        let inputs = mixed(&model);
        for (input, batched) in inputs.iter().zip(vectors(&model, &inputs)) {
            let alone = vectors(&model, std::slice::from_ref(input));
            assert_eq!(alone, [batched], "{folder}: {input:?}");
        }
    }
}

#[test]
fn order_does_not_change_a_bit() {
    for folder in FOLDERS {
        let model = open(folder);
        let mut inputs = mixed(&model);
        let forwards = vectors(&model, &inputs);
        inputs.reverse();
        let mut backwards = vectors(&model, &inputs);
        backwards.reverse();
        assert_eq!(forwards, backwards, "{folder}");
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    for folder in FOLDERS {
        let model = open_on(folder, Some(1));
        let inputs = mixed(&model);
        let one = vectors(&model, &inputs);
        for threads in [2, 5] {
            let many = vectors(&open_on(folder, Some(threads)), &inputs);
            assert_eq!(many, one, "{folder}: {threads} threads");
        }
    }
}

#[test]
fn tasks_mixed_in_one_call_equal_tasks_run_separately() {
    let model = open("v3-tiny/original");
    let (inputs, tasks) = (mixed(&model), tasks(&model));
    let mixed = vectors(&model, &inputs);
    for (number, task) in tasks.iter().enumerate() {
        let same_task: Vec<_> = inputs.iter().skip(number).step_by(tasks.len()).cloned().collect();
        let apart = vectors(&model, &same_task).concat();
        let mixed: Vec<_> = mixed.iter().skip(number).step_by(tasks.len()).cloned().collect();
        assert_close(task.as_deref().unwrap_or("no task"), &mixed.concat(), &apart, 1e-6);
    }
}

/// Whole texts, chunks in several windows, and parts of which one has no token, each with different
/// dimensions in one call.
#[test]
fn fewer_dimensions_are_a_prefix_of_all_dimensions_in_any_batch() {
    let model = open("v3-tiny/original");
    let text = TEXTS.join(" ");
    let chunks = model.chunk(&text, Chunking::Tokens(9)).expect("chunks");
    let parts = ["The Force will be with you.", "", "Sempre!"];
    let inputs = |dimensions: &[Option<usize>], normalized| {
        let window = Window { size: Some(24), overlap: Some(8) };
        let options = |dimensions| Options { dimensions, normalized, window, ..Options::default() };
        let each = |&dimensions| {
            let inputs =
                [Input::new(TEXTS[0]), Input::late(&text, &chunks), Input::late_parts(&parts)];
            inputs.map(|input| input.options(options(dimensions)))
        };
        dimensions.iter().flat_map(each).collect::<Vec<_>>()
    };
    let dimensions = [Some(5), None, Some(1), Some(33), Some(64)];
    let whole = vectors(&model, &inputs(&[None], false));
    let mixed = vectors(&model, &inputs(&dimensions, false));
    let scaled = vectors(&model, &inputs(&dimensions, true));
    assert_eq!(mixed.len(), dimensions.len() * whole.len());
    for (i, dimensions) in dimensions.into_iter().enumerate() {
        let of = |all: &[Vec<f32>]| all[i * whole.len()..][..whole.len()].to_vec();
        let width = dimensions.unwrap_or(64);
        let expected: Vec<_> = whole.iter().map(|vector| vector[..width].to_vec()).collect();
        assert_eq!(of(&mixed), expected, "{width} dimensions");
        assert_eq!(vectors(&model, &inputs(&[dimensions], true)), of(&scaled), "alone, {width}");
        for (vector, cut) in of(&scaled).iter().zip(&expected) {
            assert_close("scaled after the cut", vector, &unit_rows(cut, width), 1e-6);
        }
    }
}

#[test]
fn tasks_of_v3_give_different_vectors() {
    let model = open("v3-tiny/original");
    let (vectors, tasks) = (vectors(&model, &mixed(&model)), tasks(&model).len());
    assert_eq!(tasks, 6);
    for (a, b) in vectors[..tasks].iter().zip(&vectors[1..tasks]) {
        assert_ne!(a, b);
    }
}

#[test]
fn the_one_task_of_v2_changes_nothing() {
    for folder in &FOLDERS[1..] {
        let model = open(folder);
        assert_eq!(tasks(&model), [None, Some("text-matching".to_owned())]);
        for pair in vectors(&model, &mixed(&model)).chunks(2) {
            assert_eq!(pair[0], pair[1], "{folder}");
        }
    }
}

#[test]
fn late_chunking_with_one_chunk_is_the_mean_of_the_whole_text() {
    for folder in FOLDERS {
        let model = open(folder);
        for input in mixed(&model) {
            let kokeshi::Text::Whole(text) = input.text else {
                unreachable!("`mixed` returns whole texts")
            };
            let chunks = model.chunk(text, Chunking::Tokens(usize::MAX)).expect("at most one");
            let late = Input::late(text, &chunks).options(input.options.clone());
            let parts = [text];
            let part = Input::late_parts(&parts).options(input.options.clone());
            let whole = vectors(&model, std::slice::from_ref(&input));
            assert_eq!(vectors(&model, &[late]), whole[..chunks.len()], "{folder}: {input:?}");
            assert_eq!(vectors(&model, &[part]), whole, "{folder}: {input:?}");
        }
    }
}

/// The byte-level tokenizers of the `code` fixtures have tokens for spaces.
#[test]
fn parts_are_the_chunks_of_the_parts_joined_by_a_space_unless_spaces_are_tokens() {
    let parts = ["The Force will be with you.", "力量与你同在。", "Sempre!"];
    let joined = parts.join(" ");
    let mut start = 0;
    let chunks = parts.map(|part| {
        let bytes = start..start + part.len();
        start = bytes.end + 1;
        kokeshi::Chunk::new(&joined, bytes).expect("whole characters")
    });
    for folder in FOLDERS {
        let model = open(folder);
        let by_parts = vectors(&model, &[Input::late_parts(&parts)]);
        let by_chunks = vectors(&model, &[Input::late(&joined, &chunks)]);
        assert_eq!((by_parts.len(), by_chunks.len()), (3, 3));
        assert_eq!(by_parts == by_chunks, !folder.contains("code"), "{folder}");
    }
}

#[test]
fn a_chunk_that_spans_two_windows_is_the_mean_over_both() {
    let model = open("v3-tiny/original");
    let text = TEXTS.join(" ");
    let window = Window { size: Some(24), overlap: Some(8) };
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
fn empty_calls_have_empty_results() {
    let model = open("v3-tiny/original");
    assert!(model.embed(&[]).expect("no vectors").is_empty());
    let embedded = model.embed(&[Input::late("text", &[]), Input::late_parts(&[])]);
    for one in embedded.expect("no vectors") {
        assert!(one.vectors.is_empty());
        assert_eq!((one.tokens, one.windows), (0, 0));
    }
}
