//! Keys, configuration and TLS.

use crate::{Server, command};
use serde_json::json;
use std::fs;
use std::process::Output;

/// `printf secret-a | sha256sum`
const SHA256: &str = "8766b9cb08e6040b704f1e3ee1e186efccf2635b1d2634d6525333007e6aeae1";

/// A server with the key `secret-a` of a file and `secret-b` of the environment.
fn with_keys() -> Server {
    let file = format!("[[key]]\nname = \"team-a\"\nsha256 = \"{SHA256}\"\n");
    Server::start_with(
        &["--api-key-file", "keys.toml"],
        &[("KOKESHI_API_KEY", "secret-b")],
        |folder| {
            fs::write(folder.path().join("keys.toml"), &file).expect("a file");
        },
    )
}

fn embed(server: &Server, authorization: Option<&str>) -> crate::Reply {
    let headers: Vec<_> = authorization.map(|value| ("Authorization", value)).into_iter().collect();
    server.send("POST", "/v1/embeddings", &headers, b"{\"input\":\"x\"}")
}

#[test]
fn keys_of_the_file_and_the_environment_are_accepted_and_others_refused() {
    let server = with_keys();
    assert_eq!(embed(&server, Some("Bearer secret-a")).status, 200);
    assert_eq!(embed(&server, Some("bearer  secret-b ")).status, 200);
    embed(&server, None).refusal(401, "AUTH_MISSING_API_KEY");
    embed(&server, Some("Bearer secret-c")).refusal(401, "AUTH_INVALID_API_KEY");
    embed(&server, Some("Bearer ")).refusal(401, "AUTH_INVALID_FORMAT");
    embed(&server, Some("Basic c2VjcmV0LWE=")).refusal(401, "AUTH_INVALID_FORMAT");
    let prefixed = server.send("POST", "/task/separation/v1/embeddings", &[], b"{\"input\":\"x\"}");
    prefixed.refusal(401, "AUTH_MISSING_API_KEY");
    for path in ["/health", "/live", "/ready", "/openapi.json", "/docs"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    for path in ["/metrics", "/v1/models", "/info", "/api/tags"] {
        assert_eq!(server.get(path).status, 401, "{path}");
    }
    let log = server.log.lock().expect("a log").clone();
    assert!(!log.contains("secret-"), "{log}");
}

/// The error of a server that does not start.
#[track_caller]
fn failure(args: &[&str], env: &[(&str, &str)], file: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("file.toml"), file).expect("a file");
    let Output { status, stderr, .. } = command(args, env, &folder).output().expect("an end");
    let stderr = String::from_utf8(stderr).expect("text");
    assert!(!status.success(), "{stderr}");
    stderr
}

#[test]
fn a_key_that_no_request_could_have_is_refused_at_start() {
    for key in ["schlüssel", "good,schlüssel", "a\u{7}b", "\u{ff41}bc"] {
        let refused = failure(&["--check"], &[("KOKESHI_API_KEY", key)], "");
        assert!(refused.contains("is not ASCII"), "{key}: {refused}");
        assert!(!refused.contains("schl"), "the key is a secret: {refused}");
    }
    let server = Server::start_with(&[], &[("KOKESHI_API_KEY", "secret-a, secret-b")], |_| ());
    assert_eq!(embed(&server, Some("Bearer secret-b")).status, 200);
}

