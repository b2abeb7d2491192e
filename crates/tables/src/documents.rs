//! Rows of documents: those of one are held back until the next one begins.

use crate::embed::complete;
use crate::error::{Error, Result};
use crate::rows::{RowText, Rows};
use kokeshi::MAX_TEXT_BYTES;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

/// Gives out rows in such a way that no document goes on after them.
#[derive(Default)]
pub(crate) struct Documents {
    held: Option<Rows>,
    /// The last document, if it is too long to be embedded, and is not held any more.
    oversized: Option<String>,
    /// Hashes of the documents so far: 16 bytes of memory for each.
    seen: HashSet<u64>,
    last: Option<String>,
}

impl Documents {
    /// The rows that `next` completes.
    pub(crate) fn push(&mut self, mut next: Rows, path: &Path) -> Result<Rows> {
        self.check(&mut next.texts);
        let rows = match self.held.take() {
            Some(held) => held.followed_by(next).map_err(|error| Error::unreadable(path, error))?,
            None => next,
        };
        let (mut ready, mut rest) = {
            let count = complete(&rows);
            rows.split_at(count)
        };
        if rest.texts.iter().map(text_len).sum::<usize>() > MAX_TEXT_BYTES {
            self.oversized = rest.texts.last().and_then(|row| row.document.clone());
            rest.texts.iter_mut().for_each(refuse_as_too_long);
            ready = ready.followed_by(rest).map_err(|error| Error::unreadable(path, error))?;
        } else {
            self.held = Some(rest);
        }
        Ok(ready)
    }

    /// The rows that are still held.
    pub(crate) fn rest(self) -> Option<Rows> {
        self.held
    }

    /// Refuses rows that cannot be embedded with their documents.
    fn check(&mut self, rows: &mut [RowText]) {
        for row in rows {
            let Some(document) = row.document.clone() else {
                row.text = Err("it has no document".to_owned());
                self.last = None;
                continue;
            };
            if self.oversized.as_ref() == Some(&document) {
                refuse_as_too_long(row);
                continue;
            }
            let is_new = self.last.as_ref() != Some(&document);
            if is_new && !self.seen.insert(hash(&document)) {
                row.text = Err(format!(
                    "rows of its document `{document}` came before, and others between them; sort the \
                     rows by document"
                ));
                row.document = None;
                self.last = None;
                continue;
            }
            self.oversized = None;
            self.last = Some(document);
        }
    }
}

fn text_len(row: &RowText) -> usize {
    row.text.as_ref().map_or(0, String::len)
}

fn refuse_as_too_long(row: &mut RowText) {
    row.text = Err(format!("the texts of its document have more than {MAX_TEXT_BYTES} bytes"));
    row.document = None;
}

fn hash(document: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    document.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{RecordBatch, RecordBatchOptions};
    use arrow_schema::Schema;
    use std::sync::Arc;

    fn rows(rows: &[(&str, usize)]) -> Rows {
        let text = |(document, bytes): &(&str, usize)| RowText {
            text: Ok("x".repeat(*bytes)),
            location: String::new(),
            id: None,
            document: Some(document.to_string()).filter(|document| !document.is_empty()),
        };
        let schema = Arc::new(Schema::empty());
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let kept = RecordBatch::try_new_with_options(schema, Vec::new(), &options);
        Rows { kept: kept.expect("rows"), texts: rows.iter().map(text).collect(), bytes: 1 }
    }

    fn push(documents: &mut Documents, next: &[(&str, usize)]) -> Vec<Result<usize, String>> {
        let ready = documents.push(rows(next), Path::new("a")).expect("rows");
        assert_eq!(ready.kept.num_rows(), ready.texts.len());
        ready.texts.into_iter().map(|row| row.text.map(|text| text.len())).collect()
    }

    #[test]
    fn a_document_is_held_until_the_next_begins() {
        let mut documents = Documents::default();
        assert_eq!(push(&mut documents, &[("a", 1), ("b", 2)]), [Ok(1)]);
        assert_eq!(push(&mut documents, &[("b", 3)]), []);
        assert_eq!(push(&mut documents, &[("c", 4), ("d", 5)]), [Ok(2), Ok(3), Ok(4)]);
        let rest = documents.rest().expect("rows");
        assert_eq!((rest.texts.len(), rest.kept.num_rows()), (1, 1));
    }

    #[test]
    fn a_document_that_comes_back_is_refused() {
        let mut documents = Documents::default();
        let ready = push(&mut documents, &[("a", 1), ("b", 1), ("a", 1), ("", 1), ("c", 1)]);
        assert_eq!(ready[..2], [Ok(1), Ok(1)]);
        assert!(
            ready[2].as_ref().is_err_and(|reason| reason.contains("sort the rows by document"))
        );
        assert_eq!(ready[3], Err("it has no document".to_owned()));
        assert_eq!(ready.len(), 4);
    }

    #[test]
    fn a_document_without_end_is_not_held() {
        let mut documents = Documents::default();
        let half = MAX_TEXT_BYTES / 2 + 1;
        assert_eq!(push(&mut documents, &[("a", half)]), []);
        let ready = push(&mut documents, &[("a", half)]);
        assert!(ready.len() == 2 && ready.iter().all(Result::is_err), "{ready:?}");
        let ready = push(&mut documents, &[("a", 1), ("b", 1), ("c", 1)]);
        assert!(ready[0].is_err() && ready[1] == Ok(1), "{ready:?}");
    }
}
