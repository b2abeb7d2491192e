//! Cohere: `/v2/embed` and `/v1/embed`.

use super::embeddings::Count;
use super::vectors::write_vector;
use kokeshi::EmbeddingType;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A request of Cohere's API.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct CohereBody {
    pub(crate) model: Option<String>,
    pub(crate) texts: Option<Vec<String>>,
    /// Instead of `texts`.
    pub(crate) inputs: Option<Vec<CohereInput>>,
    /// Selects the task, if the model has it.
    pub(crate) input_type: Option<InputType>,
    /// `float`, `base64`, `binary`, `ubinary`.
    pub(crate) embedding_types: Option<Vec<String>>,
    pub(crate) output_dimension: Option<Count>,
    pub(crate) truncate: Option<Truncate>,
}

/// An input in parts.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct CohereInput {
    pub(crate) content: Vec<CoherePart>,
}

/// A part of an input.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct CoherePart {
    pub(crate) text: Option<String>,
}

/// The purpose of the texts.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum InputType {
    SearchQuery,
    SearchDocument,
    Classification,
    Clustering,
    Image,
}

/// How a text over the limit is truncated.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Truncate {
    None,
    Start,
    End,
}

/// The schema of a response of `/v2/embed`; [`ResponseBody`] writes it.
#[derive(Serialize, ToSchema)]
#[schema(as = CohereResponse)]
pub(crate) struct TypedSchema {
    id: String,
    #[schema(pattern = "^embeddings_by_type$")]
    response_type: String,
    embeddings: ByType,
    texts: Vec<String>,
    meta: Meta,
}

/// The schema of a response of `/v1/embed`, which depends on whether types are requested.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = CohereResponseV1)]
#[expect(dead_code, reason = "a schema only: `ResponseBody` writes the bodies")]
pub(crate) enum AnySchema {
    ByType(TypedSchema),
    Floats(FloatsSchema),
}

/// Without `embedding_types`.
#[derive(Serialize, ToSchema)]
#[schema(as = CohereFloats)]
pub(crate) struct FloatsSchema {
    id: String,
    #[schema(pattern = "^embeddings_floats$")]
    response_type: String,
    embeddings: Vec<Vec<f32>>,
    texts: Vec<String>,
    meta: Meta,
}

/// The requested types, with one vector per text each.
#[derive(Serialize, ToSchema)]
struct ByType {
    #[schema(nullable = false)]
    float: Option<Vec<Vec<f32>>>,
    #[schema(nullable = false)]
    base64: Option<Vec<String>>,
    #[schema(nullable = false)]
    binary: Option<Vec<Vec<i8>>>,
    #[schema(nullable = false)]
    ubinary: Option<Vec<Vec<u16>>>,
}

#[derive(Serialize, ToSchema)]
struct Meta {
    api_version: ApiVersion,
    billed_units: BilledUnits,
}

#[derive(Serialize, ToSchema)]
struct ApiVersion {
    version: String,
}

#[derive(Serialize, ToSchema)]
struct BilledUnits {
    input_tokens: usize,
}

/// The body of a response of either API version.
pub(crate) struct ResponseBody<'a> {
    pub(crate) id: &'a str,
    pub(crate) texts: &'a [String],
    pub(crate) vectors: &'a [Vec<f32>],
    pub(crate) tokens: usize,
    /// Without types, `/v1/embed` returns a plain list of floats.
    pub(crate) types: Option<&'a [EmbeddingType]>,
    pub(crate) api_version: &'a str,
}

impl ResponseBody<'_> {
    pub(crate) fn write(&self) -> Vec<u8> {
        let id = Value::from(self.id);
        let response_type = if self.types.is_some() { "by_type" } else { "floats" };
        let head = format!(
            "{{\"id\":{id},\"response_type\":\"embeddings_{response_type}\",\"embeddings\":"
        );
        let mut out = head.into_bytes();
        match self.types {
            None => self.write_list(&mut out, EmbeddingType::Float),
            Some(types) => {
                for (index, kind) in types.iter().enumerate() {
                    let open = if index > 0 { ',' } else { '{' };
                    out.extend_from_slice(format!("{open}\"{kind}\":").as_bytes());
                    self.write_list(&mut out, *kind);
                }
                out.push(b'}');
            }
        }
        let (texts, tokens, version) =
            (Value::from(self.texts.to_vec()), self.tokens, self.api_version);
        let tail = format!(
            ",\"texts\":{texts},\"meta\":{{\"api_version\":{{\"version\":\"{version}\"}},\
             \"billed_units\":{{\"input_tokens\":{tokens}}}}}}}"
        );
        out.extend_from_slice(tail.as_bytes());
        out
    }

    fn write_list(&self, out: &mut Vec<u8>, kind: EmbeddingType) {
        out.push(b'[');
        for (index, vector) in self.vectors.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_vector(out, vector, &[kind]);
        }
        out.push(b']');
    }
}
