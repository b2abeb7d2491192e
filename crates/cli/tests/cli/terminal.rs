//! What people see in a terminal: each test runs the program in a pseudo-terminal and looks at the
//! screen.

use crate::{PROGRAM, Sandbox, tiny_v3};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
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
    /// Whether a line was longer than the terminal is wide.
    pub(crate) wrapped: bool,
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
        Self { master, child, parser: Parser::new(nonzero(ROWS), nonzero(columns), 0) }
    }

    pub(crate) fn resize(&mut self, columns: u16) {
        resize(&self.master, columns);
        self.parser.screen_mut().set_size(nonzero(ROWS), nonzero(columns));
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
        let lines =
            self.parser.screen().rows(0, columns.get()).map(|line| line.trim_end().to_owned());
        let mut lines: Vec<String> = lines.collect();
        let used = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
        lines.truncate(used);
        let wrapped = (0..ROWS).any(|row| self.parser.screen().row_wrapped(row));
        Screen { status, lines, wrapped, bytes }
    }
}

fn nonzero(number: u16) -> NonZero<u16> {
    NonZero::new(number).expect("a size")
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
        let Screen { status, lines, bytes, .. } = screen(&sandbox, columns, &texts);
        assert_eq!((status, numbers(&lines[1..3])), (Some(0), vec![0, 1]), "{columns}: {lines:#?}");
        assert!(lines[lines.len() - 1].starts_with("2 vectors"), "{lines:#?}");
        assert!(!bytes.contains("left"), "no progress is shown for work under a second: {bytes}");
    }
}

/// The options of slow work: its speed is about the same on every processor.
const SLOW: [&str; 4] = ["--threads", "1", "--simd-level", "portable"];
/// The options that read the texts of [`long_work`].
const LINES: [&str; 4] = ["--input", "texts.txt", "--input-format", "lines"];
/// Number of those texts.
const COUNT: usize = 60;

/// Writes texts that take a few seconds, one per line.
fn long_work(sandbox: &Sandbox) {
    let line = |i: usize| format!("{i} {}\n", "the lighthouse keeper wrote a letter ".repeat(2));
    sandbox.write("texts.txt", (0..COUNT).map(line).collect::<String>());
}

#[test]
fn progress_and_data_leave_each_other_alone() {
    let sandbox = Sandbox::new();
    long_work(&sandbox);
    for (columns, format) in [(40, "csv"), (80, "table"), (200, "jsonl")] {
        let options = ["embed", "--dimensions", "4", "--format", format];
        let arguments = [&options[..], &LINES, &SLOW].concat();
        let Screen { status, lines, bytes, .. } = screen(&sandbox, columns, &arguments);
        assert_eq!(status, Some(0), "{lines:#?}");
        assert!(bytes.contains("\r\x1b[K"), "progress is shown: {bytes}");
        let all = lines.concat();
        assert!(!all.contains("tokens/s") && !all.contains(" left"), "{columns} {format}");
        let is_shown = |i: &usize| match format {
            "csv" => all.contains(&format!("texts.txt,{},", i + 1)),
            _ => all.contains(&format!("\"index\":{i},")),
        };
        let rows = match format {
            "table" => numbers(&lines).into_iter().take(COUNT).collect(),
            _ => (0..COUNT).filter(is_shown).collect::<Vec<_>>(),
        };
        assert_eq!(rows, (0..COUNT).collect::<Vec<_>>(), "{columns} {format}");
    }
}

#[test]
fn progress_stays_on_one_line_when_the_window_is_resized() {
    let sandbox = Sandbox::new();
    long_work(&sandbox);
    let arguments = [&["similarity", "--query", "letters"], &LINES[..], &SLOW].concat();
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
    assert_eq!((status, numbers(&lines).len()), (Some(0), COUNT), "{lines:#?}");
}

#[test]
fn no_progress_is_shown_if_it_is_not_wanted() {
    let sandbox = Sandbox::new();
    long_work(&sandbox);
    let arguments = [&["embed", "--quiet"], &LINES[..], &SLOW].concat();
    let Screen { status, bytes, .. } = screen(&sandbox, 80, &arguments);
    assert_eq!(status, Some(0));
    assert!(!bytes.contains("tokens/s") && !bytes.contains("\x1b[K"), "{bytes}");
}

const TEXTS: &str = "How do I dim the light of the lighthouse at night without waking the keeper?\n\
                     灯塔看守人每天晚上写一封信，然后把它寄给住在城里的妹妹，她从来没有见过大海。\n\
                     Where is my parcel?\n\
                     Wann kommt das Paket mit der neuen Lampe endlich bei uns an?\n";

/// A folder with an index, and files of texts.
fn prepared() -> Sandbox {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("notes")).expect("a folder");
    let keeper = "The lighthouse keeper wrote incomprehensibly long letters, which nobody read. ";
    sandbox.write("notes/keeper.md", format!("# Lamp\n\n{}\n\n{TEXTS}", keeper.repeat(4)));
    assert_eq!(sandbox.run(["index", "notes"]).status, Some(0));
    sandbox.write("few.txt", TEXTS);
    sandbox.write("many.txt", (0..60).map(|i| format!("text {i}\n")).collect::<String>());
    sandbox
}

