//! The crate is filled in by the commits that follow.
