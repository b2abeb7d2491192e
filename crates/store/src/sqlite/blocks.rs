//! Rows of vectors and codes in blocks, and which of their slots are in use.

use crate::provenance::Provenance;
use crate::storage::Layout;
use rusqlite::blob::Blob;
use rusqlite::{Connection, OptionalExtension, params};

/// Number of slots per row of a [`BitTable`].
const SLOTS_PER_ROW: usize = 32_768;

/// A table of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum BlockTable {
    /// Vectors, which give the final scores.
    Vectors,
    /// Codes, which select short lists.
    Codes,
}

impl BlockTable {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Vectors => "vectors",
            Self::Codes => "codes",
        }
    }

    /// The layout of its rows; `None` if the collection has none.
    pub(super) fn layout(self, provenance: &Provenance) -> Option<Layout> {
        let dimensions = provenance.dimensions;
        match self {
            Self::Vectors => Some(Layout::new(provenance.storage, dimensions)),
            Self::Codes => provenance.codes.map(|codes| {
                let kept = codes.dimensions.map_or(dimensions, |kept| kept.min(dimensions));
                Layout::new(codes.storage, kept)
            }),
        }
    }
}

/// A table with a bit for each slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BitTable {
    /// Whether a chunk uses the slot.
    Live,
    /// Whether its vector may be newer than the ANN index.
    Written,
}

impl BitTable {
    fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Written => "written",
        }
    }
}

/// The key of a block of a collection.
pub(super) fn key(collection: i64, block: usize) -> i64 {
    (collection << 32) | block as i64
}

/// The keys of all blocks of a collection.
fn keys(collection: i64) -> (i64, i64) {
    (key(collection, 0), key(collection + 1, 0))
}

/// A set of slots: those of a [`BitTable`], or those that a filter matches.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    words: Vec<u64>,
}

impl Slots {
    /// Number of slots that have a bit; later slots are not in the set.
    pub(super) fn len(&self) -> usize {
        64 * self.words.len()
    }

    pub(super) fn contains(&self, slot: usize) -> bool {
        self.words.get(slot / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// The bits of slots `64 * at..`, up to 64.
    pub(super) fn word(&self, at: usize) -> u64 {
        self.words.get(at).copied().unwrap_or(0)
    }

    pub(super) fn insert(&mut self, slot: usize) {
        if self.words.len() <= slot / 64 {
            self.words.resize(slot / 64 + 1, 0);
        }
        self.words[slot / 64] |= 1 << (slot % 64);
    }

    fn remove(&mut self, slot: usize) {
        if let Some(word) = self.words.get_mut(slot / 64) {
            *word &= !(1 << (slot % 64));
        }
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        self.combined(other, |a, b| a & b)
    }

    #[cfg(feature = "ann")]
    pub(super) fn union(&self, other: &Self) -> Self {
        self.combined(other, |a, b| a | b)
    }

    #[cfg(feature = "ann")]
    pub(super) fn difference(&self, other: &Self) -> Self {
        self.combined(other, |a, b| a & !b)
    }

    fn combined(&self, other: &Self, word: impl Fn(u64, u64) -> u64) -> Self {
        let words = 0..self.words.len().max(other.words.len());
        Self { words: words.map(|at| word(self.word(at), other.word(at))).collect() }
    }

    pub(super) fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// All slots, in ascending order.
    #[cfg(feature = "ann")]
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        let bits = |(at, &word): (usize, &u64)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| 64 * at + bit)
        };
        self.words.iter().enumerate().flat_map(bits)
    }

    /// Up to `count` slots, evenly spread.
    #[cfg(feature = "ann")]
    pub(super) fn spread(&self, count: usize) -> Vec<usize> {
        self.iter().step_by(self.count().div_ceil(count).max(1)).collect()
    }

    /// Reads the slots of a collection.
    pub(super) fn read(
        connection: &Connection,
        bits: BitTable,
        collection: i64,
    ) -> rusqlite::Result<Self> {
        let sql = format!(
            "SELECT block, data FROM {} WHERE block >= ?1 AND block < ?2 ORDER BY block",
            bits.name()
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let (first, end) = keys(collection);
        let mut rows = statement.query([first, end])?;
        let limit = max_slots(connection)?;
        let mut words = Vec::new();
        while let Some(row) = rows.next()? {
            let number = (row.get::<_, i64>(0)? - first) as usize;
            let data = row.get_ref(1)?.as_blob()?;
            if data.len() != SLOTS_PER_ROW / 8 || number * SLOTS_PER_ROW > limit {
                return Err(damaged("bits of slots that no vector can have"));
            }
            words.resize(number * SLOTS_PER_ROW / 64, 0);
            words.extend(data.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)));
        }
        Ok(Self { words })
    }

    /// Writes all rows of a collection that contain a slot.
    #[cfg(feature = "ann")]
    pub(super) fn write(
        &self,
        connection: &Connection,
        bits: BitTable,
        collection: i64,
    ) -> rusqlite::Result<()> {
        let words = SLOTS_PER_ROW / 64;
        let rows = self.words.chunks(words).enumerate();
        let rows = rows.filter(|(_, words)| words.iter().any(|&word| word != 0));
        rows.map(|(row, _)| row)
            .try_for_each(|row| self.write_row(connection, bits, collection, row))
    }

    fn write_row(
        &self,
        connection: &Connection,
        bits: BitTable,
        collection: i64,
        row: usize,
    ) -> rusqlite::Result<()> {
        let sql = format!(
            "INSERT INTO {} (block, data) VALUES (?1, ?2) \
             ON CONFLICT (block) DO UPDATE SET data = ?2",
            bits.name()
        );
        let words = row * SLOTS_PER_ROW / 64..(row + 1) * SLOTS_PER_ROW / 64;
        let data: Vec<u8> = words.flat_map(|at| self.word(at).to_le_bytes()).collect();
        connection.prepare_cached(&sql)?.execute(params![key(collection, row), data]).map(drop)
    }
}

