//! All forms of `input`: a text, `{"text": …}`, lists of both, lists of lists, and token ids.

use crate::problem::{ApiResult, Problem};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fmt;
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A client's value, of which only the JSON types have been checked.
#[derive(Debug)]
pub(crate) enum RawInput {
    Text(String),
    Token(u32),
    /// A list of nothing but token ids: a body may have millions.
    Tokens(Vec<u32>),
    List(Vec<Self>),
}

/// Maximum number of items in all lists of an input, without token ids, so that a body of short
/// items does not take many times its size.
const MAX_ITEMS: usize = 1 << 20;

/// Texts to embed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RequestTexts {
    /// A list of texts.
    Flat(Vec<String>),
    /// The chunks of each document: a list of lists.
    Nested(Vec<Vec<String>>),
}

impl RequestTexts {
    /// Bytes of all texts.
    pub(crate) fn len_bytes(&self) -> usize {
        let len = |texts: &Vec<String>| texts.iter().map(String::len).sum::<usize>();
        match self {
            Self::Flat(texts) => len(texts),
            Self::Nested(documents) => documents.iter().map(len).sum(),
        }
    }

    /// The number of vectors to compute.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Flat(texts) => texts.len(),
            Self::Nested(documents) => documents.iter().map(Vec::len).sum(),
        }
    }
}

/// The valid types of an item of `input`, for messages.
const EXPECTED: &str = "a text, {\"text\": …} or a list of these";

impl<'de> Deserialize<'de> for RawInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RawVisitor { room: &Cell::new(MAX_ITEMS) }.deserialize(deserializer)
    }
}

/// Reads an input, or an item of one.
#[derive(Clone, Copy)]
struct RawVisitor<'a> {
    /// Items that the lists may still have.
    room: &'a Cell<usize>,
}

