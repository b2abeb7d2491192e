//! What is told of an index for approximate search.

/// An index for approximate search beside a collection: data that can be made again.
#[derive(Clone, Debug, PartialEq)]
pub struct Near {
    /// When it was made, in seconds since 1970.
    pub made: i64,
    /// Vectors that it was made of.
    pub vectors: usize,
    /// Vectors that were written since. Search scans these.
    pub newer: usize,
    /// Size of its file.
    pub bytes: u64,
    /// The recall@10 that was measured when it was made: see [`NearBuilt`].
    pub recall: f64,
    /// Why search does without it and scans, if it does.
    pub unused: Option<Unused>,
}

/// Why search does without an index and scans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unused {
    /// So many vectors are newer that a scan of all is as fast.
    Outgrown,
    /// It cannot be read, or is not what it should be: a sentence for people.
    Unfit(String),
}

/// What making an index took and gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NearBuilt {
    /// Vectors in it.
    pub vectors: usize,
    /// How long it took, without what was measured afterwards.
    pub seconds: f64,
    /// Size of its file.
    pub bytes: u64,
    /// Searches that were measured: vectors of the collection itself, from all over it, each of which
    /// does not count among what it finds.
    pub queries: usize,
    /// The share of the ten nearest vectors that approximate search finds, in the mean. One that is as
    /// near as the tenth counts as well.
    pub recall: f64,
    /// Milliseconds of an exact search, in the median, without embedding and texts.
    pub exact_ms: f64,
    /// The same of an approximate one.
    pub near_ms: f64,
}

/// How far something that takes long has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub name: &'static str,
    /// How much of it.
    pub done: usize,
    /// How much there is.
    pub total: usize,
}

/// Is told each step, and says whether to go on.
pub type Watch<'a> = dyn Fn(Step) -> bool + Sync + 'a;
