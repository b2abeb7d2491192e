//! Progress on a terminal: texts and tokens per second, and the remaining time.

use crate::printer::Printer;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// A progress bar over the bytes of the input, the only measure of work that is known in advance.
pub(crate) struct Meter {
    bar: ProgressBar,
    texts: usize,
    tokens: usize,
    bytes: u64,
}

impl Meter {
    /// `bytes` is the size of the input, if known. Nothing is drawn unless standard error is a
    /// terminal.
    pub(crate) fn new(bytes: Option<u64>, printer: &Printer) -> Self {
        let bar = bar(bytes, printer);
        Self { bar, texts: 0, tokens: 0, bytes: 0 }
    }

    /// Shows the progress within the current block.
    pub(crate) fn show(&self, texts: usize, tokens: usize, bytes: u64) {
        let (texts, tokens) = (self.texts + texts, self.tokens + tokens);
        let seconds = self.bar.elapsed().as_secs_f64().max(1e-3);
        let (texts_s, tokens_s) = (texts as f64 / seconds, tokens as f64 / seconds);
        self.bar.set_position(self.bytes + bytes);
        self.bar
            .set_message(format!("{texts} texts, {texts_s:.1} texts/s, {tokens_s:.0} tokens/s"));
    }

    /// Adds a finished block.
    pub(crate) fn advance(&mut self, texts: usize, tokens: usize, bytes: u64) {
        self.show(texts, tokens, bytes);
        self.texts += texts;
        self.tokens += tokens;
        self.bytes += bytes;
    }

    /// Runs `write` with the bar hidden, so that it can write to the terminal.
    pub(crate) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A progress bar over `bytes`, or a spinner.
pub(crate) fn bar(bytes: Option<u64>, printer: &Printer) -> ProgressBar {
    if !printer.progress {
        return ProgressBar::hidden();
    }
    let (bar, template) = match bytes {
        Some(bytes) => (ProgressBar::new(bytes), "{bar:30} {percent:>3}%  {msg}  {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}"),
    };
    // A template that does not parse is a bug in this file; the default style works all the same.
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
