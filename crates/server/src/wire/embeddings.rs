//! `/v1/embeddings`: the fields of Jina and OpenAI in one body.

use super::input::RawInput;
use super::vectors::{VectorSchema, size_hint, write_vector};
use kokeshi::EmbeddingType;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A request. A null equals an absent field, and unknown fields are ignored.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct EmbeddingsBody {
    /// A served model, with or without its owner (`jinaai/`), and with or without a task
    /// (`jina-embeddings-v3:retrieval.query`). The default is the first served model.
    pub(crate) model: Option<String>,
    pub(crate) input: RawInput,
    /// A task of the model. Without one, jina-embeddings-v3 uses no adapter.
    pub(crate) task: Option<String>,
    /// Leading dimensions to keep: an integer, or a string of digits.
    pub(crate) dimensions: Option<Count>,
    /// Treat `input` as one document and its items as the chunks. In a list of lists, each inner
    /// list is a document.
    pub(crate) late_chunking: Option<bool>,
    /// Normalize vectors to unit length; default true.
    pub(crate) normalized: Option<bool>,
    /// Truncate texts over the limit; default false: they are an error.
    pub(crate) truncate: Option<bool>,
    /// The encoding of vectors: `float`, `base64`, `binary`, `ubinary`, or a list of these.
    pub(crate) embedding_type: Option<Types>,
    /// OpenAI's name for `embedding_type`.
    pub(crate) encoding_format: Option<Types>,
    /// LlamaIndex's name for `embedding_type`.
    pub(crate) encoding_type: Option<Types>,
}

impl EmbeddingsBody {
    /// The requested encodings: `embedding_type` overrides `encoding_format`, which overrides
    /// `encoding_type`.
    pub(crate) fn types(&self) -> Vec<EmbeddingType> {
        let fields = [&self.embedding_type, &self.encoding_format, &self.encoding_type];
        let first = fields.into_iter().flatten().next();
        first.map_or_else(|| vec![EmbeddingType::default()], |types| types.0.clone())
    }
}

/// A count, which some clients send as a string.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count(pub(crate) usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountVisitor)
    }
}

impl PartialSchema for Count {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9]+$"));
        AnyOfBuilder::new().item(number).item(text).into()
    }
}

impl ToSchema for Count {}

struct CountVisitor;

impl Visitor<'_> for CountVisitor {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of 0 or more")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Count, E> {
        usize::try_from(number).map(Count).map_err(|_| E::custom("the number is too large"))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Count, E> {
        // Above 2⁵³, floats skip integers, but no valid count is near that.
        let is_count = number.fract() == 0.0 && (0.0..9e15).contains(&number);
        is_count
            .then_some(Count(number as usize))
            .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Float(number), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Count, E> {
        let number = text.trim().parse().map(Count);
        number.map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

/// One encoding or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Types(pub(crate) Vec<EmbeddingType>);

impl<'de> Deserialize<'de> for Types {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TypesVisitor)
    }
}

impl PartialSchema for Types {
    fn schema() -> RefOr<Schema> {
        let names = || EmbeddingType::ALL.map(EmbeddingType::name);
        let one = || ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names()));
        let several = ArrayBuilder::new().items(one()).min_items(Some(1));
        AnyOfBuilder::new().item(one()).item(several).into()
    }
}

impl ToSchema for Types {}

struct TypesVisitor;

impl<'de> Visitor<'de> for TypesVisitor {
    type Value = Types;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`float`, `base64`, `binary` or `ubinary`, or a list of these")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Types, E> {
        name.parse().map(|kind| Types(vec![kind])).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Types, A::Error> {
        let mut types = Vec::new();
        while let Some(name) = names.next_element::<String>()? {
            let kind = name.parse().map_err(A::Error::custom)?;
            if !types.contains(&kind) {
                types.push(kind);
            }
        }
        if types.is_empty() {
            return Err(A::Error::custom("the list of types is empty"));
        }
        Ok(Types(types))
    }
}

/// The schema of a response; [`write`] writes it.
#[derive(Serialize, ToSchema)]
#[schema(as = EmbeddingsResponse)]
pub(crate) struct ResponseSchema {
    /// `list`.
    object: String,
    model: String,
    usage: Usage,
    data: Vec<ItemSchema>,
}

/// Tokens of a request, including special tokens and the task's instruction.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Usage {
    pub(crate) total_tokens: usize,
    pub(crate) prompt_tokens: usize,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Embedding)]
pub(crate) struct ItemSchema {
    /// `embedding`.
    object: String,
    /// The index of its item in `input`, counted across the inner lists of a list of lists.
    index: usize,
    #[schema(value_type = VectorSchema)]
    embedding: (),
}

/// The body of a response, in one buffer.
pub(crate) fn write(
    model: &str,
    tokens: usize,
    vectors: &[Vec<f32>],
    kinds: &[EmbeddingType],
) -> Vec<u8> {
    let dimensions = vectors.first().map_or(0, Vec::len);
    let mut out = Vec::with_capacity(256 + vectors.len() * size_hint(dimensions, kinds));
    let model = serde_json::Value::from(model);
    let head = format!(
        "{{\"object\":\"list\",\"model\":{model},\"usage\":{{\"total_tokens\":{tokens},\
         \"prompt_tokens\":{tokens}}},\"data\":["
    );
    out.extend_from_slice(head.as_bytes());
    for (index, vector) in vectors.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let item = format!("{comma}{{\"object\":\"embedding\",\"index\":{index},\"embedding\":");
        out.extend_from_slice(item.as_bytes());
        write_vector(&mut out, vector, kinds);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}
