//! Names of tables: engines take letters, digits and `_` of a collection's name.

use std::fmt::Write;

/// What all of our tables begin with.
const PREFIX: &str = "kokeshi_";
/// What tables of records end with: no name does, because in one, two digits follow each `_`.
const RECORDS: &str = "_records";

/// What the table ends with that says what made the vectors of another program's collection.
const TWIN: &str = "_twin";

/// The table of a collection's chunks, or the alias that leads to it.
pub(super) fn chunks(collection: &str) -> String {
    let mut name = PREFIX.to_owned();
    for byte in collection.bytes() {
        if byte.is_ascii_alphanumeric() {
            name.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(name, "_{byte:02x}");
        }
    }
    name
}

/// The table of a collection's records.
pub(super) fn records(collection: &str) -> String {
    chunks(collection) + RECORDS
}

/// The table that says what made the vectors of another program's collection.
pub(super) fn twin(collection: &str) -> String {
    chunks(collection) + TWIN
}

/// Whether a table is one of ours.
pub(super) fn is_ours(table: &str) -> bool {
    table.starts_with(PREFIX)
}

/// The collection whose records a table holds.
pub(super) fn of_records(table: &str) -> Option<String> {
    plain(table.strip_suffix(RECORDS)?)
}

/// What [`chunks`] made a name of.
pub(super) fn plain(table: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = table.strip_prefix(PREFIX)?.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'_' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
        bytes.push((16 * high + low) as u8);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_table_of_its_own() {
        for name in ["default", "My notes", "灯台_守", "a_records", "a__b", ""] {
            let table = chunks(name);
            assert!(table.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
            assert_eq!(plain(&table).as_deref(), Some(name));
            assert_eq!(of_records(&records(name)).as_deref(), Some(name));
            assert_eq!((of_records(&table), plain(&records(name))), (None, None), "{name}");
            assert_eq!((of_records(&twin(name)), plain(&twin(name))), (None, None), "{name}");
        }
        assert_eq!(plain("other"), None);
    }
}
