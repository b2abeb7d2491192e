//! Consistency of a store: each chunk has its words, its row of vectors and its bit, and there are
//! no others.

use super::blocks::{self, BitTable, BlockTable, Slots};
use super::collections;
use rusqlite::{Connection, params};

/// All inconsistencies, as sentences.
pub(super) fn inconsistencies(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut found: Vec<String> = connection
        .prepare("PRAGMA integrity_check")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    found.retain(|line| line != "ok");
    let broken: usize =
        connection
            .query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))?;
    if broken > 0 {
        found.push(format!("{broken} rows refer to rows that do not exist"));
    }
    let unmatched = "SELECT (SELECT count(*) FROM chunks WHERE id NOT IN (SELECT id FROM words_docsize)) \
                  + (SELECT count(*) FROM words_docsize WHERE id NOT IN (SELECT id FROM chunks))";
    let unmatched: usize = connection.query_row(unmatched, [], |row| row.get(0))?;
    if unmatched > 0 {
        found.push(format!(
            "{unmatched} chunks or entries of the full-text index lack their counterpart"
        ));
    }
    let gaps = "SELECT count(*) FROM (SELECT 1 FROM chunks GROUP BY document \
                HAVING max(ordinal) + 1 != count(*))";
    let gaps: usize = connection.query_row(gaps, [], |row| row.get(0))?;
    if gaps > 0 {
        found.push(format!("{gaps} documents lack a chunk"));
    }
    for collection in collections::all(connection)? {
        let name = &collection.name;
        let Some((id, _)) = collections::find(connection, name)? else { continue };
        found
            .extend(slots(connection, id)?.into_iter().map(|problem| format!("{name}: {problem}")));
        for table in [BlockTable::Vectors, BlockTable::Codes] {
            let Some(layout) = table.layout(&collection.provenance) else { continue };
            let sql = "SELECT max(slot) FROM chunks WHERE collection = ?1";
            let last: Option<usize> = connection.query_row(sql, [id], |row| row.get(0))?;
            let blocks = blocks::count(connection, id, (table, layout))?;
            if last.is_some_and(|last| last / layout.rows >= blocks) {
                found.push(format!("{name}: the table `{}` lacks its last rows", table.name()));
            }
        }
    }
    Ok(found)
}

fn slot_error() -> rusqlite::Error {
    blocks::damaged("a chunk with a slot that no vector can have")
}

/// Compares the bits of a collection with its chunks.
fn slots(connection: &Connection, id: i64) -> rusqlite::Result<Vec<String>> {
    let live = Slots::read(connection, BitTable::Live, id)?;
    let mut expected = Slots::default();
    let mut statement = connection.prepare("SELECT slot FROM chunks WHERE collection = ?1")?;
    let slots = statement.query_map(params![id], |row| row.get::<_, usize>(0))?;
    let limit = blocks::max_slots(connection)?;
    for slot in slots {
        expected.insert(Some(slot?).filter(|slot| *slot <= limit).ok_or_else(slot_error)?);
    }
    let words = 0..live.len().max(expected.len()) / 64;
    let wrong: u32 = words.map(|at| (live.word(at) ^ expected.word(at)).count_ones()).sum();
    Ok((wrong > 0)
        .then(|| format!("{wrong} slots do not match their chunks"))
        .into_iter()
        .collect())
}