#[test]
fn listening_for_other_machines_requires_a_key_or_permission() {
    let refused = failure(&["--host", "0.0.0.0", "--check"], &[], "");
    assert!(refused.contains("no API key is configured"), "{refused}");
    assert!(refused.contains("--allow-open"), "{refused}");
    for (args, env) in [
        (&["--host", "0.0.0.0", "--check", "--allow-open"][..], &[][..]),
        (&["--host", "0.0.0.0", "--check"], &[("KOKESHI_API_KEY", "secret")]),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let output = command(args, env, &folder).output().expect("an end");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn flags_override_variables_which_override_the_file() {
    let file =
        "max-items = 1\ndefault-task = \"separation\"\nmodel = [\"a=starter\", \"b=starter\"]\n";
    let fill = |folder: &tempfile::TempDir| {
        fs::write(folder.path().join("file.toml"), file).expect("a file");
    };
    let limit = |server: &Server| {
        let error = server.post("/v1/embeddings", &json!({"input": vec!["a"; 4]}));
        let error = error.refusal(400, "INPUT_TOO_MANY_ITEMS");
        error["detail"].as_str().and_then(|text| text.rsplit(' ').next()).expect("text").to_owned()
    };
    let config = ["--config", "file.toml"];
    let server = Server::start_with(&config, &[], fill);
    assert_eq!(limit(&server), "1");
    let names = server.get("/v1/models").success();
    assert_eq!((&names["data"][0]["id"], &names["data"][1]["id"]), (&json!("a"), &json!("b")));
    let env = [("KOKESHI_MAX_ITEMS", "2")];
    assert_eq!(limit(&Server::start_with(&config, &env, fill)), "2");
    let flags = ["--config", "file.toml", "--max-items", "3"];
    assert_eq!(limit(&Server::start_with(&flags, &env, fill)), "3");
}

#[test]
fn errors_of_the_configuration_are_reported_before_serving() {
    let config = ["--config", "file.toml", "--check"];
    for (args, file, message) in [
        (&config[..], "max-itmes = 1", "unknown key `max-itmes`"),
        (&config, "max-items = \"x\"", "--max-items"),
        (&config, "max-items = [", "is not TOML"),
        (&config, "max-items = {a = 1}", "the value of `max-items` has the wrong type"),
        (&["--config", "no.toml"], "", "cannot read the configuration no.toml"),
        (&["--api-key-file", "file.toml"], "", "it has no [[key]]"),
        (&["--api-key-file", "file.toml"], "[[key]]\nname='x'\nsha256='y'", "key `x`"),
        (&["--model", "jina-embeddings-v3"], "", "is not on this machine"),
        (&["--model", "a=starter", "--model", "A=starter"], "", "two models have the name"),
        (&["--default-task", "nonsense"], "", "default task `nonsense`"),
        (&["--cors-origin", "example.org"], "", "is not an origin"),
        (&["--tls-cert", "file.toml", "--tls-key", "file.toml"], "", "file.toml"),
        (&["--drain-timeout", "0"], "", "expected a number of seconds"),
    ] {
        let stderr = failure(args, &[], file);
        assert!(stderr.contains(message), "{args:?} {file:?}: {stderr}");
    }
}

#[test]
fn tls_uses_the_configured_certificate() {
    use ureq::tls::{Certificate, RootCerts, TlsConfig};
    let file = |name: &str| kokeshi_testkit::fixture(&format!("tls/{name}"));
    let (certificate, key) = (file("certificate.pem"), file("key.pem"));
    let path = |path: &std::path::Path| path.to_str().expect("a path in UTF-8").to_owned();
    let server = Server::start(&["--tls-cert", &path(&certificate), "--tls-key", &path(&key)]);
    let pem = fs::read(&certificate).expect("a certificate");
    let root = Certificate::from_pem(&pem).expect("a certificate");
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[root])).build();
    let agent: ureq::Agent = ureq::Agent::config_builder().tls_config(tls).build().into();
    let port = server.address.rsplit(':').next().expect("a port");
    let url = format!("https://localhost:{port}/v1/embeddings");
    let request = agent.post(&url).header("Content-Type", "application/json");
    let mut reply = request.send("{\"input\":\"x\"}").expect("an answer");
    let body = reply.body_mut().read_to_string().expect("a body");
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body["model"], "starter");
    // Plain HTTP gets no response.
    assert!(ureq::get(&format!("http://localhost:{port}/live")).call().is_err());
}

#[test]
fn an_empty_key_is_an_error_at_the_start() {
    for (args, env) in [
        (&["--api-key", ""][..], &[][..]),
        (&["--api-key", ","], &[]),
        (&["--api-key", "a,,b"], &[]),
        (&[], &[("KOKESHI_API_KEY", "")]),
        (&[], &[("KOKESHI_API_KEY", ",")]),
        (&[], &[("KOKESHI_API_KEY_FILE", "")]),
    ] {
        let refused = failure(&[args, &["--check"]].concat(), env, "");
        assert!(refused.contains("empty"), "{args:?} {env:?}: {refused}");
    }
    for file in ["api-key = \"\"", "api-key = []", "api-key = [\"\"]"] {
        let refused = failure(&["--config", "file.toml", "--check"], &[], file);
        assert!(refused.contains("empty"), "{file}: {refused}");
    }
    // The flag overrides the variable.
    let server = Server::start_with(&["--api-key", "secret-b"], &[("KOKESHI_API_KEY", "")], |_| ());
    assert_eq!(embed(&server, Some("Bearer secret-b")).status, 200);
    assert_eq!(embed(&server, None).status, 401);
}

