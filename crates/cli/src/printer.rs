//! Data on standard output, everything for people on standard error.

use crate::env;
use crate::layout::folded;
use crate::status_line::{DataStream, StatusLine};
use crate::visible::{message, styled};
use anyhow::Context;
use clap::ColorChoice;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::OnceLock;

/// Columns of a line if standard output is not a terminal.
const DEFAULT_WIDTH: usize = 100;

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgressStyle {
    /// As a line at the bottom of the terminal.
    Line,
    /// As a line of text now and then.
    Log,
    /// Not at all.
    Off,
}

/// How much is said on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Warnings and errors.
    Quiet,
    /// Progress and notes too.
    #[default]
    Normal,
    /// Details too.
    Verbose,
}

/// What the user wants of all printers of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preferences {
    pub(crate) verbosity: Verbosity,
    pub(crate) color: ColorChoice,
}

static PREFERENCES: OnceLock<Preferences> = OnceLock::new();

/// The two streams and their capabilities.
#[derive(Clone, Debug)]
pub(crate) struct Printer {
    /// Standard output is a terminal.
    pub(crate) terminal: bool,
    /// How standard error shows progress.
    pub(crate) progress: ProgressStyle,
    /// The line of progress.
    pub(crate) line: StatusLine,
    /// Standard output supports colours.
    pub(crate) colour: bool,
    /// Standard output supports block characters.
    pub(crate) blocks: bool,
    /// Standard output supports hyperlinks (OSC 8).
    pub(crate) links: bool,
    verbosity: Verbosity,
    bold_errors: bool,
}

impl Printer {
    /// The printer of a process with these preferences.
    pub(crate) fn new(preferences: Preferences) -> Self {
        // The first ones hold: a process has one command line.
        let _ = PREFERENCES.set(preferences);
        Self::detect()
    }

    /// Inspects the streams and `TERM`, and follows the preferences.
    pub(crate) fn detect() -> Self {
        let (terminal, messages) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let default = || Preferences { verbosity: Verbosity::Normal, color: ColorChoice::Auto };
        let Preferences { verbosity, color } = *PREFERENCES.get_or_init(default);
        let (always, plain) = (color == ColorChoice::Always, color == ColorChoice::Never);
        let dumb = env::dumb_terminal();
        Self {
            terminal,
            progress: match (verbosity, messages && !dumb) {
                (Verbosity::Quiet, _) => ProgressStyle::Off,
                (_, true) => ProgressStyle::Line,
                (_, false) => ProgressStyle::Log,
            },
            line: StatusLine::default(),
            colour: always || terminal && !plain && !dumb,
            links: terminal && !dumb && env::hyperlinks(),
            blocks: !plain && !dumb,
            verbosity,
            bold_errors: always || messages && !plain && !dumb,
        }
    }

    /// Columns of standard output now: the window may be resized while the program runs.
    pub(crate) fn width(&self) -> usize {
        let size = if self.terminal { terminal_size::terminal_size() } else { None };
        size.map_or(DEFAULT_WIDTH, |(width, _)| width.0.into())
    }

    /// Standard output, for data.
    pub(crate) fn data(&self) -> BufWriter<DataStream> {
        BufWriter::new(DataStream::new(self.line.clone(), self.terminal))
    }

    /// Prints the whole result of a command. Of what a terminal would obey, only line breaks,
    /// colours and links remain.
    pub(crate) fn print(&self, text: &str) -> anyhow::Result<()> {
        self.print_bytes(styled(text).as_bytes())
    }

    /// Prints data as it is.
    pub(crate) fn print_bytes(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut out = self.data();
        out.write_all(bytes).and_then(|()| out.flush()).context("cannot write standard output")
    }

    /// Prints lines for people, broken between words if they are wider than the terminal.
    pub(crate) fn print_lines(&self, text: &str) -> anyhow::Result<()> {
        self.print(&self.folded(text))
    }

    /// `text` with its lines broken between words if they are wider than the terminal.
    pub(crate) fn folded(&self, text: &str) -> String {
        if self.terminal { folded(text, self.width()) } else { text.to_owned() }
    }

    /// Whether a line of `columns` is not broken: a pipe has any number of them.
    pub(crate) fn fits(&self, columns: usize) -> bool {
        !self.terminal || columns <= self.width()
    }

    /// Prints what went wrong.
    pub(crate) fn error(&self, message: &str) {
        self.write_message("error", "31", message);
    }

    /// Prints what to do about it.
    pub(crate) fn hint(&self, message: &str) {
        self.write_message("hint", "36", message);
    }

    /// Prints what may be unexpected about a result.
    pub(crate) fn warning(&self, message: &str) {
        self.write_message("warning", "33", message);
    }

    /// Prints what was done, unless the user wants quiet.
    pub(crate) fn note(&self, message: &str) {
        if self.verbosity > Verbosity::Quiet {
            self.say(message);
        }
    }

    /// Prints how something was done, if the user asks for it.
    pub(crate) fn detail(&self, message: &str) {
        if self.verbosity == Verbosity::Verbose {
            self.say(message);
        }
    }

    fn say(&self, text: &str) {
        self.write(&message(text));
    }

    fn write(&self, text: &str) {
        // If standard error is closed, there is nowhere to report it; here and below.
        let _ = self.line.hidden(|| writeln!(io::stderr(), "{text}"));
    }

    fn write_message(&self, label: &str, colour: &str, text: &str) {
        let text = message(text);
        self.write(&match self.bold_errors {
            true => format!("\x1b[1;{colour}m{label}:\x1b[0m {text}"),
            false => format!("{label}: {text}"),
        });
    }
}
