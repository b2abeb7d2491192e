//! Analyses of many vectors: groups ([`cluster`]), classes ([`Regression`]), near duplicates
//! ([`Leaders`]), and maps ([`Pca`], and t-SNE with the feature `tsne`); and measures of how good
//! vectors are: of rankings ([`Quality`], [`recall_at`]), of scores ([`spearman`],
//! [`average_precision`], [`best_threshold`]) and of groups ([`Agreement`]).
//!
//! Vectors have unit length, so that products are cosines. Results do not depend on the number of
//! threads: sums run over blocks of a fixed size, in order. All random draws come from a fixed
//! seed.

mod agreement;
mod classifier;
mod cluster;
mod compute;
mod confusion;
mod correlation;
mod draws;
mod error;
#[cfg(test)]
mod expected;
mod leaders;
mod matrix;
mod pairs;
mod pca;
mod quality;
mod rankings;
mod regression;
mod silhouette;
mod terms;
#[cfg(feature = "tsne")]
mod tsne;

pub use agreement::Agreement;
pub use classifier::{Listing, TrainedClassifier, Training, Visibility};
pub use cluster::{Clusters, Trial, choose_groups, cluster};
pub use compute::Compute;
pub use confusion::{ClassScore, Confusion};
pub use correlation::spearman;
pub use draws::PythonRandom;
pub use error::{Error, Result};
pub use leaders::{Audit, Leaders, Match};
pub use matrix::Matrix;
pub use pairs::{Threshold, average_precision, best_threshold};
pub use pca::Pca;
pub use quality::{DEPTH, Quality, recall_at};
pub use rankings::{RankedRow, Rankings};
pub use regression::{Regression, softmax};
pub use silhouette::silhouette;
pub use terms::{Term, typical_terms, words};
#[cfg(feature = "tsne")]
pub use tsne::tsne;
