//! A local hub that serves the file list and files with ranges, and fails on demand.

use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use super::super::Digest;

pub(super) const COMMIT: &str = "aaaabbbbccccddddeeeeffff0000111122223333";

/// A fault that replaces the regular answer to a request.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// Answers with this status and these header lines.
    Status(u16, String),
    /// Sends this many bytes of the body and closes the connection.
    CutAfter(usize),
    /// The same, but without announcing the length of the body.
    CutUnannounced(usize),
    /// Sends the whole file, whatever range was requested.
    IgnoreRange,
    /// Sends a body of the right length with one byte changed.
    Damage,
    /// Closes the connection without an answer.
    HangUp,
    /// Keeps the connection open and sends nothing.
    Silence,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: HashMap<String, String>,
}

#[derive(Default)]
struct State {
    files: Vec<(String, Vec<u8>)>,
    faults: HashMap<String, VecDeque<Fault>>,
    /// Whether the list lacks sizes and checksums.
    names_only: bool,
    requests: Vec<Request>,
    connections: usize,
}

/// The server; its threads end with the test process.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(super) fn start(files: &[(&str, &[u8])]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let files = files.iter().map(|(path, content)| ((*path).into(), content.to_vec()));
        let state = State { files: files.collect(), ..State::default() };
        let server = Self { address, state: Arc::new(Mutex::new(state)) };
        let serving = server.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let server = serving.clone();
                server.lock().connections += 1;
                thread::spawn(move || server.serve(&connection.unwrap()));
            }
        });
        server
    }

    /// Makes the next requests for `path` fail, one per fault.
    pub(super) fn fail(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        self.lock().faults.entry(path.to_owned()).or_default().extend(faults);
    }

    pub(super) fn list_names_only(&self) {
        self.lock().names_only = true;
    }

    pub(super) fn connections(&self) -> usize {
        self.lock().connections
    }

    /// The requests for a file or, with `list`, for the file list.
    pub(super) fn requests(&self, file: &str) -> Vec<Request> {
        let matches = |request: &&Request| request.path == file;
        self.lock().requests.iter().filter(matches).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Answers one request and closes the connection.
    fn serve(&self, connection: &TcpStream) {
        let Some(request) = read_request(connection) else { return };
        self.lock().requests.push(request.clone());
        let fault = self.lock().faults.get_mut(&request.path).and_then(VecDeque::pop_front);
        let Some(mut body) = self.content(&request.path) else {
            return send(connection, "404 Not Found", "", b"", 0);
        };
        let (mut start, mut sent) = (request.first_byte(), usize::MAX);
        match fault {
            Some(Fault::Status(status, headers)) => {
                return send(connection, &format!("{status} Fault"), &headers, b"", 0);
            }
            Some(Fault::HangUp) => return,
            Some(Fault::Silence) => return thread::sleep(std::time::Duration::from_secs(30)),
            Some(Fault::CutAfter(bytes)) => sent = bytes,
            Some(Fault::CutUnannounced(bytes)) => {
                return send_unannounced(connection, &body[..bytes]);
            }
            Some(Fault::IgnoreRange) => start = 0,
            Some(Fault::Damage) => body[start] ^= 1,
            None => {}
        }
        if request.method == "HEAD" {
            return send(connection, "200 OK", &etag(&request.path, &body), &body, 0);
        }
        let total = body.len();
        match start {
            0 => send(connection, "200 OK", "", &body, sent),
            _ if start < total => {
                let range = format!("Content-Range: bytes {start}-{}/{total}\r\n", total - 1);
                send(connection, "206 Partial Content", &range, &body[start..], sent);
            }
            _ => send(connection, "416 Range Not Satisfiable", "", b"", 0),
        }
    }

    fn content(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        if path == "list" {
            return Some(listing(&state.files, state.names_only).to_string().into_bytes());
        }
        state.files.iter().find(|(file, _)| file == path).map(|(_, content)| content.clone())
    }
}

impl Request {
    fn first_byte(&self) -> usize {
        let range = self.headers.get("range").and_then(|range| range.strip_prefix("bytes="));
        range.map_or(0, |range| range.trim_end_matches('-').parse().unwrap())
    }
}

/// The file list in the hub's format. The hub keeps weights as large files, with a SHA-256.
fn listing(files: &[(String, Vec<u8>)], names_only: bool) -> Value {
    let sibling = |(path, content): &(String, Vec<u8>)| {
        if names_only {
            return json!({"rfilename": path});
        }
        let bytes = content.len() as u64;
        let mut entry = json!({"rfilename": path, "size": bytes, "blobId": git_digest(content)});
        if is_large(path) {
            entry["lfs"] = json!({"sha256": sha256(content), "size": bytes, "pointerSize": 134});
        }
        entry
    };
    json!({"id": "me/mine", "sha": COMMIT, "siblings": files.iter().map(sibling).collect::<Vec<_>>()})
}

fn is_large(path: &str) -> bool {
    path.ends_with(".safetensors")
}

fn etag(path: &str, content: &[u8]) -> String {
    match is_large(path) {
        true => format!("ETag: \"storage\"\r\nX-Linked-Etag: \"{}\"\r\n", sha256(content)),
        false => format!("ETag: W/\"{}\"\r\n", git_digest(content)),
    }
}

pub(super) fn sha256(content: &[u8]) -> String {
    Digest::Sha256(String::new()).of(content, content.len() as u64).unwrap()
}

pub(super) fn git_digest(content: &[u8]) -> String {
    Digest::Git(String::new()).of(content, content.len() as u64).unwrap()
}

fn read_request(connection: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    let first = lines.next()?;
    let (method, rest) = first.split_once(' ')?;
    let target = rest.split(' ').next()?.to_owned();
    let header = |line: String| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    let headers = lines.take_while(|line| !line.is_empty()).map(header).collect();
    let path = match target.strip_prefix(&format!("/me/mine/resolve/{COMMIT}/")) {
        Some(file) => file.to_owned(),
        None if target == "/api/models/me/mine/revision/main?blobs=true" => "list".to_owned(),
        None => target,
    };
    Some(Request { method: method.to_owned(), path, headers })
}

/// Sends the head of a response and the first `sent` bytes of its body.
fn send(connection: &TcpStream, status: &str, headers: &str, body: &[u8], sent: usize) {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    );
    write(connection, &head, &body[..sent.min(body.len())]);
}

/// Sends a body that ends where the connection ends.
fn send_unannounced(connection: &TcpStream, body: &[u8]) {
    write(connection, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", body);
}

fn write(mut connection: &TcpStream, head: &str, body: &[u8]) {
    // The client may have disconnected, which the test notices itself.
    drop(connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(body)));
}
