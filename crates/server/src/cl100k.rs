//! Decodes the token ids that some OpenAI clients send instead of texts, as langchain-openai does
//! by default. They belong to cl100k, the vocabulary of OpenAI's own embedding models.

use crate::problem::{ApiResult, Problem};

/// The text of token ids. A client that truncates to a number of tokens may cut a character in two,
/// which becomes U+FFFD. The first call loads the vocabulary.
pub(crate) fn decode(ids: &[u32]) -> ApiResult<String> {
    let bytes = tiktoken_rs::cl100k_base_singleton().decode_bytes(ids).map_err(|error| {
        let message = format!(
            "`input` contains a token id that is not in cl100k_base ({error}); send texts (with \
             langchain-openai: OpenAIEmbeddings(check_embedding_ctx_length=False))"
        );
        let problem = Problem::bad_request("INPUT_TOKEN_IDS", message);
        Problem { field: Some("input".to_owned()), ..problem }
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_ids_belong_to_the_vocabulary_of_openai() {
        // "hello world", as in OpenAI's documentation of tiktoken.
        assert_eq!(decode(&[15339, 1917]).expect("a text"), "hello world");
        let text = "Die Macht sei mit dir. 光剑太暗了 🦀";
        let ids = tiktoken_rs::cl100k_base_singleton().encode_ordinary(text);
        assert_eq!(decode(&ids).expect("a text"), text);
        let cut = decode(&ids[..ids.len() - 1]).expect("a text");
        assert!(cut.ends_with('\u{fffd}'), "{cut}");
        assert_eq!(decode(&[u32::MAX]).expect_err("no such id").code, "INPUT_TOKEN_IDS");
    }
}
