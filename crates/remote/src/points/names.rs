//! Names of tables: engines accept letters, digits and `_`.

use std::fmt::Write;

/// The prefix of all tables that kokeshi creates.
const PREFIX: &str = "kokeshi_";
/// The suffix of tables of records. No encoded name ends with it, because two digits follow each
/// `_` in an encoded name.
const RECORDS: &str = "_records";

/// The suffix of the table with the provenance of a shadow copy.
const SHADOW: &str = "_twin";

/// The table of a collection's chunks, or the alias that points to it.
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

/// The table with the provenance of a shadow copy.
pub(super) fn shadow(collection: &str) -> String {
    chunks(collection) + SHADOW
}

/// Whether kokeshi created the table.
pub(super) fn is_own(table: &str) -> bool {
    table.starts_with(PREFIX)
}

/// The collection whose records are in a table.
pub(super) fn of_records(table: &str) -> Option<String> {
    decode(table.strip_suffix(RECORDS)?)
}

/// Decodes a name of [`chunks`].
pub(super) fn decode(table: &str) -> Option<String> {
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
            assert_eq!(decode(&table).as_deref(), Some(name));
            assert_eq!(of_records(&records(name)).as_deref(), Some(name));
            assert_eq!((of_records(&table), decode(&records(name))), (None, None), "{name}");
            assert_eq!((of_records(&shadow(name)), decode(&shadow(name))), (None, None), "{name}");
        }
        assert_eq!(decode("other"), None);
    }
}
