//! What people see in a terminal: each test runs the program in a pseudo-terminal and looks at the
//! screen.

use crate::{PROGRAM, Sandbox};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use vt100::Parser;

/// Lines of the screen: more than any test prints, so that nothing scrolls away.
const ROWS: u16 = 2000;
const WIDTHS: [u16; 3] = [40, 80, 200];

/// A terminal in which the program runs.
pub(crate) struct Terminal {
    master: File,
    child: Child,
    parser: Parser,
}

/// What is on the screen in the end.
pub(crate) struct Screen {
    pub(crate) status: Option<i32>,
    pub(crate) lines: Vec<String>,
    /// Everything that was written, escape sequences included.
    pub(crate) bytes: String,
}

impl Terminal {
    pub(crate) fn start(sandbox: &Sandbox, columns: u16, arguments: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("an unlocked one");
        let name = ptsname(&master, Vec::new()).expect("its name").into_string().expect("UTF-8");
        let master = File::from(master);
        resize(&master, columns);
        let slave = || File::options().read(true).write(true).open(&name).expect("the other side");
        let mut command: Command = sandbox.command(PROGRAM, arguments);
        command.env("TERM", "xterm-256color");
        command.stdin(slave()).stdout(slave()).stderr(slave());
        let child = command.spawn().expect("a running program");
        Self { master, child, parser: Parser::new(ROWS, columns, 0) }
    }

    pub(crate) fn resize(&mut self, columns: u16) {
        resize(&self.master, columns);
        self.parser.screen_mut().set_size(ROWS, columns);
    }

    /// Presses keys.
    pub(crate) fn type_in(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("typed keys");
    }

    /// Reads what the program writes until `enough` of it is there.
    pub(crate) fn read_until(&mut self, enough: impl Fn(&str) -> bool) -> String {
        let (mut all, mut part) = (Vec::new(), [0; 4096]);
        loop {
            // An error is the end: the program has closed the other side.
            let count = self.master.read(&mut part).unwrap_or(0);
            all.extend_from_slice(&part[..count]);
            self.parser.process(&part[..count]);
            let text = String::from_utf8_lossy(&all);
            if count == 0 || enough(&text) {
                return text.into_owned();
            }
        }
    }

    pub(crate) fn finish(mut self) -> Screen {
        let bytes = self.read_until(|_| false);
        let status = self.child.wait().expect("a finished program").code();
        let (_, columns) = self.parser.screen().size();
        let lines = self.parser.screen().rows(0, columns).map(|line| line.trim_end().to_owned());
        let mut lines: Vec<String> = lines.collect();
        let used = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
        lines.truncate(used);
        Screen { status, lines, bytes }
    }
}

fn resize(master: &File, columns: u16) {
    let size = Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(master, size).expect("a terminal of that size");
}

pub(crate) fn screen(sandbox: &Sandbox, columns: u16, arguments: &[&str]) -> Screen {
    Terminal::start(sandbox, columns, arguments).finish()
}

/// The row numbers at the starts of `lines`.
fn numbers(lines: &[String]) -> Vec<usize> {
    lines.iter().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}

#[test]
fn the_first_command_of_the_readme_shows_both_of_its_rows() {
    let sandbox = Sandbox::new();
    for columns in WIDTHS {
        let texts = ["embed", "The Force will be with you.", "Die Macht wird mit dir sein."];
        let Screen { status, lines, bytes } = screen(&sandbox, columns, &texts);
        assert_eq!((status, numbers(&lines)), (Some(0), vec![0, 1]), "{columns}: {lines:#?}");
        assert!(lines[lines.len() - 1].starts_with("2 vectors"), "{lines:#?}");
        assert!(!bytes.contains("left"), "no progress is shown for work under a second: {bytes}");
    }
}

/// Texts that take a few seconds, one per line.
fn long_work(sandbox: &Sandbox) -> usize {
    let line = |i: usize| format!("{i} {}\n", "the lighthouse keeper wrote a letter ".repeat(12));
    sandbox.write("texts.txt", (0..400).map(line).collect::<String>());
    400
}

#[test]
fn progress_and_data_leave_each_other_alone() {
    let sandbox = Sandbox::new();
    let count = long_work(&sandbox);
    let embed = ["embed", "--input", "texts.txt", "--input-format", "lines", "--threads", "1"];
    for columns in WIDTHS {
        for format in ["table", "csv", "jsonl"] {
            let arguments = [&embed[..], &["--dimensions", "4", "--format", format]].concat();
            let Screen { status, lines, bytes } = screen(&sandbox, columns, &arguments);
            assert_eq!(status, Some(0), "{lines:#?}");
            assert!(bytes.contains(" texts, "), "progress is shown: {bytes}");
            let all = lines.concat();
            assert!(!all.contains("tokens/s") && !all.contains(" left"), "{columns} {format}");
            let rows = match format {
                "table" => numbers(&lines),
                "csv" => {
                    (0..count).filter(|i| all.contains(&format!("texts.txt,{},", i + 1))).collect()
                }
                _ => (0..count).filter(|i| all.contains(&format!("\"index\":{i},"))).collect(),
            };
            assert_eq!(rows, (0..count).collect::<Vec<_>>(), "{columns} {format}");
        }
    }
}

#[test]
fn progress_stays_on_one_line_when_the_window_is_resized() {
    let sandbox = Sandbox::new();
    long_work(&sandbox);
    let arguments = [
        "similarity",
        "--query",
        "letters",
        "--input",
        "texts.txt",
        "--input-format",
        "lines",
        "--threads",
        "1",
    ];
    let mut terminal = Terminal::start(&sandbox, 100, &arguments);
    let first = terminal.read_until(|text| text.contains("tokens/s"));
    assert!(first.contains("\r\x1b[K"), "{first}");
    terminal.resize(30);
    // What was drawn before may still be as wide as the old window.
    terminal.read_until(|text| text.matches("\r\x1b[K").count() > 2);
    let narrow = terminal.read_until(|text| text.matches("\r\x1b[K").count() > 1);
    let drawn = narrow.split("\r\x1b[K").filter(|line| line.contains(" texts"));
    for line in drawn {
        assert!(line.chars().count() < 30, "{line:?}");
    }
    let Screen { status, lines, .. } = terminal.finish();
    assert_eq!((status, numbers(&lines).len()), (Some(0), 400), "{lines:#?}");
}

#[test]
fn no_progress_is_shown_if_it_is_not_wanted() {
    let sandbox = Sandbox::new();
    long_work(&sandbox);
    let arguments = ["embed", "--quiet", "--input", "texts.txt", "--input-format", "lines"];
    let Screen { status, bytes, .. } = screen(&sandbox, 80, &arguments);
    assert_eq!(status, Some(0));
    assert!(!bytes.contains("tokens/s") && !bytes.contains("\x1b[K"), "{bytes}");
}
