//! Texts at the model's limit of 8192 tokens, `<s>` and `</s>` included.

use kokeshi::{Chunking, Error, Input, LoadOptions, Model, Options, TokenCount, cosine};
use kokeshi_testkit::{assert_close, fixture};

const LIMIT: usize = 8192;

fn open() -> Model {
    Model::open(&fixture("v3-tiny/original"), &LoadOptions::default()).expect("a model")
}

/// A text of `tokens` tokens, the two special tokens included: `a` is one token.
fn text(tokens: usize) -> String {
    vec!["a"; tokens - 2].join(" ")
}

fn truncated(text: &str) -> Input<'_> {
    Input::new(text).options(Options { truncate: true, ..Options::default() })
}

#[test]
fn texts_up_to_the_limit_are_kept_whole_and_longer_texts_lose_their_tail() {
    let model = open();
    assert_eq!(model.config().max_tokens, LIMIT);
    let [below, at, above] = [LIMIT - 1, LIMIT, LIMIT + 1].map(text);
    let inputs = [truncated(&below), Input::new(&at), truncated(&above)];
    let embedded = model.embed(&inputs).expect("vectors");
    let counts = embedded.iter().map(|one| (one.tokens, one.truncated_tokens.get(), one.windows));
    assert_eq!(counts.collect::<Vec<_>>(), [(LIMIT - 1, 0, 1), (LIMIT, 0, 1), (LIMIT, 1, 1)]);
    assert_eq!(embedded[2].vectors, embedded[1].vectors, "the end token is kept");
    assert_ne!(embedded[0].vectors, embedded[1].vectors);
}

#[test]
fn one_token_over_the_limit_is_an_error_with_the_text_the_count_and_the_limit() {
    let model = open();
    let long = text(LIMIT + 1);
    let inputs = [Input::new("short"), Input::new(&long)];
    let mut passes = 0;
    let error = model.embed_with(&inputs, &mut |_| passes += 1).expect_err("too long");
    assert!(
        matches!(error, Error::TooLong { index: 1, tokens: TokenCount::Exact(8193), limit: LIMIT }),
        "{error}"
    );
    assert_eq!(passes, 0, "nothing runs when an input is invalid");
}

#[test]
fn the_instruction_counts() {
    let model = open();
    let text = text(LIMIT);
    let error = model.embed(&[Input::new(&text).task("retrieval.passage")]);
    assert!(
        matches!(error, Err(Error::TooLong { tokens: TokenCount::Exact(8204), .. })),
        "{error:?}"
    );
}

#[test]
fn late_chunking_over_the_limit_runs_in_windows_and_keeps_every_chunk() {
    let model = open();
    let text = text(LIMIT + 1);
    let chunks = model.chunk(&text, Chunking::Tokens(1000)).expect("chunks");
    let options = Options { truncate: true, ..Options::default() };
    let embedded = model.embed(&[Input::late(&text, &chunks).options(options)]).expect("vectors");
    assert_eq!(embedded[0].vectors.len(), 9);
    assert_eq!((embedded[0].tokens, embedded[0].truncated_tokens.get()), (LIMIT + 1, 0));
    assert_eq!(embedded[0].windows, 2);
    for vector in &embedded[0].vectors {
        let norm = vector.iter().map(|x| x * x).sum::<f32>();
        assert_close("squared length", &[norm], &[1.0], 1e-5);
    }
}

#[test]
fn chunks_in_the_middle_of_a_document_have_vectors_of_what_they_say() {
    let model = Model::starter(&LoadOptions::default()).expect("a model");
    let text = [
        include_str!("../../../demo/english/alice.txt"),
        include_str!("../../../demo/english/gettysburg.txt"),
        include_str!("../../../demo/english/aesop.md"),
    ]
    .join("\n\n");
    let chunks = model.chunk(&text, Chunking::Tokens(200)).expect("chunks");
    let late = model.embed(&[Input::late(&text, &chunks).task("retrieval.passage")]);
    let late = late.expect("vectors").remove(0);
    assert!(late.windows > 3, "{} windows: some have neither end of the text", late.windows);
    for (chunk, vector) in chunks.iter().zip(&late.vectors) {
        let alone = Input::new(&text[chunk.bytes.clone()]).task("retrieval.passage");
        let alone = model.embed(&[alone]).expect("a vector").remove(0);
        let cosine = cosine(vector, &alone.vectors[0]);
        assert!(cosine > 0.4, "{cosine} for the chunk at {:?}", chunk.bytes);
    }
}
