//! Models with a short name.

/// A model that this program knows by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownModel {
    /// The short name.
    pub name: &'static str,
    /// The hub repository; `None` for the model that is part of the program.
    pub repo: Option<&'static str>,
    /// SPDX identifier of the licence of the weights.
    pub licence: &'static str,
    /// What the licence means for a user of the model, in a sentence.
    pub licence_note: &'static str,
    /// Number of weights, LoRA adapters and pooler included.
    pub parameters: u64,
    /// Approximate size of the weight file in bytes: two per parameter, because weights are 16-bit.
    /// The tokenizer adds 1 to 17 MB. 0 for the bundled model.
    pub download_bytes: u64,
    /// A short description of the model.
    pub description: &'static str,
}

const APACHE: &str = "Apache-2.0";
const APACHE_NOTE: &str = "any use, commercial use included, with the licence text kept";

/// Every known model, the bundled one first.
pub const KNOWN_MODELS: &[KnownModel] = &[
    KnownModel {
        name: "starter",
        repo: None,
        licence: "MIT",
        licence_note: "any use, commercial use included, with the copyright notice kept",
        parameters: 117_295_488,
        download_bytes: 0,
        description: "bundled: multilingual-e5-small in the v3 architecture, 384 dimensions",
    },
    KnownModel {
        name: "jina-embeddings-v3",
        repo: Some("jinaai/jina-embeddings-v3"),
        licence: "CC-BY-NC-4.0",
        licence_note: "non-commercial use only; commercial use needs an agreement with Jina AI",
        parameters: 572_310_396,
        download_bytes: 1_144_685_320,
        description: "multilingual, 1024 dimensions, five task adapters, 8192 tokens",
    },
    v2(
        "jina-embeddings-v2-small-en",
        "jinaai/jina-embeddings-v2-small-en",
        32_690_688,
        "English, 512 dimensions, 8192 tokens",
    ),
    v2(
        "jina-embeddings-v2-base-en",
        "jinaai/jina-embeddings-v2-base-en",
        137_368_320,
        "English, 768 dimensions, 8192 tokens",
    ),
    v2(
        "jina-embeddings-v2-base-de",
        "jinaai/jina-embeddings-v2-base-de",
        160_813_824,
        "German and English, 768 dimensions, 8192 tokens",
    ),
    v2(
        "jina-embeddings-v2-base-es",
        "jinaai/jina-embeddings-v2-base-es",
        160_813_824,
        "Spanish and English, 768 dimensions, 8192 tokens",
    ),
    v2(
        "jina-embeddings-v2-base-zh",
        "jinaai/jina-embeddings-v2-base-zh",
        160_813_824,
        "Chinese and English, 768 dimensions, 8192 tokens",
    ),
    v2(
        "jina-embeddings-v2-base-code",
        "jinaai/jina-embeddings-v2-base-code",
        160_869_120,
        "English and 30 programming languages, 768 dimensions, 8192 tokens",
    ),
];

const fn v2(
    name: &'static str,
    repo: &'static str,
    parameters: u64,
    description: &'static str,
) -> KnownModel {
    KnownModel {
        name,
        repo: Some(repo),
        licence: APACHE,
        licence_note: APACHE_NOTE,
        parameters,
        download_bytes: 2 * parameters,
        description,
    }
}

/// The known model with this short name or hub repository, whatever its case.
pub fn known(name: &str) -> Option<&'static KnownModel> {
    KNOWN_MODELS.iter().find(|known| {
        known.name.eq_ignore_ascii_case(name)
            || known.repo.is_some_and(|repo| repo.eq_ignore_ascii_case(name))
    })
}

/// The known name that `typed` probably misspells or abbreviates.
pub(crate) fn nearest(typed: &str) -> Option<&'static str> {
    let typed = typed.to_ascii_lowercase();
    let typed = typed.strip_prefix("jinaai/").unwrap_or(&typed);
    let mut abbreviated = KNOWN_MODELS.iter().filter(|known| known.name.ends_with(typed));
    if let (false, Some(only), None) = (typed.is_empty(), abbreviated.next(), abbreviated.next()) {
        return Some(only.name);
    }
    // More than one edit per five letters is another word, not a misspelling.
    KNOWN_MODELS
        .iter()
        .map(|known| (strsim::osa_distance(typed, known.name), known.name))
        .filter(|(distance, name)| 5 * distance <= name.len())
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_with_and_without_its_owner_and_in_any_case() {
        for model in KNOWN_MODELS {
            assert_eq!(known(model.name), Some(model));
            assert_eq!(known(&model.name.to_uppercase()), Some(model));
            if let Some(repo) = model.repo {
                assert_eq!(known(repo), Some(model));
                assert_eq!(repo.split_once('/'), Some(("jinaai", model.name)));
            }
        }
        assert_eq!(known("bert-base-uncased"), None);
    }

    #[test]
    fn a_misspelling_or_an_abbreviation_finds_the_intended_name() {
        for (typed, intended) in [
            ("startr", Some("starter")),
            ("jina-embedings-v3", Some("jina-embeddings-v3")),
            ("jinaai/jina-embeddigns-v3", Some("jina-embeddings-v3")),
            ("v3", Some("jina-embeddings-v3")),
            ("base-code", Some("jina-embeddings-v2-base-code")),
            ("Small-EN", Some("jina-embeddings-v2-small-en")),
            ("", None),
            ("bert", None),
        ] {
            assert_eq!(nearest(typed), intended, "{typed}");
        }
    }
}
