//! Small files that are read as a whole.

use kokeshi_server::read_regular;
use std::io;
use std::path::Path;

/// Maximum size of a file of settings, in bytes.
pub(crate) const MAX_SETTINGS: u64 = 1 << 20;

/// Reads the text of a regular file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read_regular(path, limit)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn the_rule_of_the_servers_files_holds_for_every_small_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let reason = |path: &Path| read(path, 4).expect_err("refused").to_string();
        let fifo = folder.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
        assert!(made.success());
        // Opening it would wait for a writer.
        for path in [&fifo, Path::new("/dev/zero")] {
            assert_eq!(reason(path), "a device, FIFO or socket, not a regular file");
        }
        assert_eq!(reason(folder.path()), "a folder, not a regular file");
        let file = folder.path().join("file");
        for (content, expected) in [
            (&b"long"[..], None),
            (b"longer", Some("6 bytes; the limit")),
            (b"\xff", Some("invalid utf-8")),
        ] {
            std::fs::write(&file, content).expect("a file");
            match expected {
                None => assert_eq!(read(&file, 4).expect("a text"), "long"),
                Some(expected) => assert!(reason(&file).contains(expected), "{}", reason(&file)),
            }
        }
        let absent = read(&folder.path().join("absent"), 4).expect_err("absent");
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
    }
}