/// Allocates and frees slots of a collection within one transaction.
pub(super) struct Allocation<'c> {
    connection: &'c Connection,
    collection: i64,
    slots: Slots,
    /// Slots written since the ANN index was built, if there is one.
    written: Option<Slots>,
    /// A lower bound of the first free slot.
    first_free: usize,
    /// Rows of bits to write.
    changed: Vec<usize>,
}

impl<'c> Allocation<'c> {
    pub(super) fn begin(connection: &'c Connection, collection: i64) -> rusqlite::Result<Self> {
        let slots = Slots::read(connection, BitTable::Live, collection)?;
        let sql = "SELECT 1 FROM near WHERE collection = ?1";
        let written = match connection.prepare_cached(sql)?.exists([collection])? {
            true => Some(Slots::read(connection, BitTable::Written, collection)?),
            false => None,
        };
        Ok(Self { connection, collection, slots, written, first_free: 0, changed: Vec::new() })
    }

    /// Allocates the lowest free slot.
    pub(super) fn allocate(&mut self) -> usize {
        let words = &self.slots.words;
        let mut word = self.first_free / 64;
        while words.get(word).is_some_and(|&bits| bits == u64::MAX) {
            word += 1;
        }
        let slot = 64 * word + words.get(word).map_or(0, |bits| bits.trailing_ones() as usize);
        self.slots.insert(slot);
        if let Some(written) = &mut self.written {
            written.insert(slot);
        }
        self.first_free = slot;
        self.mark_changed(slot);
        slot
    }

    pub(super) fn free(&mut self, slot: usize) {
        self.slots.remove(slot);
        self.first_free = self.first_free.min(slot);
        self.mark_changed(slot);
    }

    fn mark_changed(&mut self, slot: usize) {
        let row = slot / SLOTS_PER_ROW;
        if !self.changed.contains(&row) {
            self.changed.push(row);
        }
    }

    /// Writes the bits that changed.
    pub(super) fn end(self) -> rusqlite::Result<()> {
        for row in self.changed {
            self.slots.write_row(self.connection, BitTable::Live, self.collection, row)?;
            if let Some(written) = &self.written {
                written.write_row(self.connection, BitTable::Written, self.collection, row)?;
            }
        }
        Ok(())
    }
}

/// Writes and reads rows in the blocks of a collection, with one block open at a time.
pub(super) struct VectorRows<'c> {
    connection: &'c Connection,
    collection: i64,
    table: BlockTable,
    layout: Layout,
    open: Option<(usize, Blob<'c>)>,
}

impl<'c> VectorRows<'c> {
    pub(super) fn new(
        connection: &'c Connection,
        collection: i64,
        table: BlockTable,
        layout: Layout,
    ) -> Self {
        Self { connection, collection, table, layout, open: None }
    }

