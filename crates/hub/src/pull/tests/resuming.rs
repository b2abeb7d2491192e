//! Interrupted and damaged downloads.

use super::*;

#[test]
fn a_cut_connection_is_resumed_where_it_ended() {
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
fn an_interrupted_pull_is_resumed_by_the_next_one() {
    let server = hub();
    server.fail("model.safetensors", [Fault::CutAfter(100_000), status(503), status(503)]);
    let cache = Cache::of(&server);
    let error = cache.pull().0.unwrap_err();
    let message =
        "cannot download model.safetensors after 3 attempts: the server answered HTTP 503";
    assert!(error.to_string().starts_with(message), "{error}");
    assert_nothing_visible(&cache);
    assert_eq!(fs::metadata(cache.partial()).unwrap().len(), 100_000);
    let (pulled, events) = cache.pull();
    assert_whole(&cache, pulled);
    assert!(events.contains(&"start model.safetensors 100000".to_owned()), "{events:?}");
}

#[test]
fn a_complete_download_without_its_final_name_is_not_repeated() {
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
fn a_server_that_refuses_the_range_sends_everything() {
    let server = hub();
    server.fail("model.safetensors", [status(416)]);
    let cache = Cache::of(&server);
    cache.keep_partial(&weights()[..1000]);
    let (pulled, events) = cache.pull();
    assert_whole(&cache, pulled);
    let retry = "retry model.safetensors 1: the server cannot resume; starting over";
    assert!(events.contains(&retry.to_owned()), "{events:?}");
}

#[test]
fn garbage_left_by_an_earlier_download_is_replaced() {
    for garbage in [vec![7; 1000], vec![7; 400_000], vec![7; 500_000]] {
        let cache = Cache::of(&hub());
        cache.keep_partial(&garbage);
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
fn attempts_count_anew_after_progress() {
    let server = hub();
    server.fail("model.safetensors", vec![Fault::CutAfter(40_000); 9]);
    let cache = Cache::of(&server);
    let (pulled, events) = cache.pull();
    assert_whole(&cache, pulled);
    assert!(events.contains(&"start model.safetensors 360000".to_owned()), "{events:?}");
    // Without any, they come to an end.
    let server = hub();
    server.fail("model.safetensors", vec![Fault::CutAfter(1); 9]);
    let error = Cache::of(&server).pull().0.unwrap_err().to_string();
    assert!(error.starts_with("cannot download model.safetensors after 3 attempts"), "{error}");
}

#[test]
fn a_file_that_changed_since_it_was_checked_is_compared_with_its_checksum() {
    let server = hub();
    let cache = Cache::of(&server);
    let snapshot = cache.pull().0.unwrap();
    let check = |which| check_files(&cache.config, "me/mine", &snapshot, which);
    assert_eq!(check(Check::Changed).unwrap(), 0, "the pull has checked all of it");
    assert_eq!(check(Check::All).unwrap(), 4);
    let blob = cache.repo(&format!("blobs/{}", sha256(&weights())));
    let mut damaged = weights();
    damaged[200_000] ^= 1;
    fs::write(&blob, &damaged).unwrap();
    for which in [Check::Changed, Check::All] {
        let error = check(which).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("model.safetensors is damaged: its SHA-256 is "));
    }
    assert_whole(&cache, cache.pull().0);
    assert_eq!(check(Check::Changed).unwrap(), 0);
    // A file with another time and the same content is read once.
    fs::write(&blob, weights()).unwrap();
    assert_eq!(check(Check::Changed).unwrap(), 1);
    assert_eq!(check(Check::Changed).unwrap(), 0);
}

#[test]
fn a_blob_that_was_damaged_on_disk_is_downloaded_again() {
    let server = hub();
    let cache = Cache::of(&server);
    let snapshot = cache.pull().0.unwrap();
    let blob = cache.repo(&format!("blobs/{}", sha256(&weights())));
    let mut damaged = weights();
    damaged[200_000] ^= 1;
    fs::write(&blob, &damaged).unwrap();
    let (pulled, events) = cache.pull();
    assert_whole(&cache, pulled);
    assert!(events.contains(&"damaged model.safetensors".to_owned()), "{events:?}");
    assert!(events.contains(&"done config.json true".to_owned()), "{events:?}");
    // The same where links are impossible, and the snapshot has the only copy.
    let file = snapshot.join("model.safetensors");
    fs::remove_file(&file).unwrap();
    fs::remove_file(&blob).unwrap();
    fs::write(&file, &damaged).unwrap();
    let (pulled, events) = cache.pull();
    assert_whole(&cache, pulled);
    assert!(events.contains(&"damaged model.safetensors".to_owned()), "{events:?}");
}
