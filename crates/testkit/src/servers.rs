//! Real servers of stores. Each serves one test process, on loopback and with its own folder.
//!
//! `crates/testkit/servers/install` installs them; without them, tests are skipped with a message.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// User and password of the servers that need them, as in `serve.py`.
const LOGIN: (&str, &str) = ("kokeshi", "kokeshi-test");

/// A running server, which stops when it is dropped or the process ends.
#[derive(Debug)]
pub struct Server {
    kind: &'static str,
    port: u16,
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    _folder: TempDir,
}

impl Server {
    /// Starts `postgres`, `chroma`, `milvus` or `qdrant`. `None`, with a printed reason, if it is
    /// not installed.
    ///
    /// # Panics
    ///
    /// If it is installed and does not start.
    pub fn start(kind: &'static str) -> Option<Self> {
        let python = target()?.join("servers/bin/python");
        if !python.is_file() {
            eprintln!("skipped: no {kind} server; crates/testkit/servers/install installs it");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("a port");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("servers/serve.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(kind)
            .arg(folder.path())
            .arg(free.port().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a running script");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let commands = child.stdin.take();
        let mut server =
            Self { kind, port: free.port(), child, commands, answers, _folder: folder };
        server.wait();
        Some(server)
    }

    /// Its address for `--store`, with the user and password if it needs them.
    pub fn address(&self) -> String {
        self.address_with(LOGIN.1)
    }

    /// Its address with another password.
    pub fn address_with(&self, password: &str) -> String {
        let (kind, port, user) = (self.kind, self.port, LOGIN.0);
        match kind {
            "postgres" => format!("postgres://{user}:{password}@127.0.0.1:{port}/postgres"),
            _ => format!("{kind}://127.0.0.1:{port}"),
        }
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops the server and starts it again.
    pub fn restart(&mut self) {
        self.command("restart");
    }

    /// Kills the server and starts it again.
    pub fn crash(&mut self) {
        self.command("crash");
    }

    /// Lets the server stand still: its system still accepts connections.
    pub fn pause(&mut self) {
        self.command("pause");
    }

    /// Lets a paused server continue.
    pub fn resume(&mut self) {
        self.command("continue");
    }

    fn command(&mut self, command: &str) {
        let commands = self.commands.as_mut().expect("an open pipe");
        writeln!(commands, "{command}").expect("a running script");
        self.wait();
    }

    fn wait(&mut self) {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("a running script");
        assert_eq!(line.trim(), "ready", "{} did not start", self.kind);
    }
}

/// Another program, `application.py`, which keeps points in a server through the server's own
/// client.
#[derive(Debug)]
pub struct Application {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Application {
    /// Starts it with the server `server`.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start(server: &Server) -> Self {
        let python = target().expect("a folder").join("servers/bin/python");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("servers/application.py");
        let mut child = Command::new(python)
            .arg(script)
            .args([server.kind, &server.port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a running script");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let commands = child.stdin.take();
        Self { child, commands, answers }
    }

    /// Sends a command and returns the answer; both are JSON.
    ///
    /// # Panics
    ///
    /// If the command fails; the program's standard error has the reason.
    pub fn ask(&mut self, command: &str) -> String {
        let commands = self.commands.as_mut().expect("an open pipe");
        writeln!(commands, "{command}").expect("a running script");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("a running script");
        assert!(!line.is_empty(), "{command} failed");
        line
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        drop(self.commands.take());
        // The script's exit status no longer matters.
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.commands.take());
        // The script's exit status no longer matters.
        let _ = self.child.wait();
    }
}

/// Cargo's target folder: the test is in its `debug/deps`.
fn target() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    test.ancestors().nth(3).map(Path::to_owned)
}
