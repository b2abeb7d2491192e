//! ANN indexes in a build without them: search scans, and an existing index is reported as unused.
//! Writes are still recorded, so that builds with the feature can continue to use the index.

use super::{IndexRecord, Usability};
use crate::ann::{AnnBuild, OnBuildStep};
use crate::error::{Error, Result};
use crate::provenance::Provenance;
use crate::sqlite::Sqlite;
use crate::sqlite::best::Scored;
use crate::sqlite::blocks::Slots;

/// A type without values: this build opens no graph.
pub(in crate::sqlite) enum CachedGraph {}

impl Sqlite {
    pub(super) fn usability(
        &self,
        _id: i64,
        _record: &IndexRecord,
        _provenance: &Provenance,
        _slots: (&Slots, &Slots),
    ) -> Usability {
        Usability::Unfit("this build lacks the feature `ann`".to_owned())
    }

    pub(in crate::sqlite) fn approximate(
        &self,
        _id: i64,
        _provenance: &Provenance,
        _query: &[f32],
        _live: &Slots,
        _limit: usize,
    ) -> Result<Option<Vec<Scored>>> {
        Ok(None)
    }

    pub(in crate::sqlite) fn build_ann_index(
        &self,
        _collection: &str,
        _on_step: &OnBuildStep<'_>,
    ) -> Result<AnnBuild> {
        Err(Error::MissingFeature { action: "build an ANN index".to_owned(), feature: "ann" })
    }
}
