//! Reading a graph in a process of its own. LMDB trusts its file: a damaged one, or one that is cut
//! off while it is mapped, ends the process that reads it by a signal, or never lets it return.
//!
//! The process gets one request per line and answers each with one line, both in JSON. Elements of
//! vectors are the bits of f32 values, so that none is rounded.

use super::graph::Graph;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// Creates the command that reads the graph at a path, which calls [`answer_graph_requests`].
pub type GraphCommand = fn(&Path) -> io::Result<Command>;

/// Time limit for an answer; a search in millions of vectors takes milliseconds.
const TIME: Duration = Duration::from_secs(10);

static COMMAND: OnceLock<GraphCommand> = OnceLock::new();

/// Lets this program read graphs in processes that `command` starts. Without this call, it reads
/// them itself, and a damaged one may end it.
pub fn read_graphs_with(command: GraphCommand) {
    // A second call changes nothing.
    let _ = COMMAND.set(command);
}

#[derive(Deserialize, Serialize)]
enum Request {
    /// The vector of a slot.
    Vector(u32),
    /// The slots nearest to a vector, and how many of them.
    Nearest(Vec<u32>, usize),
}

#[derive(Deserialize, Serialize)]
enum Answer {
    /// The first line: the width of the vectors.
    Width(usize),
    Vector(Option<Vec<u32>>),
    Nearest(Vec<usize>),
    /// A sentence for people.
    Unfit(String),
}

/// Answers the requests in `input` about the graph at `path`, until `input` ends.
///
/// # Errors
///
/// If a request cannot be read or an answer cannot be written.
pub fn answer_graph_requests(
    path: &Path,
    input: impl BufRead,
    mut output: impl Write,
) -> io::Result<()> {
    let mut answer = |answer: &Answer| -> io::Result<()> {
        writeln!(output, "{}", serde_json::to_string(answer)?)?;
        output.flush()
    };
    let graph = match Graph::open(path) {
        Ok(graph) => graph,
        Err(reason) => return answer(&Answer::Unfit(reason)),
    };
    answer(&Answer::Width(graph.width()))?;
    for line in input.lines() {
        let found = match serde_json::from_str(&line?)? {
            Request::Vector(slot) => graph.vector(slot).map(|vector| {
                Answer::Vector(vector.map(|vector| vector.into_iter().map(f32::to_bits).collect()))
            }),
            Request::Nearest(query, count) => {
                let query: Vec<f32> = query.into_iter().map(f32::from_bits).collect();
                graph.nearest(&query, count).map(Answer::Nearest)
            }
        };
        answer(&found.unwrap_or_else(Answer::Unfit))?;
    }
    Ok(())
}

/// A process that reads one graph.
pub(super) struct GraphProcess {
    width: usize,
    connection: Mutex<Connection>,
}

struct Connection {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<String>,
}

impl GraphProcess {
    /// Starts the process that reads the graph at `path`; `None` if this program reads graphs
    /// itself.
    pub(super) fn start(path: &Path) -> Option<Result<Self, String>> {
        let command = COMMAND.get()?;
        let failed = |error: io::Error| format!("its reader cannot be started: {error}");
        Some(command(path).map_err(failed).and_then(|command| {
            let mut connection = Connection::start(command).map_err(failed)?;
            match connection.answer()? {
                Answer::Width(width) => Ok(Self { width, connection: Mutex::new(connection) }),
                Answer::Unfit(reason) => Err(reason),
                _ => Err(UNEXPECTED.to_owned()),
            }
        }))
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn vector(&self, slot: u32) -> Result<Option<Vec<f32>>, String> {
        match self.ask(&Request::Vector(slot))? {
            Answer::Vector(vector) => {
                Ok(vector.map(|bits| bits.into_iter().map(f32::from_bits).collect()))
            }
            _ => Err(UNEXPECTED.to_owned()),
        }
    }

    pub(super) fn nearest(&self, query: &[f32], count: usize) -> Result<Vec<usize>, String> {
        let query = query.iter().map(|x| x.to_bits()).collect();
        match self.ask(&Request::Nearest(query, count))? {
            Answer::Nearest(slots) => Ok(slots),
            _ => Err(UNEXPECTED.to_owned()),
        }
    }

    fn ask(&self, request: &Request) -> Result<Answer, String> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let line = serde_json::to_string(request).map_err(|error| error.to_string())?;
        // If the process has ended, there will be no answer, for a reason that is known then.
        let _ = writeln!(connection.requests, "{line}");
        match connection.answer()? {
            Answer::Unfit(reason) => Err(reason),
            answer => Ok(answer),
        }
    }
}

const UNEXPECTED: &str = "its reader gave an unexpected answer";

impl Connection {
    fn start(mut command: Command) -> io::Result<Self> {
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = pipes.spawn()?;
        let (Some(requests), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("it has no pipes"));
        };
        let (to, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if to.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, requests, answers })
    }

    fn answer(&mut self) -> Result<Answer, String> {
        match self.answers.recv_timeout(TIME) {
            Ok(line) => serde_json::from_str(&line).map_err(|_| UNEXPECTED.to_owned()),
            Err(RecvTimeoutError::Timeout) => {
                let _ = self.child.kill();
                Err(format!("reading its file took more than {} s", TIME.as_secs()))
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait().map_err(|error| error.to_string())?;
                Err(format!("its file is damaged: the process that read it ended with {status}"))
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // It has ended or is no longer needed; either way no process must stay behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
