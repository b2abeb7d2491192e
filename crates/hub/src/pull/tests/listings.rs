//! File lists and the repositories that they describe.

use super::*;

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
fn an_invalid_list_is_refused() {
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
fn a_repository_without_safetensors_is_refused_before_any_download() {
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
fn checksums_that_a_mirror_does_not_list_are_requested_for_each_file() {
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
    assert!(message.contains("it has no size and checksum of config.json"), "{message}");
}

#[test]
fn a_list_of_very_many_files_costs_no_request_for_each() {
    let siblings = |count: usize, described: bool| {
        let parts = (0..count).map(|number| format!("part-{number}.safetensors"));
        let names = ["config.json", "tokenizer.json", "model.safetensors.index.json"];
        let names = names.map(str::to_owned).into_iter().chain(parts);
        let entry = |name: String| {
            let file = format!("\"size\": 1, \"blobId\": \"{COMMIT}\"");
            let file = if described { format!(", {file}") } else { String::new() };
            format!("{{\"rfilename\": \"{name}\"{file}}}")
        };
        let names: Vec<_> = names.map(entry).collect();
        format!("{{\"sha\": \"{COMMIT}\", \"siblings\": [{}]}}", names.join(","))
    };
    for (list, message) in [
        (siblings(20_000, false), "it has 20003 files of the model; the limit is 2000"),
        (siblings(20_000, true), "it has 20003 files of the model; the limit is 2000"),
        (siblings(98, false), "it has 101 files without size and checksum; the limit is 100"),
    ] {
        let path = "/api/models/me/mine/revision/x?blobs=true";
        let server = Server::start(&[(path, list.as_bytes())]);
        let cache = Cache::of(&server);
        let mut ignore = |_: PullEvent<'_>| {};
        let error = crate::pull(&cache.config, "me/mine", "x", &mut ignore).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(server.connections(), 1);
    }
}
