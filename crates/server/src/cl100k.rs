//! Token ids that OpenAI's clients send in place of texts (langchain-openai does by default): they
//! are of the cl100k vocabulary, as for OpenAI's own embedding models.

use crate::problem::{Outcome, Problem};

/// The text of token ids. Ids that end within a character, as a client's cut at a number of tokens
/// may, lose that character to U+FFFD. The vocabulary is read at the first call.
pub(crate) fn decode(ids: &[u32]) -> Outcome<String> {
    let bytes = tiktoken_rs::cl100k_base_singleton().decode_bytes(ids).map_err(|error| {
        let message = format!(
            "`input` holds a token id that cl100k_base does not have ({error}); send texts (with \
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
    fn ids_are_those_of_openais_vocabulary() {
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
