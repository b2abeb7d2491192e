//! Bodies of one JSON object per line, which are read batch by batch: while a batch is worked on,
//! nothing more is read, and the client must wait.

use crate::app::App;
use crate::body::{incomplete, over_limit, too_late};
use crate::buffers::Held;
use crate::problem::ApiResult;
use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// The types of such bodies.
const TYPES: [&str; 4] =
    ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"];

/// Whether a body has one object per line.
pub(crate) fn is_ndjson(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let essence = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    TYPES.iter().any(|kind| kind.eq_ignore_ascii_case(essence))
}

/// How long the rest of a refused body is read.
const DISCARD: Duration = Duration::from_secs(5);

/// A line that is not blank.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// From 1; blank lines count.
    pub(crate) number: usize,
    pub(crate) bytes: Vec<u8>,
}

/// The lines of a body.
pub(crate) struct Lines {
    body: Body,
    /// What has been read.
    buffer: Vec<u8>,
    /// Where the next line begins, and up to where its end was not found.
    start: usize,
    searched: usize,
    has_ended: bool,
    /// The number of the last line.
    number: usize,
    /// Maximum bytes of a line.
    limit: usize,
    /// Maximum time without a whole line.
    time: Duration,
    held: Held,
    held_bytes: usize,
}

impl Lines {
    /// The lines of a body of `client`.
    pub(crate) fn new(body: Body, app: &App, client: &Arc<str>) -> ApiResult<Self> {
        let config = app.config();
        let held = app.buffers.hold(client, 0)?;
        Ok(Self::within(body, held, config.limits.body_bytes, config.timeouts.body))
    }

    fn within(body: Body, held: Held, limit: usize, time: Duration) -> Self {
        let (buffer, start, searched, has_ended) = (Vec::new(), 0, 0, false);
        Self {
            body,
            buffer,
            start,
            searched,
            has_ended,
            number: 0,
            limit,
            time,
            held,
            held_bytes: 0,
        }
    }

    /// The next lines, up to `lines`, or about `bytes`; none at the end of the body.
    pub(crate) async fn next_batch(&mut self, lines: usize, bytes: usize) -> ApiResult<Vec<Line>> {
        let deadline = Instant::now() + self.time;
        let (mut batch, mut size) = (Vec::new(), 0);
        loop {
            while batch.len() < lines && size < bytes {
                let Some(line) = self.take_line() else { break };
                size += line.bytes.len();
                batch.push(line);
            }
            if batch.len() >= lines || size >= bytes || self.has_ended {
                return Ok(batch);
            }
            match timeout_at(deadline, self.read()).await {
                Ok(read) => read?,
                // A slow client need not fill a batch.
                Err(_) if !batch.is_empty() => return Ok(batch),
                Err(_) => return Err(too_late(&self.next_line(), self.time)),
            }
        }
    }

    /// Reads on for a while after a refusal. The system would reset a connection with unread bytes,
    /// and a client that is still sending would not see the answer.
    pub(crate) fn discard_rest(mut self) {
        if !self.has_ended {
            let rest = async move { while let Some(Ok(_)) = self.body.frame().await {} };
            tokio::spawn(timeout(DISCARD, rest));
        }
    }

    /// The number of the last line that was taken.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Whether the whole body has been read.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The next line that is not blank, if all of it has been read.
    fn take_line(&mut self) -> Option<Line> {
        loop {
            let found = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            let end = match found {
                Some(at) => self.searched + at,
                None if self.has_ended && self.start < self.buffer.len() => self.buffer.len(),
                None => {
                    self.searched = self.buffer.len();
                    return None;
                }
            };
            let line = self.start..end;
            self.number += 1;
            self.start = (end + 1).min(self.buffer.len());
            self.searched = self.start;
            let bytes = self.buffer[line].trim_ascii();
            if !bytes.is_empty() {
                return Some(Line { number: self.number, bytes: bytes.to_vec() });
            }
        }
    }