#[test]
#[ignore = "slow; `.ci/run` runs it"]
fn no_line_is_wider_than_the_terminal_and_no_word_is_broken() {
    let sandbox = prepared();
    let model = tiny_v3().display().to_string();
    let few = ["--input", "few.txt", "--input-format", "lines", "--model", &model];
    let many = ["--input", "many.txt", "--input-format", "lines", "--model", &model];
    let with = |arguments: &[&'static str], more: &[&str]| -> Vec<String> {
        arguments.iter().chain(more).map(|&argument| argument.to_owned()).collect()
    };
    let commands = [
        with(&["models", "list"], &[]),
        with(&["models", "info"], &[]),
        with(&["status", "notes"], &[]),
        with(&["search", "the keeper of the lighthouse", "notes"], &[]),
        with(&["search", "灯塔看守人", "notes", "--hybrid", "--why"], &[]),
        with(&["similarity", "--query", "lamp"], &few),
        with(&["similarity"], &few),
        with(&["similarity"], &many),
        with(&["embed"], &few),
        with(&["cluster", "-k", "2"], &few),
        with(&["classify", "--labels", "light,parcel,灯塔", "--top", "2"], &few),
    ];
    for columns in [30, 40, 80, 200] {
        for command in &commands {
            let command: Vec<&str> = command.iter().map(String::as_str).collect();
            let Screen { status, lines, wrapped, .. } = screen(&sandbox, columns, &command);
            assert_eq!(status, Some(0), "{command:?}: {lines:#?}");
            assert!(!wrapped, "{command:?} at {columns}: {lines:#?}");
            let all = lines.join("\n");
            assert!(!all.contains("[1m") && !all.contains("[0m"), "{command:?}: {lines:#?}");
            if command[0] == "search" && !command.contains(&"--why") {
                let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
                let source: std::collections::HashSet<String> = words(
                    &std::fs::read_to_string(sandbox.path("notes/keeper.md"))
                        .expect("the document"),
                );
                let shown = lines.iter().filter(|line| line.starts_with("    "));
                let broken = shown
                    .flat_map(|line| line.split_whitespace())
                    .find(|word| word.is_ascii() && !source.contains(*word));
                assert_eq!(broken, None, "at {columns}: {lines:#?}");
            }
        }
    }
}

#[test]
fn scores_are_shown_however_narrow_the_terminal_is() {
    let sandbox = prepared();
    for columns in [30, 40] {
        let few = ["--input", "few.txt", "--input-format", "lines"];
        let ranking = [&["similarity", "--query", "lamp"], &few[..]].concat();
        let lines = screen(&sandbox, columns, &ranking).lines;
        assert_eq!(lines.len(), 4, "{lines:#?}");
        assert!(lines.iter().all(|line| line.contains("  0.") || line.contains(" -0.")));
        let lines = screen(&sandbox, columns, &[&["similarity"], &few[..]].concat()).lines;
        assert_eq!(lines.concat().matches("1.00").count(), 4, "{lines:#?}");
        assert!(
            lines.iter().any(|line| line.starts_with("   2 Where is my parcel?")),
            "{lines:#?}"
        );
    }
}

#[test]
fn a_matrix_that_does_not_fit_says_so_and_shows_what_fits() {
    let sandbox = prepared();
    let many = ["similarity", "--input", "many.txt", "--input-format", "lines"];
    let lines = screen(&sandbox, 80, &many).lines;
    assert_eq!(lines.iter().filter(|line| line.contains("  text ")).count(), 60, "{lines:#?}");
    let note = "30 of 60 columns fit into this window; --html FILE shows all";
    assert!(lines.iter().any(|line| line == note), "{lines:#?}");
    let piped = sandbox.run(many);
    assert!(piped.quiet().lines().nth(1).expect("a row").matches('.').count() >= 60);
}

#[test]
fn a_collection_is_removed_only_after_a_yes() {
    let sandbox = prepared();
    let forget = ["forget", "--all", "--store", "notes/.kokeshi/index.db"];
    let piped = sandbox.run(forget);
    assert!(piped.failure(4).contains("use --yes to skip the confirmation"), "{}", piped.stderr);
    for (answer, expected, status) in
        [("no\n", "nothing was removed", 4), ("yes\n", "removed collection", 0)]
    {
        let mut terminal = Terminal::start(&sandbox, 80, &forget);
        terminal.read_until(|text| text.contains("[yes/no]"));
        terminal.type_in(answer);
        let screen = terminal.finish();
        assert_eq!(screen.status, Some(status), "{:#?}", screen.lines);
        assert!(screen.lines.concat().contains(expected), "{:#?}", screen.lines);
    }
}

#[test]
#[ignore = "takes a minute; CI runs it"]
fn every_command_that_draws_progress_leaves_none_behind() {
    let sandbox = Sandbox::new();
    long_work(&sandbox);
    // Each command, and the least number of lines that it prints.
    let commands: [(&[&str], &[&str], usize); 5] = [
        (&["dedupe", "--threshold", "1"], &LINES, COUNT),
        (&["cluster", "-k", "2", "--examples", "1"], &LINES, 4),
        (&["classify", "--labels", "light,parcel"], &LINES, COUNT),
        (&["similarity", "--query", "letters"], &LINES, COUNT),
        (&["index", "--chunk", "lines", "--store", "notes.db"], &["texts.txt"], 1),
    ];
    for columns in WIDTHS {
        for (command, more, least) in commands {
            // A store of the round before would have nothing to do.
            let _ = std::fs::remove_file(sandbox.path("notes.db"));
            let arguments = [command, more, &SLOW].concat();
            let Screen { status, lines, bytes, .. } = screen(&sandbox, columns, &arguments);
            assert_eq!(status, Some(0), "{lines:#?}");
            assert!(bytes.contains("\r\x1b[K"), "{command:?} shows no progress: {bytes:.300}");
            let all = lines.concat();
            assert!(!all.contains("tokens/s") && !all.contains('░'), "{command:?}: {lines:#?}");
            assert!(lines.len() >= least, "{command:?} at {columns}: {lines:#?}");
        }
    }
}