    /// Writes the row of `slot`.
    pub(super) fn write(&mut self, slot: usize, vector: &[f32]) -> rusqlite::Result<()> {
        let (layout, number) = (self.layout, slot % self.layout.rows);
        let (row, scale) = layout.encode(vector);
        let blob = self.block_to_write(slot / layout.rows)?;
        blob.write_at(&row, number * layout.row)?;
        if layout.scale() > 0 {
            let at = layout.rows * layout.row + number * layout.scale();
            blob.write_at(&scale.to_le_bytes(), at)?;
        }
        Ok(())
    }

    /// The vector of `slot`, as it was stored.
    pub(super) fn read(&mut self, slot: usize) -> rusqlite::Result<Vec<f32>> {
        let (layout, number) = (self.layout, slot % self.layout.rows);
        let (mut row, mut scale) = (vec![0; layout.row], [0; size_of::<f32>()]);
        let blob = self.block_to_read(slot / layout.rows)?;
        blob.read_at_exact(&mut row, number * layout.row)?;
        if layout.scale() > 0 {
            blob.read_at_exact(&mut scale, layout.rows * layout.row + number * layout.scale())?;
        }
        Ok(layout.decode(&row, f32::from_le_bytes(scale)))
    }

    /// Opens a block, which must exist, for reading.
    fn block_to_read(&mut self, number: usize) -> rusqlite::Result<&mut Blob<'c>> {
        let open = match self.open.take() {
            Some((at, blob)) if at == number => blob,
            _ => {
                let key = key(self.collection, number);
                self.connection.blob_open("main", self.table.name(), "data", key, true)?
            }
        };
        Ok(&mut self.open.insert((number, open)).1)
    }

    /// Opens a block for writing, and creates it if it does not exist.
    fn block_to_write(&mut self, number: usize) -> rusqlite::Result<&mut Blob<'c>> {
        let open = match self.open.take() {
            Some((at, blob)) if at == number => blob,
            _ => {
                let key = key(self.collection, number);
                let table = self.table.name();
                let sql = format!(
                    "INSERT OR IGNORE INTO {table} (block, data) VALUES (?1, zeroblob(?2))"
                );
                self.connection.prepare_cached(&sql)?.execute(params![key, self.layout.block()])?;
                self.connection.blob_open("main", table, "data", key, false)?
            }
        };
        Ok(&mut self.open.insert((number, open)).1)
    }
}

/// Removes every block of a collection.
pub(super) fn remove_all(connection: &Connection, collection: i64) -> rusqlite::Result<()> {
    let (first, end) = keys(collection);
    for table in ["vectors", "codes", "live", "written"] {
        let sql = format!("DELETE FROM {table} WHERE block >= ?1 AND block < ?2");
        connection.execute(&sql, [first, end])?;
    }
    Ok(())
}

/// Removes all bits of a collection in a table.
#[cfg(feature = "ann")]
pub(super) fn clear(
    connection: &Connection,
    bits: BitTable,
    collection: i64,
) -> rusqlite::Result<()> {
    let (first, end) = keys(collection);
    let sql = format!("DELETE FROM {} WHERE block >= ?1 AND block < ?2", bits.name());
    connection.execute(&sql, [first, end]).map(drop)
}

/// Number of blocks up to the last one.
pub(super) fn count(
    connection: &Connection,
    collection: i64,
    (table, layout): (BlockTable, Layout),
) -> rusqlite::Result<usize> {
    let sql = format!("SELECT max(block) FROM {} WHERE block >= ?1 AND block < ?2", table.name());
    let (first, end) = keys(collection);
    let last: Option<Option<i64>> =
        connection.prepare_cached(&sql)?.query_row([first, end], |row| row.get(0)).optional()?;
    let count = last.flatten().map_or(0, |last| (last - first) as usize + 1);
    match count.saturating_mul(layout.block()) <= len_bytes(connection)? {
        true => Ok(count),
        false => Err(damaged("blocks that do not fit into it")),
    }
}

/// The size of the database, in bytes.
fn len_bytes(connection: &Connection) -> rusqlite::Result<usize> {
    let pragma = |name: &str| -> rusqlite::Result<usize> {
        connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
    };
    Ok(pragma("page_count")?.saturating_mul(pragma("page_size")?))
}

/// More slots than a database of this size can have, because each has a row of vectors.
pub(super) fn max_slots(connection: &Connection) -> rusqlite::Result<usize> {
    const MIN_ROW_BYTES: usize = 64;
    Ok(len_bytes(connection)? / MIN_ROW_BYTES + SLOTS_PER_ROW)
}

/// The error of contents that no version of this program writes.
pub(super) fn damaged(what: &str) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(code, Some(format!("it has {what}")))
}