    /// Reads the next part of the body, after a line without an end.
    async fn read(&mut self) -> ApiResult<()> {
        self.buffer.drain(..self.start);
        (self.start, self.searched) = (0, self.buffer.len());
        if self.buffer.len() > self.limit {
            return Err(over_limit(&self.next_line(), self.limit, "split its document"));
        }
        let Some(frame) = self.body.frame().await else {
            self.has_ended = true;
            self.searched = 0;
            return Ok(());
        };
        let Ok(data) = frame.map_err(|error| incomplete(&error))?.into_data() else {
            return Ok(());
        };
        self.buffer.extend_from_slice(&data);
        let more = self.buffer.len().saturating_sub(self.held_bytes);
        if more > 0 {
            self.held.grow(more)?;
            self.held_bytes += more;
        }
        Ok(())
    }

    fn next_line(&self) -> String {
        format!("line {} of the body", self.number + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffers::Buffers;
    use axum::body::{Bytes, HttpBody};
    use hyper::body::Frame;
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// A body that arrives in these parts, and then ends or does not.
    struct Parts(VecDeque<&'static str>, bool);

    impl HttpBody for Parts {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_front() {
                Some(part) => Poll::Ready(Some(Ok(Frame::data(part.into())))),
                None if self.1 => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    fn lines(parts: &[&'static str], ends: bool) -> Lines {
        let held = Buffers::new(1000).hold(&"a".into(), 0).expect("room");
        let body = Body::new(Parts(parts.iter().copied().collect(), ends));
        Lines::within(body, held, 10, Duration::from_millis(20))
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(future)
    }

    /// The lines of the next batch, with their numbers.
    fn next(lines: &mut Lines, count: usize, bytes: usize) -> ApiResult<Vec<(usize, String)>> {
        let batch = block_on(lines.next_batch(count, bytes))?;
        let text = |line: Line| (line.number, String::from_utf8(line.bytes).expect("UTF-8"));
        Ok(batch.into_iter().map(text).collect())
    }

    fn owned(lines: &[(usize, &str)]) -> Vec<(usize, String)> {
        lines.iter().map(|(number, line)| (*number, (*line).to_owned())).collect()
    }

    #[test]
    fn lines_come_in_batches_however_they_are_cut_and_blank_ones_only_count() {
        let mut lines = lines(&["a\nb", "b", "\r\n\n\n \nc\nd\n", "e"], true);
        let batch = next(&mut lines, 2, 100).expect("lines");
        assert_eq!(batch, owned(&[(1, "a"), (2, "bb")]));
        assert_eq!(next(&mut lines, 10, 2).expect("lines"), owned(&[(6, "c"), (7, "d")]));
        assert!(!lines.has_ended());
        assert_eq!(next(&mut lines, 10, 100).expect("lines"), owned(&[(8, "e")]));
        assert_eq!((lines.number(), lines.has_ended()), (8, true));
        assert_eq!(next(&mut lines, 10, 100).expect("no line"), []);
    }

    #[test]
    fn a_line_that_is_too_long_or_late_is_refused_with_its_number() {
        let mut long = lines(&["a\n01234", "56789", "0", "123456"], true);
        let problem = next(&mut long, 10, 100).expect_err("too long");
        assert_eq!(problem.code, "INPUT_TOO_LARGE");
        assert!(problem.message.starts_with("line 2 of the body is over"), "{problem:?}");
        let mut slow = lines(&["a\n", "b\nc"], false);
        let batch = next(&mut slow, 10, 100).expect("what has arrived");
        assert_eq!(batch, owned(&[(1, "a"), (2, "b")]));
        let problem = next(&mut slow, 10, 100).expect_err("no whole line");
        assert_eq!(problem.code, "INPUT_TIMEOUT");
        assert!(problem.message.starts_with("line 3 of the body did not"), "{problem:?}");
    }
}
