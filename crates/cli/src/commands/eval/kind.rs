//! What sets measure: measures, their meaning, and the task for each use of a text.

use crate::args::{EvalKind, TextUse, UseTask};
use kokeshi::Model;

/// A measure, from 0 to 1 (a correlation from -1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measure {
    /// Its name for people.
    pub(super) name: &'static str,
    /// Its name in JSON.
    pub(super) key: &'static str,
}

impl EvalKind {
    pub(super) const ALL: [Self; 7] = [
        Self::Sts,
        Self::Pairs,
        Self::Bitext,
        Self::Retrieval,
        Self::Classification,
        Self::Clustering,
        Self::Long,
    ];

    /// The name that the options use.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sts => "sts",
            Self::Pairs => "pairs",
            Self::Bitext => "bitext",
            Self::Retrieval => "retrieval",
            Self::Classification => "classification",
            Self::Clustering => "clustering",
            Self::Long => "long",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Sts => "Semantic similarity",
            Self::Pairs => "Pair classification",
            Self::Bitext => "Bitext retrieval",
            Self::Retrieval => "Retrieval",
            Self::Classification => "Classification",
            Self::Clustering => "Clustering",
            Self::Long => "Late chunking",
        }
    }

    /// The measures, the main one first.
    pub(super) fn measures(self) -> &'static [Measure] {
        match self {
            Self::Sts => &[Measure { name: "Spearman", key: "spearman" }],
            Self::Pairs => &[
                Measure { name: "AP", key: "average_precision" },
                Measure { name: "accuracy", key: "best_accuracy" },
            ],
            Self::Bitext => &[
                Measure { name: "accuracy", key: "accuracy" },
                Measure { name: "reverse", key: "accuracy_reverse" },
            ],
            Self::Retrieval => &[
                Measure { name: "nDCG@10", key: "ndcg_10" },
                Measure { name: "R@1", key: "recall_1" },
                Measure { name: "R@10", key: "recall_10" },
            ],
            Self::Classification => &[
                Measure { name: "accuracy", key: "accuracy" },
                Measure { name: "deviation", key: "deviation" },
            ],
            Self::Clustering => &[
                Measure { name: "V-measure", key: "v_measure" },
                Measure { name: "homogeneity", key: "homogeneity" },
                Measure { name: "completeness", key: "completeness" },
            ],
            Self::Long => &[
                Measure { name: "answer@1", key: "answer_1" },
                Measure { name: "answer@10", key: "answer_10" },
                Measure { name: "nDCG@10", key: "ndcg_10" },
            ],
        }
    }

    /// How the figures are computed, in one or two sentences.
    pub(super) fn definition(self) -> &'static str {
        match self {
            Self::Sts => {
                "Spearman's rank correlation between the cosines of pairs and the scores that people \
                 gave them."
            }
            Self::Pairs => {
                "Average precision of the cosine for the pairs with label 1, and the accuracy of the \
                 best threshold of the cosine."
            }
            Self::Bitext => {
                "Share of sentences whose nearest sentence in the other language is their \
                 translation; reverse: from the second language to the first."
            }
            Self::Retrieval => {
                "One vector for each document and query. nDCG@10 weighs the relevant documents among \
                 the first ten by rank and grade; R@k is the share of the relevant ones among the \
                 first k."
            }
            Self::Classification => {
                "Accuracy of a logistic regression on the vectors of a few examples of each label: \
                 mean and standard deviation over runs with other examples."
            }
            Self::Clustering => {
                "Agreement of k-means, with as many groups as there are labels, with these labels: \
                 the V-measure is the harmonic mean of homogeneity and completeness."
            }
            Self::Long => {
                "Chunks of long documents, each embedded alone or pooled from its document. answer@k: \
                 share of questions with a chunk of their answer among the k nearest of all chunks; \
                 nDCG@10: of the documents, by their nearest chunk."
            }
        }
    }

    /// The uses of its texts.
    pub(super) fn uses(self) -> &'static [TextUse] {
        match self {
            Self::Sts => &[TextUse::Sts],
            Self::Pairs => &[TextUse::Pairs],
            Self::Bitext => &[TextUse::Bitext],
            Self::Retrieval | Self::Long => &[TextUse::Query, TextUse::Passage],
            Self::Classification => &[TextUse::Classification],
            Self::Clustering => &[TextUse::Clustering],
        }
    }
}

/// The task of each use of a text.
#[derive(Clone, Debug)]
pub(super) struct Tasks<'a> {
    /// What the user chose.
    pub(super) chosen: &'a [UseTask],
}

impl Tasks<'_> {
    /// The task for a use: the user's, for this use before that for all, or else the one that
    /// jina-embeddings-v3 was trained with for it (arXiv 2409.10173, section 6), if the model has
    /// it. The paper has no bitext; text-matching is its task for sentences of equal rank.
    pub(super) fn of(&self, text_use: TextUse, model: &Model) -> Option<String> {
        let chosen = |wanted: Option<TextUse>| {
            self.chosen.iter().rev().find(|chosen| chosen.text_use == wanted)
        };
        if let Some(chosen) = chosen(Some(text_use)).or_else(|| chosen(None)) {
            return chosen.task.clone();
        }
        let default = match text_use {
            TextUse::Sts | TextUse::Bitext => "text-matching",
            TextUse::Pairs | TextUse::Classification => "classification",
            TextUse::Query => "retrieval.query",
            TextUse::Passage => "retrieval.passage",
            TextUse::Clustering => "separation",
        };
        let tasks = &model.config().tasks;
        tasks.iter().any(|task| task.name == default).then(|| default.to_owned())
    }
}
