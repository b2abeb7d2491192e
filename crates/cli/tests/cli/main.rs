//! The program as users see it: each test runs the real binary in an empty folder.

#[cfg(feature = "ann")]
mod ann;
mod bad_input;
mod bench;
mod chaos;
mod config;
mod demo;
mod disk;
mod documents;
mod durable;
mod embed;
mod eval;
mod exits;
mod foreign;
#[cfg(feature = "postgres")]
mod foreign_table;
#[cfg(feature = "postgres")]
mod foreign_table_switch;
mod formats;
mod hostile;
mod index;
mod migrate;
mod migrate_own;
mod migrate_switch;
mod migrate_verify;
mod models;
mod page;
mod search;
mod shadow_copy;
mod similarity;
mod sources;
mod stores;
#[cfg(feature = "parquet")]
mod tables;
mod tasks;
#[cfg(unix)]
mod terminal;
mod threads;
mod upgrade;
mod v2;
mod watch;

use kokeshi_testkit::fixture;
use kokeshi_testkit::servers::Server;
use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Servers whose stores the program under test can open.
const ENGINES: &[&str] = &[
    #[cfg(feature = "chroma")]
    "chroma",
    #[cfg(feature = "milvus")]
    "milvus",
    #[cfg(feature = "postgres")]
    "postgres",
    #[cfg(feature = "qdrant")]
    "qdrant",
];

/// A server of `engine`; `None`, with a printed reason, if the program lacks the feature or the
/// server is not installed.
fn server(engine: &'static str) -> Option<Server> {
    if !ENGINES.contains(&engine) {
        skip(&format!("this build lacks the feature `{engine}`"));
        return None;
    }
    Server::start(engine)
}

/// Prints why a test checks nothing.
#[expect(clippy::print_stderr, reason = "tests say what they skip")]
fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_kokeshi");

/// An empty folder to run in.
struct Sandbox {
    folder: TempDir,
}

/// The result of a run.
struct Run {
    status: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

impl Sandbox {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("a written file");
    }

    /// Puts the files of `checkpoint` where the hub's cache has those of `jinaai/{name}`.
    fn cache(&self, name: &str, checkpoint: &Path) -> PathBuf {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let repo = self.path(&format!("hub/models--jinaai--{name}"));
        let snapshot = repo.join("snapshots").join(commit);
        for folder in [&repo.join("refs"), &snapshot] {
            fs::create_dir_all(folder).expect("a folder");
        }
        fs::write(repo.join("refs/main"), commit).expect("a ref");
        for file in fs::read_dir(checkpoint).expect("a checkpoint") {
            let file = file.expect("a file");
            if file.path().is_file() {
                fs::copy(file.path(), snapshot.join(file.file_name())).expect("a copy");
            }
        }
        snapshot
    }

    fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        self.run_with(arguments, b"")
    }

    /// A command without environment variables that could affect the program.
    fn command<S: AsRef<OsStr>>(
        &self,
        program: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .env("KOKESHI_PRECISION", "f32")
            .env("HF_HUB_CACHE", self.path("hub"))
            .env("HF_HUB_OFFLINE", "1")
            .env("XDG_CONFIG_HOME", self.path("xdg"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the program with `stdin`.
    fn run_with<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, stdin: &[u8]) -> Run {
        Run::of(self.command(PROGRAM, args), stdin)
    }
}

impl Run {
    fn of(mut command: Command, stdin: &[u8]) -> Self {
        let mut child = command.spawn().expect("a running program");
        let mut input = child.stdin.take().expect("a pipe");
        let bytes = stdin.to_vec();
        let writer = std::thread::spawn(move || match input.write_all(&bytes) {
            // The program may refuse its input before it has read all of it.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => panic!("{error}"),
            _ => (),
        });
        let output = child.wait_with_output().expect("a finished program");
        writer.join().expect("a written input");
        Run {
            status: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).expect("messages in UTF-8"),
        }
    }

    /// Standard output of a run that succeeded without messages.
    #[track_caller]
    fn quiet(&self) -> &str {
        assert_eq!((self.status, self.stderr.as_str()), (Some(0), ""));
        self.text()
    }

    #[track_caller]
    fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("output in UTF-8")
    }

    #[track_caller]
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.quiet()).expect("JSON")
    }

    /// The objects of JSONL output.
    #[track_caller]
    fn jsonl(&self) -> Vec<serde_json::Value> {
        let lines = self.quiet().lines();
        lines.map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// Standard error of a run that failed with `status` and printed no data.
    #[track_caller]
    fn failure(&self, status: i32) -> &str {
        assert_eq!((self.status, self.text()), (Some(status), ""), "{}", self.stderr);
        &self.stderr
    }
}

/// The elements of a float embedding.
#[track_caller]
fn vector(entry: &serde_json::Value) -> Vec<f32> {
    let numbers = entry["embedding"].as_array().expect("an array");
    numbers.iter().map(|number| number.as_f64().expect("a number") as f32).collect()
}

/// A checkpoint with published tensor names and random weights, small enough for tests.
fn tiny_v3() -> PathBuf {
    fixture("v3-tiny/original")
}
