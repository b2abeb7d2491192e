//! Cuts and first tokens, compared with the whole text, for every kind of tokenizer.

use crate::tokenize::Tokenizer;
use kokeshi_testkit::{Random, bytes};
use std::ops::Range;

/// Every pipeline of the fixtures.
const FILES: [&str; 6] = [
    "v3-tiny/original/tokenizer.json",
    "v3-tiny/golden/tokenizer_newer_pipeline.json",
    "v2-tiny/std_wordpiece/tokenizer.json",
    "v2-tiny/code_bpe/tokenizer.json",
    "v2-tiny/std_zh_f16/tokenizer.json",
    "starter",
];

/// What odd texts are made of.
const PIECES: &[&str] = &[
    " ",
    "  ",
    "\n",
    "\r\n",
    "\n\n",
    "\t",
    "\u{a0}",
    "\u{3000}",
    "\u{200b}",
    "\u{2028}",
    "\u{1}",
    "the",
    "lighthouse",
    "Größe",
    "keeper's",
    "I'll",
    "3.7",
    "007",
    "e\u{301}",
    "a",
    "aaaaaaa",
    "X",
    "…",
    ",",
    ". ",
    "!?",
    "--",
    "(x)",
    "{\"k\":1}",
    "_",
    "<",
    ">",
    "<s>",
    "</s>",
    "<mask>",
    " <mask>",
    "[SEP]",
    "<ma",
    "sk>",
    "▁",
    "▁a",
    "½",
    "ﷺ",
    "ﬁ",
    "ｆｕｌｌ",
    "中",
    "文字",
    "灯台の",
    "。",
    "한국어",
    "\u{1112}\u{1161}\u{11ab}",
    "हिन्दी",
    "क्ष",
    "ไทย",
    "עברית",
    "العربية",
    "\u{600}1",
    "\u{d4e}",
    "\u{301}",
    "\u{20dd}",
    "🚀",
    "👩‍👩‍👧",
    "🇩🇪",
    "🇩",
    "👍🏽",
    "\u{200d}",
    "\u{fe0f}",
    "\0",
    "\u{feff}",
    "\u{fffd}",
    "\u{10ffff}",
    "ſ",
    "İ",
    "ß",
    "Σ",
    "Å",
    "\u{212b}",
];

pub(crate) fn tokenizers() -> Vec<(&'static str, Tokenizer)> {
    let open = |file: &'static str| {
        let json = match file {
            "starter" => kokeshi_starter::TOKENIZER.to_vec(),
            file => bytes(file),
        };
        (file, Tokenizer::from_bytes(file, &json).expect(file))
    };
    FILES.map(open).into()
}

/// Pieces at random; a text is made of few different ones, so that they meet often.
fn odd_text(random: &mut Random, pieces: &[&str], len: usize) -> String {
    let kinds = 1 + random.next_u64() as usize % 6;
    let mut pick = |count: usize| random.next_u64() as usize % count;
    let kinds: Vec<&str> = (0..kinds).map(|_| pieces[pick(pieces.len())]).collect();
    let mut text = String::new();
    while text.len() < len {
        text.push_str(kinds[pick(kinds.len())]);
    }
    text
}

fn whole(tokenizer: &Tokenizer, text: &str) -> (Vec<u32>, Vec<Range<usize>>) {
    let encoding = tokenizer.inner().encode(text, false).expect("tokens");
    let bytes = encoding.get_offsets().iter().map(|&(start, end)| start..end).collect();
    (encoding.get_ids().to_vec(), bytes)
}

#[test]
fn both_sides_of_a_cut_have_the_tokens_of_the_whole() {
    for (name, tokenizer) in tokenizers() {
        let mut random = Random::new(7);
        let mut cuts = 0;
        for _ in 0..1000 {
            let text = odd_text(&mut random, PIECES, 40);
            let expected = whole(&tokenizer, &text);
            let mut at = 0;
            while at < text.len() {
                at = tokenizer.cuts().next(&text, at + 1);
                let (mut left, right) =
                    (whole(&tokenizer, &text[..at]), whole(&tokenizer, &text[at..]));
                left.0.extend(right.0);
                left.1.extend(right.1.into_iter().map(|range| range.start + at..range.end + at));
                assert_eq!(left, expected, "{name}: {:?} | {:?}", &text[..at], &text[at..]);
                cuts += 1;
            }
        }
        assert!(cuts > 800, "{name}: {cuts}");
    }
}

