//! The line of progress at the bottom of a terminal. All other output hides it while it writes, so
//! that neither erases the other.

use crate::layout::fitted;
use std::io::{self, StdoutLock, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The line, shared by everything that writes to the terminal.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatusLine(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_drawn: bool,
    /// Data stopped in the middle of a line, where the status line would erase it.
    is_mid_line: bool,
}

impl StatusLine {
    /// Draws `text` on standard error, cut to `width` columns, unless data is in the middle of a
    /// line. One column stays free: a terminal moves on once the last one is filled.
    pub(crate) fn draw(&self, text: &str, width: usize) {
        let mut state = self.lock();
        if !state.is_mid_line {
            let line = fitted(text, width.saturating_sub(1));
            // If standard error is closed, there is nowhere to draw; here and below.
            let _ = write!(io::stderr(), "\r\x1b[K{}", line.trim_end());
            state.is_drawn = true;
        }
    }

    /// Removes the line from the screen.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Removes the line, and keeps it away while `write` writes to standard error.
    pub(crate) fn hidden<T>(&self, write: impl FnOnce() -> T) -> T {
        let mut state = self.lock();
        state.clear();
        write()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn clear(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// Standard output, which hides the status line whenever it writes.
pub(crate) struct DataStream {
    out: StdoutLock<'static>,
    line: StatusLine,
    is_terminal: bool,
}

impl DataStream {
    pub(crate) fn new(line: StatusLine, is_terminal: bool) -> Self {
        Self { out: io::stdout().lock(), line, is_terminal }
    }
}

impl Write for DataStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.line.lock();
        state.clear();
        let written = self.out.write(bytes)?;
        if let Some(last) = bytes[..written].last() {
            state.is_mid_line = self.is_terminal && *last != b'\n';
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut state = self.line.lock();
        state.clear();
        self.out.flush()
    }
}
