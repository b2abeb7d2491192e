//! Input → token sequences: instruction, special tokens, limits, truncation.

use crate::capability;
use crate::chunk::Chunk;
use crate::count::TokenCount;
use crate::error::{Error, KeepRunning, Result};
use crate::finish::Finish;
use crate::input::{Input, Options, Text, TextEnd};
use crate::late;
use crate::request::{Prepared, Request};
use crate::sequence::{Frame, Sequence};
use crate::spans::TokenBounds;
use crate::tokenize::Tokenizer;
use crate::window;
use kokeshi_model::EncoderConfig;
use rayon::prelude::*;
use std::ops::Range;

/// Largest text that a model accepts, in bytes. Tokenizing needs 80 (prose) to 190 (one long word)
/// bytes of memory per byte of text, as measured.
pub const MAX_TEXT_BYTES: usize = 16 << 20;

/// Turns inputs into sequences for one model.
pub(crate) struct Preparer {
    tokenizer: Tokenizer,
    config: EncoderConfig,
    /// Tokens of each task's instruction, by adapter index.
    instructions: Vec<Vec<u32>>,
}

impl Preparer {
    /// # Errors
    ///
    /// If the tokenizer does not belong to the model.
    pub(crate) fn new(tokenizer: Tokenizer, config: EncoderConfig) -> Result<Self> {
        tokenizer.check_ids_below(config.vocab)?;
        let instructions =
            config.tasks.iter().map(|task| tokenizer.ids(&task.instruction, &mut || true));
        let instructions = instructions.collect::<Result<_>>()?;
        Ok(Self { tokenizer, config, instructions })
    }

    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Prepares all inputs of a call.
    ///
    /// # Errors
    ///
    /// The error of the first input that has one.
    pub(crate) fn request(&self, inputs: &[Input<'_>]) -> Result<Request> {
        let inputs = inputs.par_iter().enumerate();
        let prepare = |(index, input)| self.prepare(index, input, &mut || true);
        let prepared: Vec<_> = inputs.map(prepare).collect();
        Ok(Request { inputs: prepared.into_iter().collect::<Result<_>>()? })
    }

    /// As [`Self::request`], on this thread alone and as long as `keep_running` is true.
    ///
    /// # Errors
    ///
    /// As [`Self::request`], and [`Error::Stopped`].
    pub(crate) fn request_while(
        &self,
        inputs: &[Input<'_>],
        keep_running: &mut KeepRunning<'_>,
    ) -> Result<Request> {
        let inputs = inputs.iter().enumerate();
        let prepared = inputs.map(|(index, input)| self.prepare(index, input, keep_running));
        Ok(Request { inputs: prepared.collect::<Result<_>>()? })
    }

    /// Prepares the input at `index` of a call.
    ///
    /// # Errors
    ///
    /// An unknown task, dimensions out of range, a text too long or too large, a chunk outside its
    /// text, impossible windows, or [`Error::Stopped`].
    pub(crate) fn prepare(
        &self,
        index: usize,
        input: &Input<'_>,
        keep_running: &mut KeepRunning<'_>,
    ) -> Result<Prepared> {
        let options = &input.options;
        capability::check_dimensions(&self.config, index, options.dimensions)?;
        let frame = self.frame(index, options)?;
        match input.text {
            Text::Whole(text) => self.whole(&frame, text, options, keep_running),
            Text::LateChunks { text, chunks } => {
                check_size(index, text.len())?;
                let (ids, spans) = self.chunk_spans(index, text, chunks, keep_running)?;
                self.late(&frame, &ids, &spans, options)
            }
            Text::LateParts(parts) => {
                check_size(index, parts.iter().map(|part| part.len()).sum())?;
                let (ids, spans) = self.part_spans(parts, keep_running)?;
                self.late(&frame, &ids, &spans, options)
            }
        }
    }

    /// The frame of the input at index `input` of a call.
    fn frame(&self, input: usize, options: &Options) -> Result<Frame<'_>> {
        let specials = self.tokenizer.specials();
        let Some(task) = &options.task else {
            return Ok(Frame { input, adapter: None, specials, instruction: &[] });
        };
        let adapter = capability::adapter(&self.config, input, task)?;
        let instruction = if options.instruction { &self.instructions[adapter][..] } else { &[] };
        Ok(Frame { input, adapter: Some(adapter), specials, instruction })
    }

    /// One vector for the whole of `text`.
    fn whole(
        &self,
        frame: &Frame<'_>,
        text: &str,
        options: &Options,
        keep_running: &mut KeepRunning<'_>,
    ) -> Result<Prepared> {
        check_size(frame.input, text.len())?;
        let limit = self.config.max_tokens;
        let limit = options.max_tokens.map_or(limit, |own| own.min(limit));
        let of_end = match options.truncated_end {
            TextEnd::Tail => self.tokenizer.first(text, limit, keep_running)?,
            TextEnd::Head => self.tokenizer.last(text, limit, keep_running)?,
        };
        let (before, after) = frame.lengths();
        let tokens = of_end.total.map(|own| before + own + after);
        let is_long = before + of_end.ids.len() + after > limit;
        if is_long && !options.truncate {
            return Err(Error::TooLong { index: frame.input, tokens, limit });
        }
        let ids = match (is_long, options.truncated_end) {
            (false, _) => frame.wrap(&of_end.ids),
            (true, TextEnd::Tail) => truncated(frame, &of_end.ids, limit),
            (true, TextEnd::Head) => {
                let room = limit.saturating_sub(before + after);
                truncated(frame, &of_end.ids[of_end.ids.len() - room..], limit)
            }
        };
        let truncated_tokens = tokens.map(|tokens| tokens.saturating_sub(ids.len()));
        let (document, finish) = (frame.whole(ids), Finish::new(options, self.config.hidden));
        Ok(Prepared { document, blank: None, truncated_tokens, finish })
    }

    /// Ids of the document's own tokens, and the token span of each chunk.
    fn chunk_spans(
        &self,
        index: usize,
        text: &str,
        chunks: &[Chunk],
        keep_running: &mut KeepRunning<'_>,
    ) -> Result<(Vec<u32>, Vec<Range<usize>>)> {
        let tokens = self.tokenizer.tokens(text, keep_running)?;
        let bounds = TokenBounds::new(text, &tokens);
        let span = |(number, chunk): (usize, &Chunk)| {
            if text.get(chunk.bytes.clone()).is_none() || chunk.tokens.end > bounds.len() {
                return Err(Error::Options(format!(
                    "text {index}: chunk {number} (bytes {:?}, tokens {:?}) is outside the text, \
                     which has {} bytes and {} tokens",
                    chunk.bytes,
                    chunk.tokens,
                    text.len(),
                    bounds.len()
                )));
            }
            let has_tokens = !chunk.tokens.is_empty();
            Ok(if has_tokens { chunk.tokens.clone() } else { bounds.tokens(&chunk.bytes) })
        };
        let spans = chunks.iter().enumerate().map(span).collect::<Result<_>>()?;
        Ok((tokens.ids, spans))
    }

    /// Ids of all parts' tokens, and the token span of each part.
    fn part_spans(
        &self,
        parts: &[&str],
        keep_running: &mut KeepRunning<'_>,
    ) -> Result<(Vec<u32>, Vec<Range<usize>>)> {
        let (mut ids, mut spans) = (Vec::new(), Vec::new());
        for part in parts {
            let start = ids.len();
            ids.extend(self.tokenizer.ids(part, keep_running)?);
            spans.push(start..ids.len());
        }
        Ok((ids, spans))
    }

    /// One vector for each of `spans` of `content`, the document's own tokens.
    fn late(
        &self,
        frame: &Frame<'_>,
        content: &[u32],
        spans: &[Range<usize>],
        options: &Options,
    ) -> Result<Prepared> {
        let sizes = options.window.sizes(self.config.trained_tokens, self.config.max_tokens)?;
        let ids = frame.wrap(content);
        let spans = late::in_model_input(spans, content.len(), frame.lengths(), options.late_spans);
        let passes = window::passes(ids.len(), sizes, &spans);
        let blank = spans.iter().any(Range::is_empty).then(|| frame.whole(frame.wrap(&[])));
        let lead = if options.windows_have_lead { frame.lengths().0 } else { 0 };
        let document = Sequence { ids, adapter: frame.adapter, lead, spans, passes };
        let finish = Finish::new(options, self.config.hidden);
        Ok(Prepared { document, blank, truncated_tokens: TokenCount::default(), finish })
    }
}

/// The first tokens of `content` in its frame, which together have at most `limit`.
fn truncated(frame: &Frame<'_>, content: &[u32], limit: usize) -> Vec<u32> {
    let after = frame.specials.1;
    let mut ids = frame.wrap(content);
    if ids.len() > limit {
        ids.truncate(limit.saturating_sub(after.len()));
        ids.extend_from_slice(&after[..after.len().min(limit)]);
    }
    ids
}

/// Refuses a text of `bytes` bytes, the input at `index`, if it is too large to tokenize.
///
/// # Errors
///
/// [`Error::TooLarge`] for more than [`MAX_TEXT_BYTES`].
pub(crate) fn check_size(index: usize, bytes: usize) -> Result<()> {
    if bytes > MAX_TEXT_BYTES {
        return Err(Error::TooLarge { index, bytes, limit: MAX_TEXT_BYTES });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kokeshi_model::Checkpoint;
    use kokeshi_testkit::{bytes, fixture, json};
    use serde_json::{Value, from_value};

    const V2: [&str; 4] = ["std_wordpiece", "code_bpe", "std_zh_f16", "code_reglu_bf16"];

    fn preparer(max_tokens: usize) -> Preparer {
        preparer_of("v3-tiny/original", max_tokens)
    }

    fn preparer_of(folder: &str, max_tokens: usize) -> Preparer {
        let checkpoint = Checkpoint::open(&fixture(folder)).expect("a checkpoint");
        let file = format!("{folder}/tokenizer.json");
        let tokenizer = Tokenizer::from_bytes(&file, &bytes(&file)).expect("a tokenizer");
        let config = EncoderConfig { max_tokens, ..checkpoint.config().clone() };
        Preparer::new(tokenizer, config).expect("they belong together")
    }

    #[test]
    fn ids_with_instruction_are_those_of_the_reference() {
        let cases = &json("v3-tiny/golden/cases.json")["texts"];
        let texts: Vec<String> = from_value(cases["texts"].clone()).expect("texts");
        let preparer = preparer(8192);
        for task in preparer.config.tasks.iter().map(|task| &task.name) {
            let expected = cases["ids_with_instruction"][task].clone();
            let expected: Vec<Vec<u32>> = from_value(expected).expect("ids");
            for (text, expected) in texts.iter().zip(expected) {
                let prepared =
                    preparer.prepare(0, &Input::new(text).task(task), &mut || true).expect(text);
                assert_eq!(prepared.document.ids, expected, "{task}: {text:?}");
            }
        }
    }

    /// Texts and their ids below `key` of a v2 fixture's golden file.
    fn v2_texts(name: &str, key: &str) -> Vec<(String, Vec<u32>)> {
        let golden = json(&format!("v2-tiny/{name}/golden.json"));
        let texts = golden[key].as_array().expect("texts").iter();
        let text = |text: &Value| {
            let ids = from_value(text["ids"].clone()).expect("ids");
            (text["text"].as_str().expect("a text").to_owned(), ids)
        };
        texts.map(text).collect()
    }

    #[test]
    fn ids_of_v2_are_those_of_the_reference_with_its_task_and_without() {
        for name in V2 {
            let preparer = preparer_of(&format!("v2-tiny/{name}"), 8192);
            let texts = v2_texts(name, "texts");
            assert_eq!(texts.len(), 7);
            for (text, expected) in texts {
                for input in [Input::new(&text), Input::new(&text).task("text-matching")] {
                    let prepared = preparer.prepare(0, &input, &mut || true).expect("prepared");
                    assert_eq!(prepared.document.ids, expected, "{name}: {text:?}");
                }
            }
        }
    }

    #[test]
    fn truncation_of_v2_keeps_the_first_tokens_and_the_end_token_as_the_reference_does() {
        let truncate = Options { truncate: true, ..Options::default() };
        for name in V2 {
            let preparer = preparer_of(&format!("v2-tiny/{name}"), 8);
            let texts = v2_texts(name, "truncated_to_8");
            assert_eq!(texts.len(), 3);
            for (text, expected) in texts {
                let input = Input::new(&text).options(truncate.clone());
                let prepared = preparer.prepare(0, &input, &mut || true).expect("truncated");
                assert_eq!(prepared.document.ids, expected, "{name}: {text:?}");
            }
        }
    }

    #[test]
    fn truncation_keeps_the_first_tokens_and_the_end_token_as_the_reference_does() {
        let cases = &json("v3-tiny/golden/cases.json")["truncation"];
        let text = cases["text"].as_str().expect("a text");
        let truncate = Options { truncate: true, ..Options::default() };
        for case in cases["cases"].as_array().expect("cases") {
            let limit = case["max_length"].as_u64().expect("a length") as usize;
            let expected: Vec<u32> = from_value(case["ids"].clone()).expect("ids");
            let input = Input::new(text).options(truncate.clone());
            let prepared = preparer(limit).prepare(0, &input, &mut || true).expect("truncated");
            assert_eq!(prepared.document.ids, expected);
            assert_eq!(prepared.truncated_tokens, TokenCount::Exact(2778 - limit));
        }
    }

    #[test]
    fn a_text_can_have_a_lower_limit_than_the_model_but_not_a_higher_one() {
        let cases = &json("v3-tiny/golden/cases.json")["truncation"];
        let text = cases["text"].as_str().expect("a text");
        let prepare = |max_tokens, truncate| {
            let options = Options { max_tokens: Some(max_tokens), truncate, ..Options::default() };
            preparer(128).prepare(0, &Input::new(text).options(options), &mut || true)
        };
        for case in cases["cases"].as_array().expect("cases") {
            let limit = case["max_length"].as_u64().expect("a length") as usize;
            let expected: Vec<u32> = from_value(case["ids"].clone()).expect("ids");
            let prepared = prepare(limit, true).expect("truncated");
            assert_eq!(prepared.document.ids, expected);
            let refused = prepare(limit, false).expect_err("a limit").to_string();
            assert!(refused.contains(&limit.to_string()), "{refused}");
        }
        let ids = |max_tokens| prepare(max_tokens, true).expect("truncated").document.ids;
        assert_eq!(ids(9999).len(), 128);
        // The frame alone has two tokens.
        assert_eq!((ids(1).len(), ids(0).len()), (1, 0));
    }

    #[test]
    fn truncation_of_the_head_keeps_the_frame_and_the_last_tokens() {
        let preparer = preparer(64);
        let text = "The lighthouse keeper wrote a short note and left. ".repeat(9000);
        let own = preparer.tokenizer.ids(&text, &mut || true).expect("ids");
        let options = Options {
            task: Some("retrieval.query".to_owned()),
            truncate: true,
            truncated_end: TextEnd::Head,
            ..Options::default()
        };
        let prepare = |text: &str| {
            let input = Input::new(text).options(options.clone());
            preparer.prepare(0, &input, &mut || true).expect("truncated")
        };
        let instruction = &preparer.instructions[0];
        let last = &own[own.len() - (64 - 2 - instruction.len())..];
        let expected = [&[0], &instruction[..], last, &[2]].concat();
        let prepared = prepare(&text);
        assert_eq!(prepared.document.ids, expected);
        assert!(matches!(prepared.truncated_tokens, TokenCount::About(_)));
        let prepared = prepare(&text[text.len() - 5100..]);
        assert_eq!(prepared.document.ids, expected);
        assert!(matches!(prepared.truncated_tokens, TokenCount::Exact(_)));
    }

    #[test]
    fn only_texts_over_the_limit_are_cut_or_refused() {
        let preparer = preparer(8192);
        for (tokens, truncate, kept) in [
            (8191, false, Some(8191)),
            (8191, true, Some(8191)),
            (8192, false, Some(8192)),
            (8192, true, Some(8192)),
            (8193, false, None),
            (8193, true, Some(8192)),
        ] {
            let text = vec!["a"; tokens - 2].join(" ");
            let options = Options { truncate, ..Options::default() };
            let prepared = preparer.prepare(0, &Input::new(&text).options(options), &mut || true);
            let got = prepared.ok().map(|prepared| prepared.document.ids.len());
            assert_eq!(got, kept, "{tokens} tokens, truncate {truncate}");
        }
    }

    #[test]
    fn an_instruction_can_be_left_out() {
        let options = Options {
            task: Some("retrieval.query".to_owned()),
            instruction: false,
            ..Options::default()
        };
        let prepared = preparer(8192).prepare(0, &Input::new("").options(options), &mut || true);
        let document = prepared.expect("a sequence").document;
        assert_eq!((document.ids, document.adapter), (vec![0, 2], Some(0)));
    }

    #[test]
    fn chunks_without_tokens_share_one_empty_text() {
        let parts = ["one", " ", "", "two"];
        let prepared =
            preparer(8192).prepare(3, &Input::late_parts(&parts), &mut || true).expect("prepared");
        let empty = prepared.document.spans.iter().map(Range::is_empty);
        assert_eq!(empty.collect::<Vec<_>>(), [false, true, true, false]);
        let blank = prepared.blank.as_ref().expect("the empty text");
        assert_eq!(blank.ids, [0, 2]);
        assert_eq!(prepared.tokens(), prepared.document.ids.len() + 2);
    }
}
