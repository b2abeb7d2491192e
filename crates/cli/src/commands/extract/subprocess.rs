//! Reads PDF files, web pages and office documents in a process of their own: their readers are
//! large, and a hostile file may make them panic, loop, or take all memory.

use crate::args::ExtractFormat;
use crate::commands::fence;
use clap::ValueEnum;
use kokeshi_documents::{Error, Extractor, Format};
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

/// Time limit for a file.
pub(super) const TIME: Duration = Duration::from_secs(60);
/// Time between two looks at the flag.
const TICK: Duration = Duration::from_millis(50);
/// Limit of the memory for a file, in bytes.
const MEMORY: u64 = 1 << 30;
/// Longest text of a file, in bytes.
const LONGEST_TEXT: u64 = 64 << 20;

/// Runs `kokeshi extract`, until the flag is set.
pub(crate) struct Subprocess<'a>(pub(crate) &'a AtomicBool);

impl Extractor for Subprocess<'_> {
    fn extract(&self, format: Format, content: &[u8]) -> Result<String, Error> {
        let format = match format {
            Format::Docx => ExtractFormat::Docx,
            Format::Epub => ExtractFormat::Epub,
            Format::Odt => ExtractFormat::Odt,
            Format::Pdf => ExtractFormat::Pdf,
            Format::Pptx => ExtractFormat::Pptx,
            _ => ExtractFormat::Html,
        };
        let mut child = start(format)
            .map_err(|error| Error::NoText(format!("its reader cannot be started: {error}")))?;
        let result = text(&mut child, content, self.0);
        // It has ended or is no longer needed; either way no process must stay behind.
        let _ = child.kill();
        let _ = child.wait();
        result
    }
}

fn start(format: ExtractFormat) -> std::io::Result<Child> {
    let format = format.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
    fence::command("extract", MEMORY)?
        .args(["--format", &format])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

fn text(child: &mut Child, content: &[u8], stop: &AtomicBool) -> Result<String, Error> {
    let failed = |reason: String| Error::NoText(reason);
    let (Some(mut input), Some(output), Some(errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(failed("its reader has no pipes".to_owned()));
    };
    let content = content.to_vec();
    thread::spawn(move || {
        // A reader that has failed reports it itself.
        let _ = input.write_all(&content);
    });
    let (to, from) = channel();
    let done = to.clone();
    thread::spawn(move || {
        let mut text = Vec::new();
        let read = output.take(LONGEST_TEXT + 1).read_to_end(&mut text).map(|_| text);
        let _ = done.send(read);
    });
    let reasons = thread::spawn(move || {
        let mut reason = String::new();
        let _ = errors.take(4096).read_to_string(&mut reason);
        reason
    });
    drop(to);
    let start = Instant::now();
    let text = loop {
        match from.recv_timeout(TICK) {
            Ok(text) => break text,
            Err(_) if stop.load(Ordering::Relaxed) => {
                return Err(failed("reading it was stopped".to_owned()));
            }
            Err(_) if start.elapsed() >= TIME => {
                return Err(failed(format!("reading it took more than {} s", TIME.as_secs())));
            }
            Err(_) => {}
        }
    };
    let text = text.map_err(|error| failed(format!("its reader failed: {error}")))?;
    if text.len() as u64 > LONGEST_TEXT {
        return Err(failed(format!("its text is longer than {} MiB", LONGEST_TEXT >> 20)));
    }
    match child.wait() {
        Ok(status) if status.success() => String::from_utf8(text)
            .map_err(|error| failed(format!("its reader wrote text that is not UTF-8: {error}"))),
        _ => {
            let reason = reasons.join().unwrap_or_default();
            let reason = reason.lines().find_map(|line| line.strip_prefix("error: "));
            let limit = MEMORY >> 20;
            let reason = reason.map_or_else(
                || format!("its reader gave up; its memory limit is {limit} MiB"),
                str::to_owned,
            );
            Err(failed(reason))
        }
    }
}
