//! The hub's list of a repository's files.

use crate::files::folder;
use kokeshi_hub::{HubConfig, pull};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, OnceLock};

static LISTING: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// A list gives an error, because the hub has none of its files, and no file anywhere.
pub(crate) fn listing(json: &[u8]) {
    static ENDPOINT: OnceLock<String> = OnceLock::new();
    *LISTING.lock().expect("a list") = json.to_vec();
    let config = HubConfig {
        cache: folder().join("hub"),
        endpoint: ENDPOINT.get_or_init(hub).clone(),
        token: None,
        offline: false,
        certificates: None,
    };
    assert!(pull(&config, "owner/name", "main", &mut |_| ()).is_err());
    let written = std::fs::read_dir(folder()).expect("the folder").count();
    assert!(written <= 1, "files next to the cache");
}

/// The address of a hub with the list, and without files.
fn hub() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || listener.incoming().flatten().for_each(answer));
    address
}

fn answer(mut stream: TcpStream) {
    let (mut head, mut part) = (Vec::new(), [0; 4096]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut part) {
            Ok(count @ 1..) => head.extend_from_slice(&part[..count]),
            _ => return,
        }
    }
    let body = LISTING.lock().expect("a list").clone();
    let (status, body) = match head.starts_with(b"GET /api/models/") {
        true => ("200 OK", &*body),
        false => ("404 Not Found", &b""[..]),
    };
    let head =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    // The client may have gone.
    drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)));
}
