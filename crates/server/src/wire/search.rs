//! `/v1/search`.

use super::embeddings::{Count, Usage};
use kokeshi_store::{Hit, RankContribution};
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::ops::Range;
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A search of a collection: by a text, or by a vector of its model.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct SearchBody {
    /// A name that is bound to a collection; default: the only one.
    pub(crate) collection: Option<String>,
    /// The text to search for. Either this or `vector` is required.
    pub(crate) query: Option<String>,
    /// A vector of the collection's model and its task for queries.
    pub(crate) vector: Option<Vec<f32>>,
    /// Maximum number of hits: 1 to 1000, default 10.
    pub(crate) limit: Option<Count>,
    /// Conditions on metadata that must all hold: `key=value`, or with `!=`, `<`, `<=`, `>`, `>=`.
    pub(crate) filter: Option<Texts>,
    /// Globs of paths (`docs/**/*.md`); a folder includes what is below it, and a leading `!`
    /// excludes.
    pub(crate) path: Option<Texts>,
    /// Also search by words (BM25), and fuse both rankings; default false. Needs `query`.
    pub(crate) hybrid: Option<bool>,
    /// Scan all vectors even if there are codes or an ANN index; default false.
    pub(crate) exact: Option<bool>,
    /// Minimum cosine of a hit.
    pub(crate) min_score: Option<f32>,
    /// Find the best sentence of each hit; default true. This embeds the hits' texts, which takes
    /// most of a search's time.
    pub(crate) best_sentences: Option<bool>,
}

/// A text or a list of texts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Texts(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Texts, E> {
        Ok(Texts(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Texts, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = items.next_element()? {
            texts.push(text);
        }
        Ok(Texts(texts))
    }
}

impl PartialSchema for Texts {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        AnyOfBuilder::new().item(text()).item(ArrayBuilder::new().items(text())).into()
    }
}

impl ToSchema for Texts {}

/// The answer to a [`SearchBody`].
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SearchResponse {
    /// `list`.
    pub(crate) object: &'static str,
    /// The collection that was searched.
    pub(crate) collection: String,
    /// The model of its vectors.
    pub(crate) model: String,
    /// Tokens of the query, and of the hits whose best sentences were found.
    pub(crate) usage: Usage,
    /// Best first; hits with the same text are one.
    pub(crate) hits: Vec<HitBody>,
}

/// A chunk that was found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Hit)]
pub(crate) struct HitBody {
    #[serde(flatten)]
    pub(crate) location: LocationBody,
    /// The format of the document.
    pub(crate) format: String,
    /// The range of bytes in the document's text.
    pub(crate) bytes: [usize; 2],
    pub(crate) text: String,
    /// The sentence that is closest to the query, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) best: Option<BestSentence>,
    /// Other locations of the same text.
    pub(crate) identical: Vec<LocationBody>,
    /// The parts of the score of a hybrid search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<WhyBody>,
}

/// Where a text was found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HitLocation)]
pub(crate) struct LocationBody {
    /// The document: a file, or the id of an added document.
    pub(crate) path: String,
    /// First and last line, if the text has lines of a file.
    pub(crate) lines: Option<[usize; 2]>,
    /// The page on which the chunk begins, if the document has pages.
    pub(crate) page: Option<usize>,
    /// The index of the chunk in its document.
    pub(crate) chunk: usize,
    /// The cosine, or in a hybrid search the sum of reciprocal ranks.
    pub(crate) score: f32,
    /// The fields of the document and the chunk.
    #[schema(value_type = Object)]
    pub(crate) metadata: Map<String, Value>,
}

/// The sentence of a hit that is closest to the query.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BestSentence {
    pub(crate) text: String,
    /// Where it is in the text of the hit, in bytes of UTF-8.
    pub(crate) bytes: [usize; 2],
    /// The same in characters.
    pub(crate) chars: [usize; 2],
}

/// The contributions to the score of a hybrid search.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = HitWhy)]
pub(crate) struct WhyBody {
    pub(crate) meaning: Option<ContributionBody>,
    pub(crate) words: Option<ContributionBody>,
}

/// The rank and score of a hit by meaning (a cosine) or by words (BM25).
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = HitContribution)]
pub(crate) struct ContributionBody {
    pub(crate) rank: usize,
    pub(crate) score: f32,
}

impl From<RankContribution> for ContributionBody {
    fn from(RankContribution { rank, score }: RankContribution) -> Self {
        Self { rank, score }
    }
}

impl LocationBody {
    fn of(hit: &mut Hit) -> Self {
        Self {
            path: std::mem::take(&mut hit.path),
            // Converted texts have no lines of their files.
            lines: Some(hit.location.lines).filter(|lines| lines.0 > 0).map(|(a, b)| [a, b]),
            page: hit.location.page,
            chunk: hit.ordinal,
            score: hit.score,
            metadata: std::mem::take(&mut hit.metadata),
        }
    }
}

impl HitBody {
    /// A hit, the later ones with its text, and its best sentence.
    pub(crate) fn new(
        (mut hit, identical): (Hit, Vec<Hit>),
        best: Option<Range<usize>>,
        is_hybrid: bool,
    ) -> Self {
        let why = is_hybrid.then_some(WhyBody {
            meaning: hit.dense.map(ContributionBody::from),
            words: hit.words.map(ContributionBody::from),
        });
        Self {
            location: LocationBody::of(&mut hit),
            format: hit.format,
            bytes: [hit.location.bytes.start, hit.location.bytes.end],
            best: best.map(|best| BestSentence::of(&hit.text, best)),
            text: hit.text,
            identical: identical.into_iter().map(|mut hit| LocationBody::of(&mut hit)).collect(),
            why,
        }
    }
}

impl BestSentence {
    fn of(text: &str, bytes: Range<usize>) -> Self {
        let start = text[..bytes.start].chars().count();
        let sentence = &text[bytes.clone()];
        Self {
            text: sentence.to_owned(),
            bytes: [bytes.start, bytes.end],
            chars: [start, start + sentence.chars().count()],
        }
    }
}
