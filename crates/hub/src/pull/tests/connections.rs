//! Tokens, redirects, refusals, retries and unusable configurations.

use super::*;

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
fn a_redirect_loop_ends_with_an_error() {
    let server = hub();
    let redirect =
        Fault::Status(302, format!("Location: /me/mine/resolve/{COMMIT}/config.json\r\n"));
    server.fail("config.json", vec![redirect; 9]);
    let error = Cache::of(&server).pull().0.unwrap_err();
    assert!(
        matches!(error, Error::Redirect { reason: "there are too many redirects", .. }),
        "{error}"
    );
}

#[test]
fn a_hub_that_denies_access_asks_for_a_token_and_the_licence() {
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
fn a_missing_repository_is_named() {
    let server = hub();
    server.fail("list", [status(404)]);
    let message = Cache::of(&server).pull().0.unwrap_err().to_string();
    let expected = "the hub has no me/mine at `main` (HTTP 404); check the name and the revision";
    assert_eq!(message, expected);
}

#[test]
fn a_misspelt_repository_name_is_pointed_out() {
    let cache = Cache::of(&hub());
    let misspelt = "jinaai/jina-embedings-v3";
    let error = crate::pull(&cache.config, misspelt, "main", &mut |_| {}).unwrap_err();
    assert!(error.to_string().ends_with("did you mean `jina-embeddings-v3`?"), "{error}");
}

#[test]
fn requests_to_a_busy_or_failing_server_are_retried() {
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
fn a_retry_waits_as_long_as_the_server_requests_up_to_a_maximum() {
    let server = hub();
    let retry_after = |seconds: &str| Fault::Status(429, format!("Retry-After: {seconds}\r\n"));
    server.fail("list", [retry_after("0"), retry_after("86400")]);
    server.fail("config.json", [retry_after("Wed, 21 Oct 2099 07:28:00 GMT")]);
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
fn a_silent_server_times_out() {
    let server = hub();
    server.fail("tokenizer.json", vec![Fault::Silence; 3]);
    let cache = Cache::of(&server);
    let start = Instant::now();
    let error = cache.pull().0.unwrap_err();
    assert!(matches!(&error, Error::Network { attempts: 3, .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_nothing_visible(&cache);
}

#[test]
fn an_unreachable_hub_is_a_single_clear_error() {
    let mut cache = Cache::of(&hub());
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    cache.config.endpoint = format!("http://{closed}");
    let message = cache.pull().0.unwrap_err().to_string();
    assert!(message.starts_with("cannot download the file list after 3 attempts: "), "{message}");
    assert!(message.contains("Check the network and `HF_ENDPOINT`"), "{message}");
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
fn a_token_that_is_not_a_valid_header_value_is_refused() {
    let server = hub();
    let mut cache = Cache::of(&server);
    cache.config.token = Some("hf_\r\nX-Evil: 1".to_owned());
    assert!(matches!(cache.pull().0, Err(Error::Token)));
    assert_eq!(server.connections(), 0);
}

#[test]
fn an_unusable_certificate_file_is_named() {
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
fn an_endpoint_that_is_not_a_web_address_is_refused() {
    for endpoint in ["", "huggingface.co", "ftp://hub", "http://", "http://hub/?a=b"] {
        let mut cache = Cache::of(&hub());
        cache.config.endpoint = endpoint.to_owned();
        assert!(matches!(cache.pull().0, Err(Error::Endpoint { .. })), "{endpoint}");
    }
}