#[cfg(unix)]
#[test]
fn devices_and_fifos_are_refused() {
    for args in [
        &["--config", "/dev/zero"][..],
        &["--api-key-file", "/dev/zero"],
        &["--migration", "/dev/zero"],
        &["--tls-cert", "/dev/zero", "--tls-key", "/dev/zero"],
    ] {
        let refused = failure(&[args, &["--check"]].concat(), &[], "");
        assert!(refused.contains("a device, FIFO or socket, not a regular file"), "{refused}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let fifo = folder.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
    assert!(made.success());
    let fifo = fifo.to_str().expect("a path in UTF-8");
    for option in ["--config", "--api-key-file", "--migration"] {
        let refused = failure(&[option, fifo, "--check"], &[], "");
        assert!(refused.contains("a device, FIFO or socket"), "{option}: {refused}");
    }
}

#[test]
fn a_page_of_another_name_is_refused_and_a_name_can_be_allowed() {
    let get = |server: &Server, host: &str| {
        let mut stream = server.connect();
        let request =
            format!("GET /v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).expect("a request");
        let mut raw = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut raw).expect("an answer");
        crate::Reply::parse(&raw).status
    };
    let server = Server::start(&[]);
    assert_eq!((get(&server, "localhost:1"), get(&server, "evil.example")), (200, 403));
    let server = Server::start(&["--allow-host", "my.name"]);
    assert_eq!((get(&server, "my.name"), get(&server, "evil.example")), (200, 403));
}

/// A key file with keys of these hashes.
fn key_file(hashes: &[&str]) -> String {
    let key = |hash: &&str| format!("[[key]]\nname = \"{hash:.4}\"\nsha256 = \"{hash}\"\n");
    hashes.iter().map(key).collect()
}

#[cfg(unix)]
#[test]
fn a_revoked_key_is_refused_and_a_bad_file_changes_nothing() {
    // `printf secret-z | sha256sum`
    const OTHER: &str = "988ce5a97246af87bd6fc010dd324724de81341b346cf24e471c266ef8f9a51c";
    let fill = |folder: &tempfile::TempDir| {
        fs::write(folder.path().join("keys.toml"), key_file(&[SHA256, OTHER])).expect("a file");
        fs::write(folder.path().join("file.toml"), "max-items = 1").expect("a file");
    };
    let args = ["--api-key-file", "keys.toml", "--config", "file.toml"];
    let server = Server::start_with(&args, &[], fill);
    let status = |key: &str| embed(&server, Some(&format!("Bearer {key}"))).status;
    assert_eq!((status("secret-a"), status("secret-z")), (200, 200));
    fs::write(server.file("keys.toml"), "[[key]]\nname = 1").expect("a bad file");
    server.wait_for_log("nothing changed");
    assert_eq!((status("secret-a"), status("secret-z")), (200, 200));
    fs::write(server.file("keys.toml"), key_file(&[OTHER])).expect("a file");
    let started = std::time::Instant::now();
    while status("secret-a") != 401 {
        assert!(started.elapsed() < std::time::Duration::from_secs(10), "it is still accepted");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(status("secret-z"), 200);
    // The configuration, on a signal.
    let items = |count: usize| {
        let body = json!({"input": vec!["x"; count]}).to_string();
        let key = [("Authorization", "Bearer secret-z")];
        server.send("POST", "/v1/embeddings", &key, body.as_bytes()).status
    };
    assert_eq!(items(2), 400);
    fs::write(server.file("file.toml"), "max-items = 2\nmax-connections = 9").expect("a file");
    server.signal("HUP");
    server.wait_for_log("some of it needs a restart");
    assert_eq!((items(2), items(3)), (200, 400));
    fs::remove_file(server.file("keys.toml")).expect("removed");
    server.signal("HUP");
    server.wait_for_log("No such file");
    assert_eq!(status("secret-z"), 200);
}

#[test]
fn a_new_certificate_is_served() {
    use ureq::tls::{Certificate, RootCerts, TlsConfig};
    let fixture = |name: &str| kokeshi_testkit::fixture(&format!("tls/{name}"));
    let fill = |folder: &tempfile::TempDir| {
        for name in ["certificate.pem", "key.pem"] {
            fs::copy(fixture(name), folder.path().join(name)).expect("a copy");
        }
    };
    let args = ["--tls-cert", "certificate.pem", "--tls-key", "key.pem"];
    let server = Server::start_with(&args, &[], fill);
    let port = server.address.rsplit(':').next().expect("a port").to_owned();
    let is_served = |certificate: &[u8]| {
        let root = Certificate::from_pem(certificate).expect("a certificate");
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[root])).build();
        let agent: ureq::Agent = ureq::Agent::config_builder().tls_config(tls).build().into();
        agent.get(&format!("https://localhost:{port}/live")).call().is_ok()
    };
    let old = fs::read(fixture("certificate.pem")).expect("a certificate");
    let new = fs::read(fixture("other_certificate.pem")).expect("a certificate");
    assert!(is_served(&old) && !is_served(&new));
    // Until both belong together, the old one stays.
    fs::copy(fixture("other_certificate.pem"), server.file("certificate.pem")).expect("a copy");
    server.wait_for_log("nothing changed");
    assert!(is_served(&old));
    fs::copy(fixture("other_key.pem"), server.file("key.pem")).expect("a copy");
    server.wait_for_log("was read again");
    assert!(is_served(&new) && !is_served(&old));
}