#[test]
fn long_texts_are_tokenized_in_blocks_like_the_whole() {
    for (name, tokenizer) in tokenizers() {
        let mut random = Random::new(11);
        for _ in 0..4 {
            let text = odd_text(&mut random, PIECES, 100_000);
            let (ids, bytes) = whole(&tokenizer, &text);
            let tokens = tokenizer.tokens(&text, &mut || true).expect("tokens");
            assert!(tokens.ids == ids && tokens.bytes == bytes, "{name}: {text:.60}");
            assert!(tokenizer.ids(&text, &mut || true).expect("ids") == ids, "{name}");
        }
        let prose = "The keeper wrote a short note, and left.\n".repeat(4000);
        assert!(tokenizer.cuts().blocks(&prose).count() >= 4, "{name}");
    }
}

/// Texts without ASCII white space: one letter, words of many scripts, emoji, marks.
fn unbroken() -> Vec<String> {
    let pieces: Vec<&str> =
        PIECES.iter().copied().filter(|piece| !piece.contains([' ', '\n', '\r', '\t'])).collect();
    let mut random = Random::new(13);
    let mut texts: Vec<String> = (0..3).map(|_| odd_text(&mut random, &pieces, 140_000)).collect();
    for one in [
        "a",
        "中",
        "文字列",
        "🚀",
        "👩‍👩‍👧",
        "\u{301}",
        "e\u{301}",
        "ﷺ",
        "ab",
        "1",
        "-",
        "\u{a0}",
        "<mask>",
        "🇩🇪",
        "lighthousekeeper",
        "AbC0+/",
        "\u{a0}x",
    ] {
        texts.push(one.repeat(140_000 / one.len()));
    }
    texts
}

/// Compares the first and last `limit` tokens of a long text with those of the whole; whether the text
/// was not tokenized to its end.
fn ends_of(tokenizer: &Tokenizer, name: &str, text: &str, limit: usize) -> usize {
    let (ids, _) = whole(tokenizer, text);
    let sample: String = text.chars().take(30).collect();
    let first = tokenizer.first(text, limit, &mut || true).expect("tokens");
    let kept = first.ids.len().min(limit + 1);
    assert!(first.ids[..kept] == ids[..kept], "{name}, {limit}: {sample:?}");
    assert!(kept == ids.len() || kept == limit + 1, "{name}, {limit}: {sample:?}");
    let last = tokenizer.last(text, limit, &mut || true).expect("tokens");
    let kept = last.ids.len().min(limit + 1);
    assert!(last.ids.ends_with(&ids[ids.len() - kept..]), "{name}, {limit}: {sample:?}");
    match first.total {
        crate::TokenCount::Exact(total) => assert_eq!(total, ids.len(), "{name}"),
        crate::TokenCount::About(total) => assert!(total > limit, "{name}"),
    }
    usize::from(first.ids.len() < ids.len())
}

#[test]
fn the_first_tokens_of_a_long_text_are_those_of_the_whole() {
    compare_ends(3);
}

#[test]
#[ignore = "slow; `.ci/run` runs it"]
fn the_first_tokens_of_every_long_text_are_those_of_the_whole() {
    compare_ends(1);
}

/// Compares the ends of one of `share` long texts with each tokenizer; together the tokenizers have
/// all texts.
fn compare_ends(share: usize) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for (number, (name, tokenizer)) in (0..).zip(tokenizers()) {
        let mut random = Random::new(17);
        let long = (0..2).map(|_| odd_text(&mut random, PIECES, 140_000));
        let texts: Vec<String> = unbroken().into_iter().chain(long).skip(number % share).collect();
        let texts: Vec<String> = texts.into_iter().step_by(share).collect();
        let shortened: usize = std::thread::scope(|scope| {
            let share = |thread| {
                let texts = texts.iter().enumerate().skip(thread).step_by(threads);
                let tokenizer = &tokenizer;
                // Every kind of text has each limit, with half of the tokenizers.
                let limit = move |text: usize| [1, 1000][(text + number / share) % 2];
                let ends =
                    move |(at, text): (usize, &String)| ends_of(tokenizer, name, text, limit(at));
                scope.spawn(move || texts.map(ends).sum::<usize>())
            };
            let shares: Vec<_> = (0..threads).map(share).collect();
            shares.into_iter().map(|share| share.join().expect("no thread fails")).sum()
        });
        let enough = 8 / share;
        assert!(
            shortened >= enough,
            "{name}: only {shortened} texts were not tokenized to the end"
        );
    }
}

#[test]
fn work_stops_between_two_blocks() {
    let (_, tokenizer) = tokenizers().remove(0);
    let text = "word ".repeat(100_000);
    let mut calls = 0;
    let stopped = tokenizer.ids(&text, &mut || {
        calls += 1;
        calls < 3
    });
    assert!(matches!(stopped, Err(crate::Error::Stopped)));
    assert_eq!(calls, 3);
}
