//! Downloads from a server on this machine that speaks the hub's protocol and fails on demand.

mod server;

use super::lock::Lock;
use super::{Limits, PullEvent, pull_within};
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

/// Bytes that no repetition or shift leaves equal.
fn weights() -> Vec<u8> {
    (0..400_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn hub() -> Server {
    Server::start(&[CONFIG, TOKENIZER, POOLING, ("model.safetensors", &weights())])
}

/// A cache in a new folder, and pulls of `me/mine` into it.
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

    /// Pulls and returns the result with the events in a short form.
    fn pull(&self) -> (Result<PathBuf>, Vec<String>) {
        self.pull_and(&mut |_| {})
    }

    fn pull_and(&self, watch: &mut dyn FnMut(PullEvent<'_>)) -> (Result<PathBuf>, Vec<String>) {
        let limits = Limits {
            connect: Duration::from_secs(2),
            idle: Duration::from_millis(300),
            attempts: 3,
            backoff: Duration::from_millis(1),
            longest_wait: Duration::from_millis(5),
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
        PullEvent::Start { file, resumed, .. } => format!("start {file} {resumed}"),
        PullEvent::Advance { .. } => String::new(),
        PullEvent::Done { file, cached } => format!("done {file} {cached}"),
        PullEvent::Retry { file, attempt, reason, .. } => {
            format!("retry {file} {attempt}: {reason}")
        }
    }
}

/// A whole snapshot is where `locate` finds it, with the content that the server has.
fn assert_whole(cache: &Cache, pulled: Result<PathBuf>) {
    let snapshot = pulled.unwrap();
    assert_eq!(cache.located().as_deref(), Some(snapshot.as_path()));
    assert!(snapshot.ends_with(format!("models--me--mine/snapshots/{COMMIT}")));
    assert_eq!(fs::read(snapshot.join("model.safetensors")).unwrap(), weights());
    assert_eq!(fs::read(snapshot.join(POOLING.0)).unwrap(), POOLING.1);
    assert!(!cache.partial().exists());
}

/// Nothing that a failed pull left can be taken for a model.
fn assert_nothing_visible(cache: &Cache) {
    assert_eq!(cache.located(), None);
    assert!(!cache.repo("refs").exists());
    assert!(!cache.repo(&format!("blobs/{}", sha256(&weights()))).exists());
}

fn status(status: u16) -> Fault {
    Fault::Status(status, String::new())
}

#[test]
fn a_pull_downloads_every_file_and_makes_the_snapshot_findable() {
    let cache = Cache::of(&hub());
    let (pulled, events) = cache.pull();
    assert_whole(&cache, pulled);
    assert_eq!(events[0], format!("plan 4 {}", 2 + 13 + 18 + 400_000));
    assert_eq!(events[7..], ["start model.safetensors 0", "done model.safetensors false"]);
    assert_eq!(fs::read_to_string(cache.repo("refs/main")).unwrap(), COMMIT);
}

#[cfg(unix)]
#[test]
fn the_cache_has_the_layout_that_other_tools_expect() {
    let cache = Cache::of(&hub());
    cache.pull().0.unwrap();
    let link = |file: &str| {
        let link = fs::read_link(cache.repo(&format!("snapshots/{COMMIT}/{file}"))).unwrap();
        link.to_str().unwrap().to_owned()
    };
    assert_eq!(link("model.safetensors"), format!("../../blobs/{}", sha256(&weights())));
    assert_eq!(link(POOLING.0), format!("../../../blobs/{}", git_digest(POOLING.1)));
}

#[test]
fn a_second_pull_downloads_nothing() {
    let server = hub();
    let cache = Cache::of(&server);
    cache.pull().0.unwrap();
    let (pulled, events) = cache.pull();
    assert_whole(&cache, pulled);
    assert_eq!(events[0], "plan 4 0");
    assert!(events[1..].iter().all(|event| event.ends_with(" true")), "{events:?}");
    assert_eq!(server.requests("model.safetensors").len(), 1);
}

#[test]
fn files_that_another_tool_left_are_used() {
    let server = hub();
    // As a blob that no snapshot links to, and as a plain file where links are impossible.
    for place in
        [format!("blobs/{}", sha256(&weights())), format!("snapshots/{COMMIT}/model.safetensors")]
    {
        let cache = Cache::of(&server);
        fs::create_dir_all(cache.repo(&place).parent().unwrap()).unwrap();
        fs::write(cache.repo(&place), weights()).unwrap();
        assert_whole(&cache, cache.pull().0);
    }
    assert!(server.requests("model.safetensors").is_empty());
}

#[test]
fn a_blob_of_the_wrong_size_is_downloaded_again() {
    let cache = Cache::of(&hub());
    fs::create_dir_all(cache.repo("blobs")).unwrap();
    fs::write(cache.repo(&format!("blobs/{}", sha256(&weights()))), b"half").unwrap();
    assert_whole(&cache, cache.pull().0);
}

#[test]
fn a_cut_connection_is_continued_where_it_ended() {
    for cut in [Fault::CutAfter(150_000), Fault::CutUnannounced(150_000)] {
        let server = hub();
        server.fail("model.safetensors", [cut]);
        let cache = Cache::of(&server);
        let (pulled, events) = cache.pull();
        assert_whole(&cache, pulled);
        assert!(events.contains(&"start model.safetensors 150000".to_owned()), "{events:?}");
        let second = &server.requests("model.safetensors")[1];
        assert_eq!(second.headers["range"], "bytes=150000-");
    }
}

#[test]
fn an_interrupted_pull_is_continued_by_the_next_one() {
    let server = hub();
    server.fail("model.safetensors", [Fault::CutAfter(100_000), status(503), status(503)]);
    let cache = Cache::of(&server);
    let error = cache.pull().0.unwrap_err();
    let message = "cannot download model.safetensors after 3 attempts: the server answers HTTP 503";
    assert!(error.to_string().starts_with(message), "{error}");
    assert_nothing_visible(&cache);
    assert_eq!(fs::metadata(cache.partial()).unwrap().len(), 100_000);
    let (pulled, events) = cache.pull();
    assert_whole(&cache, pulled);
    assert!(events.contains(&"start model.safetensors 100000".to_owned()), "{events:?}");
}

#[test]
fn a_download_that_only_lacked_its_name_is_not_repeated() {
    let server = hub();
    let cache = Cache::of(&server);
    cache.keep_partial(&weights());
    let (pulled, events) = cache.pull();
    assert_whole(&cache, pulled);
    assert_eq!(events[7..], ["start model.safetensors 400000", "done model.safetensors false"]);
    assert!(server.requests("model.safetensors").is_empty());
}

#[test]
fn a_server_that_ignores_ranges_sends_everything_again() {
    let server = hub();
    server.fail("model.safetensors", [Fault::IgnoreRange]);
    let cache = Cache::of(&server);
    cache.keep_partial(&weights()[..1000]);
    let (pulled, events) = cache.pull();
    assert_whole(&cache, pulled);
    assert_eq!(events[7..], ["start model.safetensors 0", "done model.safetensors false"]);
}

#[test]
fn a_server_that_refuses_the_range_is_asked_for_everything() {
    let server = hub();
    server.fail("model.safetensors", [status(416)]);
    let cache = Cache::of(&server);
    cache.keep_partial(&weights()[..1000]);
    let (pulled, events) = cache.pull();
    assert_whole(&cache, pulled);
    let retry = "retry model.safetensors 1: the server cannot continue; starting over";
    assert!(events.contains(&retry.to_owned()), "{events:?}");
}

#[test]
fn rubbish_left_by_an_earlier_download_is_replaced() {
    for rubbish in [vec![7; 1000], vec![7; 400_000], vec![7; 500_000]] {
        let cache = Cache::of(&hub());
        cache.keep_partial(&rubbish);
        assert_whole(&cache, cache.pull().0);
    }
}

#[test]
fn a_file_that_arrives_damaged_once_is_downloaded_again() {
    for file in ["model.safetensors", CONFIG.0] {
        let server = hub();
        server.fail(file, [Fault::Damage]);
        let cache = Cache::of(&server);
        let (pulled, events) = cache.pull();
        assert_whole(&cache, pulled);
        let retry = format!("retry {file} 1: its checksum is wrong");
        assert!(events.contains(&retry), "{events:?}");
    }
}

#[test]
fn a_file_that_arrives_damaged_twice_is_one_error_and_is_removed() {
    let server = hub();
    server.fail("model.safetensors", [Fault::Damage, Fault::Damage]);
    let cache = Cache::of(&server);
    let error = cache.pull().0.unwrap_err();
    let message = error.to_string();
    assert!(message.starts_with("model.safetensors arrived damaged twice: its SHA-256 is "));
    assert!(message.contains(&format!("expected {}", sha256(&weights()))), "{message}");
    assert_nothing_visible(&cache);
    assert!(!cache.partial().exists());
}

#[test]
fn the_token_reaches_the_hub_and_no_other_host() {
    let hub = hub();
    let storage = Server::start(&[("/signed?key=1", &weights())]);
    let signed = format!("Location: {}/signed?key=1\r\n", storage.address);
    hub.fail("model.safetensors", [Fault::Status(302, signed)]);
    hub.fail(
        "config.json",
        [Fault::Status(307, format!("Location: /me/mine/resolve/{COMMIT}/config.json\r\n"))],
    );
    let cache = Cache::of(&hub);
    assert_whole(&cache, cache.pull().0);
    for file in ["list", "model.safetensors", "config.json"] {
        for request in hub.requests(file) {
            assert_eq!(request.headers["authorization"], "Bearer hf_secret", "{file}");
        }
    }
    assert_eq!(hub.requests("config.json").len(), 2);
    let elsewhere = storage.requests("/signed?key=1");
    assert_eq!(elsewhere.len(), 1);
    assert!(!elsewhere[0].headers.contains_key("authorization"));
}

#[test]
fn a_ring_of_redirects_is_left() {
    let server = hub();
    let ring = Fault::Status(302, format!("Location: /me/mine/resolve/{COMMIT}/config.json\r\n"));
    server.fail("config.json", vec![ring; 9]);
    let error = Cache::of(&server).pull().0.unwrap_err();
    assert!(
        matches!(error, Error::Redirect { reason: "there are too many redirects", .. }),
        "{error}"
    );
}

#[test]
fn a_hub_that_lets_nobody_in_asks_for_a_token_and_the_licence() {
    for refused in [401, 403] {
        let server = hub();
        server.fail("list", [status(refused)]);
        let message = Cache::of(&server).pull().0.unwrap_err().to_string();
        for part in ["me/mine", &format!("HTTP {refused}"), "HF_TOKEN", "accept the licence at"] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(server.connections(), 1);
    }
}

#[test]
fn a_repository_that_is_not_there_is_named() {
    let server = hub();
    server.fail("list", [status(404)]);
    let message = Cache::of(&server).pull().0.unwrap_err().to_string();
    let expected = "the hub has no me/mine at `main` (HTTP 404); check the name and the revision";
    assert_eq!(message, expected);
}

#[test]
fn a_slip_in_a_repository_name_is_pointed_out() {
    let cache = Cache::of(&hub());
    let misspelt = "jinaai/jina-embedings-v3";
    let error = crate::pull(&cache.config, misspelt, "main", &mut |_| {}).unwrap_err();
    assert!(error.to_string().ends_with("perhaps `jina-embeddings-v3` is meant"), "{error}");
}

#[test]
fn a_busy_or_failing_server_is_asked_again() {
    let server = hub();
    server.fail("list", [status(429), status(500)]);
    server.fail("config.json", [Fault::HangUp, status(503)]);
    let cache = Cache::of(&server);
    let (pulled, events) = cache.pull();
    assert_whole(&cache, pulled);
    assert_eq!(server.requests("list").len(), 3);
    let retries = |file: &str| {
        let retry = format!("retry {file}");
        events.iter().filter(|event| event.starts_with(&retry)).count()
    };
    assert_eq!((retries("the file list"), retries("config.json")), (2, 2), "{events:?}");
}

#[test]
fn a_server_that_asks_for_a_wait_gets_it_up_to_a_bound() {
    let server = hub();
    let asks = |seconds: &str| Fault::Status(429, format!("Retry-After: {seconds}\r\n"));
    server.fail("list", [asks("0"), asks("86400")]);
    server.fail("config.json", [asks("Wed, 21 Oct 2099 07:28:00 GMT")]);
    let mut waits = Vec::new();
    let (pulled, _) = Cache::of(&server).pull_and(&mut |event| {
        if let PullEvent::Retry { wait, .. } = event {
            waits.push(wait.as_millis());
        }
    });
    pulled.unwrap();
    assert_eq!(waits, [0, 5, 1]);
}

#[test]
fn a_silent_server_is_left_after_the_idle_time() {
    let server = hub();
    server.fail("tokenizer.json", vec![Fault::Silence; 3]);
    let cache = Cache::of(&server);
    let begun = Instant::now();
    let error = cache.pull().0.unwrap_err();
    assert!(matches!(&error, Error::Network { attempts: 3, .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_nothing_visible(&cache);
}

#[test]
fn an_unreachable_hub_is_one_clear_error() {
    let mut cache = Cache::of(&hub());
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    cache.config.endpoint = format!("http://{closed}");
    let message = cache.pull().0.unwrap_err().to_string();
    assert!(message.starts_with("cannot download the file list after 3 attempts: "), "{message}");
    assert!(message.contains("check the network and `HF_ENDPOINT`"), "{message}");
}

#[test]
fn offline_opens_no_socket() {
    let server = hub();
    let mut cache = Cache::of(&server);
    cache.config.offline = true;
    let message = cache.pull().0.unwrap_err().to_string();
    assert!(message.contains("`HF_HUB_OFFLINE` is set; unset it"), "{message}");
    assert_eq!(server.connections(), 0);

    cache.config.offline = false;
    cache.pull().0.unwrap();
    let online = server.connections();
    cache.config.offline = true;
    assert_whole(&cache, cache.pull().0);
    assert_eq!(server.connections(), online);
}

#[test]
fn file_names_that_leave_the_repository_are_refused() {
    for name in ["../../evil", "/etc/evil", "a/../../evil", "a\\evil"] {
        let server = Server::start(&[CONFIG, TOKENIZER, ("model.safetensors", b"x"), (name, b"x")]);
        let cache = Cache::of(&server);
        let error = cache.pull().0.unwrap_err();
        assert!(matches!(&error, Error::UnsafePath { path, .. } if path == name), "{error}");
        assert_eq!(fs::read_dir(cache.folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_list_that_makes_no_sense_is_refused() {
    let huge = format!(
        r#"{{"sha": "{COMMIT}", "siblings": [
            {{"rfilename": "config.json", "size": {max}, "blobId": "{COMMIT}"}},
            {{"rfilename": "tokenizer.json", "size": {max}, "blobId": "{COMMIT}"}},
            {{"rfilename": "model.safetensors", "size": {max}, "blobId": "{COMMIT}"}}]}}"#,
        max = u64::MAX
    );
    for list in ["", "<html>", "{}", "[]", r#"{"sha": "../..", "siblings": []}"#, &huge] {
        let server =
            Server::start(&[("/api/models/me/mine/revision/x?blobs=true", list.as_bytes())]);
        let cache = Cache::of(&server);
        let mut ignore = |_: PullEvent<'_>| {};
        let error = crate::pull(&cache.config, "me/mine", "x", &mut ignore).unwrap_err();
        assert!(matches!(error, Error::Listing { .. }), "{list}: {error}");
    }
}

#[test]
fn a_repository_without_safetensors_is_told_apart_before_anything_is_downloaded() {
    let server = Server::start(&[CONFIG, TOKENIZER, ("pytorch_model.bin", b"x")]);
    let cache = Cache::of(&server);
    let message = cache.pull().0.unwrap_err().to_string();
    assert!(message.contains("it has no weights in safetensors form"), "{message}");
    assert_eq!(server.connections(), 1);
}

#[test]
fn split_weights_without_one_of_their_parts_are_not_published() {
    let index = br#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
    let index = ("model.safetensors.index.json", &index[..]);
    let mut files = vec![CONFIG, TOKENIZER, index, ("model-1.safetensors", b"one")];
    let cache = Cache::of(&Server::start(&files));
    let message = cache.pull().0.unwrap_err().to_string();
    assert!(message.ends_with("it has no model-2.safetensors"), "{message}");
    assert_eq!(cache.located(), None);

    files.push(("model-2.safetensors", b"two"));
    let cache = Cache::of(&Server::start(&files));
    let snapshot = cache.pull().0.unwrap();
    assert_eq!(fs::read(snapshot.join("model-2.safetensors")).unwrap(), b"two");
    assert_eq!(cache.located(), Some(snapshot));
}

#[test]
fn two_pulls_at_once_download_each_file_once() {
    let server = hub();
    let cache = Cache::of(&server);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_whole(&cache, cache.pull().0));
        }
    });
    assert_eq!(server.requests("model.safetensors").len(), 1);
    assert_eq!(server.requests("config.json").len(), 1);
}

#[test]
fn a_pull_waits_for_another_process_that_downloads_the_same_file() {
    let cache = Cache::of(&hub());
    let folder = cache.folder.path().join(".locks/models--me--mine");
    let other = Lock::take(&folder.join(format!("{}.lock", sha256(&weights()))), || {});
    let mut other = Some(other.unwrap());
    let (pulled, events) = cache.pull_and(&mut |event| {
        if matches!(event, PullEvent::Waiting { .. }) {
            other = None;
        }
    });
    assert_whole(&cache, pulled);
    assert!(events.contains(&"waiting model.safetensors".to_owned()), "{events:?}");
}

#[test]
fn a_mirror_that_lists_names_alone_is_asked_for_each_checksum() {
    let server = hub();
    server.list_names_only();
    let storage = Fault::Status(
        302,
        format!(
            "Location: http://localhost:1/signed\r\nX-Linked-Size: 400000\r\nX-Linked-Etag: \"{}\"\r\n",
            sha256(&weights())
        ),
    );
    server.fail("model.safetensors", [storage]);
    server.fail("config.json", [status(503)]);
    let cache = Cache::of(&server);
    assert_whole(&cache, cache.pull().0);
    let methods = |file| server.requests(file).into_iter().map(|r| r.method).collect::<Vec<_>>();
    assert_eq!(methods("model.safetensors"), ["HEAD", "GET"]);
    assert_eq!(methods("config.json"), ["HEAD", "HEAD", "GET"]);

    server.fail("config.json", [Fault::Status(200, "ETag: \"md5\"\r\n".to_owned())]);
    let message = Cache::of(&server).pull().0.unwrap_err().to_string();
    assert!(message.contains("it states no size and checksum of config.json"), "{message}");
}

#[test]
fn a_token_that_no_header_can_carry_is_refused() {
    let server = hub();
    let mut cache = Cache::of(&server);
    cache.config.token = Some("hf_\r\nX-Evil: 1".to_owned());
    assert!(matches!(cache.pull().0, Err(Error::Token)));
    assert_eq!(server.connections(), 0);
}

#[test]
fn certificates_that_cannot_be_used_are_named() {
    for content in
        [None, Some(""), Some("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----")]
    {
        let server = hub();
        let mut cache = Cache::of(&server);
        let file = cache.folder.path().join("ca.pem");
        if let Some(content) = content {
            fs::write(&file, content).unwrap();
        }
        cache.config.certificates = Some(file.clone());
        let error = cache.pull().0.unwrap_err();
        assert!(matches!(&error, Error::Certificates { path, .. } if *path == file), "{error}");
        assert_eq!(server.connections(), 0);
    }
}

#[test]
fn an_endpoint_that_is_no_web_address_is_refused() {
    for endpoint in ["", "huggingface.co", "ftp://hub", "http://", "http://hub/?a=b"] {
        let mut cache = Cache::of(&hub());
        cache.config.endpoint = endpoint.to_owned();
        assert!(matches!(cache.pull().0, Err(Error::Endpoint { .. })), "{endpoint}");
    }
}

/// Every write to `/dev/full` fails as on a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_nothing_that_looks_whole() {
    let server = hub();
    let cache = Cache::of(&server);
    fs::create_dir_all(cache.repo("blobs")).unwrap();
    std::os::unix::fs::symlink("/dev/full", cache.partial()).unwrap();
    let error = cache.pull().0.unwrap_err();
    let full = |path: &Path, needed| path == cache.partial() && needed == 400_000;
    assert!(matches!(&error, Error::DiskFull { path, needed } if full(path, *needed)), "{error}");
    assert_nothing_visible(&cache);

    fs::remove_file(cache.partial()).unwrap();
    assert_whole(&cache, cache.pull().0);
}

/// A file system of a few hundred kilobytes, unmounted when dropped.
#[cfg(target_os = "linux")]
struct SmallDisk<'a>(&'a Path);

#[cfg(target_os = "linux")]
impl<'a> SmallDisk<'a> {
    /// `None` where this user may not mount.
    fn mount(folder: &'a Path) -> Option<Self> {
        mount(&["-t", "tmpfs", "-o", "size=256k", "tmpfs"], folder).then_some(Self(folder))
    }

    fn grow(&self) {
        assert!(mount(&["-o", "remount,size=4m"], self.0));
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg(self.0).status());
    }
}

#[cfg(target_os = "linux")]
fn mount(options: &[&str], folder: &Path) -> bool {
    let output = std::process::Command::new("mount").args(options).arg(folder).output();
    output.is_ok_and(|output| output.status.success())
}

#[cfg(target_os = "linux")]
#[test]
fn a_pull_that_filled_the_disk_is_continued_when_there_is_space() {
    let cache = Cache::of(&hub());
    let Some(disk) = SmallDisk::mount(cache.folder.path()) else {
        eprintln!("skipped: mounting a small file system needs rights that this user lacks");
        return;
    };
    let error = cache.pull().0.unwrap_err();
    assert_nothing_visible(&cache);
    let kept = fs::metadata(cache.partial()).unwrap().len();
    assert!(kept > 100_000);
    let rest = 400_000 - kept;
    assert!(matches!(&error, Error::DiskFull { needed, .. } if *needed == rest), "{error}");

    disk.grow();
    let (pulled, events) = cache.pull();
    assert_whole(&cache, pulled);
    assert!(events.contains(&format!("start model.safetensors {kept}")), "{events:?}");
}
