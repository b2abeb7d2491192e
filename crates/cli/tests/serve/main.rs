//! `kokeshi serve` with sockets: each test starts the program on a free port and sends requests to
//! it. Tests that need no process are in `crates/server/tests`.

mod access;
mod collections;
mod connections;
mod models;
mod search;
mod stop;

use kokeshi_testkit::fixture;
use kokeshi_testkit::reply::{self, Reply};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// A running server; it is killed when dropped.
struct Server {
    child: Child,
    address: String,
    /// Its standard error until now.
    log: Arc<Mutex<String>>,
    /// Its working folder; removed when dropped.
    folder: TempDir,
}

impl Server {
    /// Starts `kokeshi serve` with `args` and the bundled model.
    fn start(args: &[&str]) -> Self {
        Self::start_with(args, &[], |_| ())
    }

    /// Starts it in a shell, after the command `limit`.
    #[cfg(unix)]
    fn start_limited(limit: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let serve = command(&[], &[], &folder);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{limit}; exec \"$0\" \"$@\"")]);
        shell.arg(serve.get_program()).args(serve.get_args());
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Self::running(shell, folder)
    }

    /// Starts it with a tiny checkpoint under the name of the released v3.
    fn v3(args: &[&str]) -> Self {
        let model = format!("jina-embeddings-v3={}", fixture("v3-tiny/original").display());
        Self::start(&[&["--model", model.as_str()], args].concat())
    }

    /// Starts it in a new folder, which `fill` may put files into.
    fn start_with(args: &[&str], env: &[(&str, &str)], fill: impl Fn(&TempDir)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fill(&folder);
        Self::running(command(args, env, &folder), folder)
    }

    /// Starts `command` and waits until it listens.
    fn running(mut command: Command, folder: TempDir) -> Self {
        let mut child = command.spawn().expect("a running program");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut log = String::new();
        let address = loop {
            let mut line = String::new();
            let read = lines.read_line(&mut line).expect("a log");
            assert!(read > 0, "the server ended: {log}");
            log.push_str(&line);
            if let Some((_, address)) = line.trim().split_once("listening on ") {
                let address = address.split('"').next().expect("an address");
                break address.rsplit('/').next().expect("an address").to_owned();
            }
        };
        let log = Arc::new(Mutex::new(log));
        let writer = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                *writer.lock().expect("a log") += &(line + "\n");
            }
        });
        Self { child, address, log, folder }
    }

    /// `POST` of JSON.
    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &[], body.to_string().as_bytes())
    }

    #[track_caller]
    fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"")
    }

    /// One request on a connection of its own.
    #[track_caller]
    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut stream = self.connect();
        write_request(&mut stream, method, path, headers, body);
        let mut raw = Vec::new();
        stream.read_to_end(&mut raw).expect("an answer");
        Reply::parse(&raw)
    }

    #[track_caller]
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a socket");
        stream
    }

    /// The vectors of a successful response of `/v1/embeddings`.
    #[track_caller]
    fn vectors(&self, body: &Value) -> Vec<Vec<f32>> {
        self.post("/v1/embeddings", body).vectors()
    }

    /// Waits until the metrics contain `text`.
    #[track_caller]
    fn wait_for(&self, text: &str) {
        reply::wait_for(text, || self.get("/metrics").text());
    }

    #[cfg(unix)]
    fn terminate(&self) {
        self.signal("TERM");
    }

    #[cfg(unix)]
    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("kill");
        assert!(sent.success());
    }

    /// Waits until the log contains `text`.
    #[track_caller]
    fn wait_for_log(&self, text: &str) {
        reply::wait_for(text, || self.log.lock().expect("a log").clone());
    }

    /// A file in its working folder.
    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

fn command(args: &[&str], env: &[(&str, &str)], folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kokeshi"));
    command
        .arg("serve")
        .args(["--port", "0"])
        .args(args)
        .current_dir(folder.path())
        .env_clear()
        .env("HF_HUB_CACHE", folder.path().join("hub"))
        .env("XDG_CONFIG_HOME", folder.path().join("xdg"))
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn write_request(
    stream: &mut TcpStream,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) {
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    request += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";
    // The server may close the connection before it has read a refused body.
    let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.write_all(body));
}

impl Drop for Server {
    fn drop(&mut self) {
        // This fails if it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
