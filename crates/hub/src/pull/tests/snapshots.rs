//! The contents of the cache after a pull.

use super::*;

#[test]
fn a_pull_downloads_every_file_and_publishes_the_snapshot() {
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
    for file in
        [format!("blobs/{}", sha256(&weights())), format!("snapshots/{COMMIT}/model.safetensors")]
    {
        let cache = Cache::of(&server);
        fs::create_dir_all(cache.repo(&file).parent().unwrap()).unwrap();
        fs::write(cache.repo(&file), weights()).unwrap();
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
    let other = Lock::acquire(&folder.join(format!("{}.lock", sha256(&weights()))), || {});
    let mut other = Some(other.unwrap());
    let (pulled, events) = cache.pull_and(&mut |event| {
        if matches!(event, PullEvent::Waiting { .. }) {
            other = None;
        }
    });
    assert_whole(&cache, pulled);
    assert!(events.contains(&"waiting model.safetensors".to_owned()), "{events:?}");
}
