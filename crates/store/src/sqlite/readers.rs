//! Reading all blocks of a table with several threads.

use super::blocks::{self, BlockTable};
use super::{Sqlite, collections, open};
use crate::error::{Error, Result};
use crate::storage::Layout;
use rusqlite::Connection;
use std::ops::Range;
use std::path::Path;
use std::thread;

/// Minimum number of blocks per reading thread.
const BLOCKS_PER_READER: usize = 64;

/// Reads the blocks of a collection at one of its generations.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockReader<'a> {
    path: &'a Path,
    access: open::Access,
    collection: i64,
    table: BlockTable,
    pub(super) layout: Layout,
    generation: i64,
    /// Number of blocks up to the last one.
    pub(super) count: usize,
    /// Number of blocks per thread.
    pub(super) share: usize,
}

impl<'a> BlockReader<'a> {
    pub(super) fn new(
        store: &'a Sqlite,
        (collection, generation): (i64, i64),
        (table, layout): (BlockTable, Layout),
    ) -> Result<Self> {
        let count = blocks::count(&store.connection, collection, (table, layout));
        let count = count.map_err(Error::sqlite(&store.path))?;
        let readers = count.div_ceil(BLOCKS_PER_READER).clamp(1, store.threads);
        let share = count.div_ceil(readers).max(1);
        let (path, access) = (&store.path, store.access);
        Ok(Self { path, access, collection, table, layout, generation, count, share })
    }

    /// Calls `visit` with each block and its number, on the thread of the part that it belongs to.
    /// Each of the consecutive `parts` has `share` blocks. `None` if another process has changed
    /// the collection.
    pub(super) fn read<T: Send>(
        &self,
        parts: Vec<T>,
        visit: impl Fn(&mut T, usize, &[u8]) + Sync,
    ) -> Result<Option<Vec<T>>> {
        let parts: Vec<(usize, T)> = (0..).step_by(self.share).zip(parts).collect();
        let read = |(first, mut part): (usize, T)| -> rusqlite::Result<Option<T>> {
            let connection = open::reader(self.path, self.access)?;
            connection.execute_batch("BEGIN")?;
            if collections::generation(&connection, self.collection)? != self.generation {
                return Ok(None);
            }
            self.read_range(&connection, first..first + self.share, |number, block| {
                visit(&mut part, number, block);
            })?;
            Ok(Some(part))
        };
        let results: rusqlite::Result<Option<Vec<T>>> =
            on_threads(parts, read).into_iter().collect();
        results.map_err(Error::sqlite(self.path))
    }

    fn read_range(
        &self,
        connection: &Connection,
        range: Range<usize>,
        mut visit: impl FnMut(usize, &[u8]),
    ) -> rusqlite::Result<()> {
        let name = self.table.name();
        let sql = format!("SELECT block, data FROM {name} WHERE block >= ?1 AND block < ?2");
        let mut statement = connection.prepare(&sql)?;
        let key = |block| blocks::key(self.collection, block);
        let mut found = statement.query([key(range.start), key(range.end)])?;
        while let Some(row) = found.next()? {
            let block = row.get_ref(1)?.as_blob()?;
            if block.len() != self.layout.block() {
                return Err(rusqlite::Error::BlobSizeError);
            }
            visit((row.get::<_, i64>(0)? - key(0)) as usize, block);
        }
        Ok(())
    }
}

/// Runs `work` on each part, each on its own thread if there are several.
pub(super) fn on_threads<T: Send, R: Send>(parts: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    if parts.len() <= 1 {
        return parts.into_iter().map(work).collect();
    }
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> =
            parts.into_iter().map(|part| scope.spawn(move || work(part))).collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|r| r.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}
