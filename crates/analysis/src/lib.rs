//! What vectors of texts say together: groups ([`cluster`]), classes ([`Regression`]), duplicates
//! ([`Leaders`]), and pictures of them ([`Pca`], [`tsne`]).
//!
//! Vectors have unit length, so that products are cosines. Results do not depend on the number of
//! threads: sums run over blocks of a fixed size, in their order. They do not depend on chance
//! either: all draws come from a fixed seed.

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
mod tsne;

pub use cluster::{Clusters, Trial, choose, cluster};
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
pub use tsne::tsne;
