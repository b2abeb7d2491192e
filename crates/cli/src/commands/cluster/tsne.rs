//! t-SNE maps, in builds with the feature `tsne`.

use crate::failure::hinted;
use kokeshi_analysis::{Compute, Matrix};

/// # Errors
///
/// If this build cannot draw t-SNE maps.
pub(super) fn check() -> anyhow::Result<()> {
    if cfg!(feature = "tsne") { Ok(()) } else { Err(lacking()) }
}

/// Positions of `rows` by t-SNE from the positions `start`.
#[cfg(feature = "tsne")]
pub(super) fn positions(
    compute: &Compute,
    rows: &Matrix,
    start: &[[f32; 2]],
) -> anyhow::Result<Vec<[f32; 2]>> {
    Ok(kokeshi_analysis::tsne(compute, rows, start))
}

#[cfg(not(feature = "tsne"))]
pub(super) fn positions(
    _compute: &Compute,
    _rows: &Matrix,
    _start: &[[f32; 2]],
) -> anyhow::Result<Vec<[f32; 2]>> {
    Err(lacking())
}

fn lacking() -> anyhow::Error {
    hinted(
        "this build cannot draw t-SNE maps: it lacks the feature `tsne`",
        "build with `--features tsne` or `full`, or use `--map pca`",
    )
}
