//! Analyses of many vectors: groups ([`cluster`]), classes ([`Regression`]), near duplicates
//! ([`Leaders`]), and maps ([`Pca`], and t-SNE with the feature `tsne`).
//!
//! Vectors have unit length, so that products are cosines. Results do not depend on the number of
//! threads: sums run over blocks of a fixed size, in order. All random draws come from a fixed
//! seed.

mod classifier;
mod cluster;
mod compute;
mod confusion;
mod error;
mod leaders;
mod matrix;
mod pca;
mod quality;
mod regression;
mod silhouette;
mod terms;
#[cfg(feature = "tsne")]
mod tsne;

pub use classifier::{Listing, TrainedClassifier, Training, Visibility};
pub use cluster::{Clusters, Trial, choose_groups, cluster};
pub use compute::Compute;
pub use confusion::{ClassScore, Confusion};
pub use error::{Error, Result};
pub use leaders::{Audit, Leaders, Match};
pub use matrix::Matrix;
pub use pca::Pca;
pub use quality::{DEPTH, Quality};
pub use regression::{Regression, softmax};
pub use silhouette::silhouette;
pub use terms::{Term, typical_terms, words};
#[cfg(feature = "tsne")]
pub use tsne::tsne;
