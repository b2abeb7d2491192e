//! Downloads from a local server that implements the hub's protocol and fails on demand.

mod connections;
#[cfg(target_os = "linux")]
mod full_disk;
mod listings;
mod resuming;
mod server;
mod snapshots;

use super::lock::Lock;
use super::{Limits, PullEvent, pull_within};
use crate::check::{Check, check_files};
use crate::config::HubConfig;
use crate::error::{Error, Result};
use server::{COMMIT, Fault, Server, git_digest, sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const CONFIG: (&str, &[u8]) = ("config.json", b"{\"hidden_size\": 8}");
const TOKENIZER: (&str, &[u8]) = ("tokenizer.json", b"{\"model\": {}}");
const POOLING: (&str, &[u8]) = ("1_Pooling/config.json", b"{}");

/// Bytes whose slices at different offsets differ, so that misplaced parts are noticed.
fn weights() -> Vec<u8> {
    (0..400_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn hub() -> Server {
    Server::start(&[CONFIG, TOKENIZER, POOLING, ("model.safetensors", &weights())])
}

/// A cache in a temporary folder, and pulls of `me/mine` into it.
struct Cache {
    folder: TempDir,
    config: HubConfig,
}

impl Cache {
    fn of(server: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = HubConfig {
            cache: folder.path().to_owned(),
            endpoint: server.address.clone(),
            token: Some("hf_secret".to_owned()),
            offline: false,
            certificates: None,
        };
        Self { folder, config }
    }

    /// Pulls and returns the result and the events in short form.
    fn pull(&self) -> (Result<PathBuf>, Vec<String>) {
        self.pull_and(&mut |_| {})
    }

    /// As [`Self::pull`], and calls `watch` with every event.
    fn pull_and(&self, watch: &mut dyn FnMut(PullEvent<'_>)) -> (Result<PathBuf>, Vec<String>) {
        let limits = Limits {
            connect: Duration::from_secs(2),
            idle: Duration::from_millis(300),
            attempts: 3,
            progress: 32 << 10,
            backoff: Duration::from_millis(1),
            max_wait: Duration::from_millis(5),
        };
        let mut events: Vec<String> = Vec::new();
        let mut record = |event: PullEvent<'_>| {
            events.push(short(event));
            watch(event);
        };
        let result = pull_within(&limits, &self.config, "me/mine", "main", &mut record);
        events.retain(|event| !event.is_empty());
        (result, events)
    }

    fn repo(&self, path: &str) -> PathBuf {
        self.folder.path().join("models--me--mine").join(path)
    }

    fn located(&self) -> Option<PathBuf> {
        crate::locate(&self.config, "me/mine", "main").unwrap()
    }

    fn partial(&self) -> PathBuf {
        self.repo(&format!("blobs/{}.incomplete", sha256(&weights())))
    }

    fn keep_partial(&self, content: &[u8]) {
        fs::create_dir_all(self.repo("blobs")).unwrap();
        fs::write(self.partial(), content).unwrap();
    }
}

fn short(event: PullEvent<'_>) -> String {
    match event {
        PullEvent::Plan { files, bytes } => format!("plan {files} {bytes}"),
        PullEvent::Waiting { file } => format!("waiting {file}"),
        PullEvent::Damaged { file } => format!("damaged {file}"),
        PullEvent::Start { file, resumed, .. } => format!("start {file} {resumed}"),
        PullEvent::Advance { .. } => String::new(),
        PullEvent::Done { file, cached } => format!("done {file} {cached}"),
        PullEvent::Retry { file, attempt, reason, .. } => {
            format!("retry {file} {attempt}: {reason}")
        }
    }
}

/// Asserts that `locate` finds the pulled snapshot, with the server's content.
fn assert_whole(cache: &Cache, pulled: Result<PathBuf>) {
    let snapshot = pulled.unwrap();
    assert_eq!(cache.located().as_deref(), Some(snapshot.as_path()));
    assert!(snapshot.ends_with(format!("models--me--mine/snapshots/{COMMIT}")));
    assert_eq!(fs::read(snapshot.join("model.safetensors")).unwrap(), weights());
    assert_eq!(fs::read(snapshot.join(POOLING.0)).unwrap(), POOLING.1);
    assert!(!cache.partial().exists());
}

/// Asserts that a failed pull left nothing that looks like a model.
fn assert_nothing_visible(cache: &Cache) {
    assert_eq!(cache.located(), None);
    assert!(!cache.repo("refs").exists());
    assert!(!cache.repo(&format!("blobs/{}", sha256(&weights()))).exists());
}

fn status(status: u16) -> Fault {
    Fault::Status(status, String::new())
}