impl RawVisitor<'_> {
    fn take_room<E: Error>(self, items: usize) -> Result<(), E> {
        let room = self.room.get().checked_sub(items);
        let room = room.ok_or_else(|| {
            E::custom(format_args!("more than {MAX_ITEMS} items; send fewer per request"))
        })?;
        self.room.set(room);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for RawVisitor<'_> {
    type Value = RawInput;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawInput, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RawVisitor<'_> {
    type Value = RawInput;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RawInput, E> {
        Ok(RawInput::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<RawInput, E> {
        Ok(RawInput::Text(text))
    }

    fn visit_u64<E: Error>(self, token: u64) -> Result<RawInput, E> {
        let token = u32::try_from(token);
        token.map(RawInput::Token).map_err(|_| E::custom("a token id must be below 2³²"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawInput, A::Error> {
        let (mut tokens, mut list) = (Vec::new(), Vec::new());
        while let Some(item) = items.next_element_seed(self)? {
            match item {
                RawInput::Token(token) if list.is_empty() => tokens.push(token),
                item => {
                    self.take_room(tokens.len() + 1)?;
                    list.extend(tokens.drain(..).map(RawInput::Token));
                    list.push(item);
                }
            }
        }
        Ok(if tokens.is_empty() { RawInput::List(list) } else { RawInput::Tokens(tokens) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<RawInput, A::Error> {
        let mut text = None;
        let mut others = Vec::new();
        while let Some(name) = fields.next_key::<String>()? {
            if name == "text" {
                text = fields.next_value::<Option<String>>()?;
            } else {
                fields.next_value::<IgnoredAny>()?;
                others.push(name);
            }
        }
        match text {
            Some(text) => Ok(RawInput::Text(text)),
            None if others.iter().any(|name| is_media(name)) => {
                Err(A::Error::custom("images and PDFs require a multimodal model; send texts"))
            }
            None => Err(A::Error::custom("an object must have the field `text`")),
        }
    }
}

fn is_media(field: &str) -> bool {
    matches!(field, "image" | "pdf" | "url" | "bytes")
}

impl RawInput {
    /// Whether it is an empty text or an empty list.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Token(_) | Self::Tokens(_) => false,
            Self::List(items) => items.is_empty(),
        }
    }

    /// Number of token ids.
    pub(crate) fn token_ids(&self) -> usize {
        match self {
            Self::Text(_) => 0,
            Self::Token(_) => 1,
            Self::Tokens(ids) => ids.len(),
            Self::List(items) => items.iter().map(Self::token_ids).sum(),
        }
    }

    /// The texts of the field called `field`; `decode` converts token ids to a text.
    pub(crate) fn texts(
        self,
        field: &str,
        decode: impl Fn(&[u32]) -> ApiResult<String>,
    ) -> ApiResult<RequestTexts> {
        let items = match self {
            Self::List(items) => items,
            Self::Text(text) => return Ok(RequestTexts::Flat(vec![text])),
            Self::Tokens(ids) => return Ok(RequestTexts::Flat(vec![decode(&ids)?])),
            Self::Token(_) => {
                return Err(Problem::invalid(field, format!("expected {EXPECTED}")));
            }
        };
        if items.is_empty() {
            return Err(Problem::invalid(field, "expected at least one text; the list is empty"));
        }
        match items[0] {
            Self::Text(_) => all_texts(items, field).map(RequestTexts::Flat),
            Self::Token(_) => Ok(RequestTexts::Flat(vec![decode(&all_tokens(items, field)?)?])),
            Self::Tokens(_) | Self::List(_) => nested_lists(items, field, decode),
        }
    }
}

/// The inner lists are texts if they contain token ids, and documents if they contain texts.
fn nested_lists(
    items: Vec<RawInput>,
    field: &str,
    decode: impl Fn(&[u32]) -> ApiResult<String>,
) -> ApiResult<RequestTexts> {
    let are_token_ids = match &items[0] {
        RawInput::List(inner) => matches!(inner.first(), Some(RawInput::Token(_))),
        first => matches!(first, RawInput::Tokens(_)),
    };
    let (mut texts, mut documents) = (Vec::new(), Vec::new());
    for (index, item) in items.into_iter().enumerate() {
        let field = format!("{field}[{index}]");
        let inner = match item {
            RawInput::Tokens(ids) if are_token_ids => {
                texts.push(decode(&ids)?);
                continue;
            }
            RawInput::Tokens(ids) => ids.into_iter().take(1).map(RawInput::Token).collect(),
            RawInput::List(inner) => inner,
            RawInput::Text(_) | RawInput::Token(_) => {
                let message = "expected a list like the items before it";
                return Err(Problem::invalid(field, message));
            }
        };
        if inner.is_empty() {
            return Err(Problem::invalid(field, "expected at least one item; the list is empty"));
        }
        if are_token_ids {
            texts.push(decode(&all_tokens(inner, &field)?)?);
        } else {
            documents.push(all_texts(inner, &field)?);
        }
    }
    Ok(if are_token_ids { RequestTexts::Flat(texts) } else { RequestTexts::Nested(documents) })
}

fn all_texts(items: Vec<RawInput>, field: &str) -> ApiResult<Vec<String>> {
    let text = |(index, item): (usize, RawInput)| match item {
        RawInput::Text(text) => Ok(text),
        _ => {
            let message = "expected a text like the items before it";
            Err(Problem::invalid(format!("{field}[{index}]"), message))
        }
    };
    items.into_iter().enumerate().map(text).collect()
}

fn all_tokens(items: Vec<RawInput>, field: &str) -> ApiResult<Vec<u32>> {
    let token = |(index, item): (usize, RawInput)| match item {
        RawInput::Token(token) => Ok(token),
        _ => {
            let message = "expected a token id like the items before it";
            Err(Problem::invalid(format!("{field}[{index}]"), message))
        }
    };
    items.into_iter().enumerate().map(token).collect()
}

impl PartialSchema for RawInput {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let object = || {
            let described = ObjectBuilder::new().schema_type(Type::Object);
            described.property("text", text()).required("text")
        };
        let item = || AnyOfBuilder::new().item(text()).item(object());
        let token = || {
            ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(u32::MAX))
        };
        let list = |items: RefOr<Schema>| ArrayBuilder::new().items(items).min_items(Some(1));
        AnyOfBuilder::new()
            .item(text())
            .item(object())
            .item(list(Schema::from(item()).into()))
            .item(list(Schema::from(list(Schema::from(item()).into())).into()))
            .item(list(Schema::from(token()).into()))
            .item(list(Schema::from(list(Schema::from(token()).into())).into()))
            .description(Some(
                "A text, a list of texts, or, for late chunking, a list of lists: the chunks of \
                 one document each. Lists of integers are cl100k token ids, which some OpenAI \
                 clients send.",
            ))
            .into()
    }
}

impl ToSchema for RawInput {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<RawInput, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn lists_of_token_ids_are_compact_and_of_short_items_bounded() {
        let ids = format!("[{}1]", "1,".repeat(3 << 20));
        assert!(matches!(parse(&ids), Ok(RawInput::Tokens(ids)) if ids.len() == (3 << 20) + 1));
        assert!(matches!(parse("[1,2]"), Ok(RawInput::Tokens(_))));
        assert!(matches!(parse("[1,\"a\"]"), Ok(RawInput::List(items)) if items.len() == 2));
        for item in ["[]", "\"\"", "[[]]", "{\"text\":\"\"}"] {
            let many = format!("[{}{item}]", format!("{item},").repeat(1 << 20));
            let error = parse(&many).expect_err("too many");
            assert!(error.starts_with("more than 1048576 items"), "{error}");
        }
        let mixed = format!("[{}\"a\"]", "1,".repeat(3 << 20));
        assert!(parse(&mixed).expect_err("too many").starts_with("more than 1048576 items"));
    }
}
