//! The description of an ANN index: an index for approximate nearest-neighbour search.

/// An ANN index of a collection. It is derived data that can be built again.
#[derive(Clone, Debug, PartialEq)]
pub struct AnnIndex {
    /// When it was built, in seconds since 1970.
    pub built_at: i64,
    /// Number of vectors that it was built from.
    pub vectors: usize,
    /// Number of vectors written since. Search scans these.
    pub newer: usize,
    /// Size of its file, in bytes.
    pub bytes: u64,
    /// The recall@10 measured after the build: see [`AnnBuild`].
    pub recall: f64,
    /// Why search scans instead of using it, if it does.
    pub unused: Option<UnusedReason>,
}

/// Why search scans instead of using an ANN index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnusedReason {
    /// So many vectors are newer that a scan of all is as fast.
    Outgrown,
    /// It cannot be read or does not match the collection; the reason is a sentence for people.
    Unfit(String),
}

/// What building an ANN index cost, and how good it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnnBuild {
    /// Number of vectors in it.
    pub vectors: usize,
    /// Seconds of the build, without the measurement afterwards.
    pub seconds: f64,
    /// Size of its file, in bytes.
    pub bytes: u64,
    /// Number of measured searches: each for a vector of the collection itself, which is not
    /// counted among its own hits. The vectors are spread over the whole collection.
    pub queries: usize,
    /// Mean share of the ten nearest vectors that approximate search finds. A vector as near as the
    /// tenth counts as well.
    pub recall: f64,
    /// Median milliseconds of an exact search, without embedding the query and reading texts.
    pub exact_ms: f64,
    /// The same of an approximate search.
    pub ann_ms: f64,
}

/// The progress of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildStep {
    /// Its name: what is being done.
    pub name: &'static str,
    /// How much of it is done.
    pub done: usize,
    /// How much there is to do.
    pub total: usize,
}

/// Called with each step; returns whether to keep running.
pub type OnBuildStep<'a> = dyn Fn(BuildStep) -> bool + Sync + 'a;
