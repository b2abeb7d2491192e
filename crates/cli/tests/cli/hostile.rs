//! Files of others: stores, graphs, names and outputs that were prepared to do harm.

use crate::index::{notes, success};
use crate::{PROGRAM, Run, Sandbox};
use rusqlite::Connection;
use std::fs;
use std::time::{Duration, Instant};

/// An index in `index.db`, as somebody else may have prepared it.
fn prepared(statements: &str) -> Sandbox {
    let sandbox = notes();
    let model = crate::tiny_v3().display().to_string();
    success(&sandbox.run(["index", "notes", "--store", "index.db", "--model", &model]));
    let connection = Connection::open(sandbox.path("index.db")).expect("a store");
    connection.execute_batch(statements).expect("changed");
    sandbox
}

/// Commands that read a store.
const READERS: [&[&str]; 4] =
    [&["search", "lamp"], &["search", "lamp", "--hybrid"], &["status"], &["migrate", "status"]];

/// Runs all readers: none may be ended by a signal, panic, or take long.
fn endure(sandbox: &Sandbox, attack: &str) -> Vec<Run> {
    let run = |arguments: &&[&str]| {
        let start = Instant::now();
        let run = sandbox.run(arguments.iter().chain(&["--store", "index.db"]));
        assert!(run.status.is_some(), "{attack}: {arguments:?} was killed: {}", run.stderr);
        assert!(!run.stderr.contains("panicked"), "{attack}: {arguments:?}: {}", run.stderr);
        assert!(start.elapsed() < Duration::from_secs(20), "{attack}: {arguments:?} took long");
        run
    };
    READERS.iter().map(run).collect()
}

#[test]
#[ignore = "slow; `.ci/run` runs it"]
fn a_prepared_store_neither_hangs_nor_takes_all_memory() {
    let endless = "WITH RECURSIVE endless(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM endless)";
    let view = format!(
        "PRAGMA legacy_alter_table = ON; ALTER TABLE documents RENAME TO kept; \
         CREATE VIEW documents AS {endless} SELECT x AS id, 1 AS collection, 'p' AS path, \
         'h' AS hash, 0 AS modified, 0 AS size, 'text' AS format, '{{}}' AS metadata FROM endless"
    );
    let trigger = format!(
        "CREATE TRIGGER often AFTER INSERT ON meta BEGIN INSERT INTO meta SELECT x, x FROM \
         ({endless} SELECT x FROM endless); END"
    );
    for (attack, is_refused) in [
        (view.as_str(), true),
        (trigger.as_str(), true),
        ("INSERT INTO live VALUES ((1 << 32) + 4000000000, zeroblob(4096))", true),
        ("UPDATE live SET data = zeroblob(100000000)", true),
        ("INSERT INTO vectors VALUES ((1 << 32) + 4000000000, zeroblob(16384))", true),
        ("UPDATE vectors SET data = zeroblob(200000000)", true),
        ("UPDATE collections SET dimensions = 1 << 40", true),
        ("UPDATE chunks SET slot = slot + (1 << 60)", false),
        ("UPDATE chunks SET first_byte = 1 << 60, end_byte = 7, first_line = 1 << 50", false),
        (
            "UPDATE documents SET metadata = '[' || hex(zeroblob(1000)) || ']', path = path || char(10)",
            false,
        ),
        ("UPDATE chunks SET text = '', metadata = 'x'", false),
        ("DELETE FROM words", false),
        ("DELETE FROM chunks", false),
    ] {
        let sandbox = prepared(attack);
        let runs = endure(&sandbox, attack);
        assert!(!is_refused || runs[0].status == Some(4), "{attack}: {}", runs[0].stderr);
    }
}

#[test]
fn names_cannot_write_to_the_terminal() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).expect("a folder");
    let name = "a\x1b[2Jb\u{9b}2Jc\u{202e}d\nerror: e.md";
    sandbox.write(&format!("d/{name}"), "The lamp is dark.\u{1b}]0;title\u{7}\n");
    sandbox.write("d/\u{1b}[8m.bin", b"\0\x01\x02");
    let hidden = |text: &str| {
        let is_hidden =
            |c: char| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
        text.contains(is_hidden) || text.lines().any(|line| line.starts_with("error: e"))
    };
    for arguments in [
        &["index", "d", "d/\u{1b}[8m.bin"][..],
        &["search", "lamp", "d"],
        &["search", "lamp", "d", "-l"],
        &["search", "lamp", "d", "--json"],
        &["status", "d"],
        &["status", "d", "--json"],
        &["embed", "--input", "d/\u{1b}[2J\nmissing"],
        &["migrate", "status", "\u{1b}[2J\nerror: e.toml"],
        &["search", "x", "--store", "\u{9b}2J\u{202e}.db"],
    ] {
        let run = sandbox.run(arguments);
        assert!(!hidden(run.text()), "{arguments:?}: {:?}", run.text());
        assert!(!hidden(&run.stderr), "{arguments:?}: {:?}", run.stderr);
    }
    let json = sandbox.run(["search", "lamp", "d", "--json"]).json();
    assert_eq!(json["hits"][0]["path"], format!("d/{name}"), "programs get the name as it is");
}

#[test]
fn the_excerpt_of_a_text_without_words_is_found_at_once() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).expect("a folder");
    sandbox.write("d/a.txt", format!("Lamp.{}End.", " \n".repeat(20_000)));
    sandbox.write("d/b.txt", format!("Lamp {}", ". ".repeat(20_000)));
    let model = crate::tiny_v3().display().to_string();
    success(&sandbox.run(["index", "d", "--model", &model]));
    let start = Instant::now();
    assert_eq!(sandbox.run(["search", "lamp", "d"]).status, Some(0));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    #[test]
    fn a_planted_link_is_not_followed() {
        let sandbox = Sandbox::new();
        sandbox.write("precious", "precious");
        symlink(sandbox.path("precious"), sandbox.path("out.npy.partial")).expect("a link");
        success(&sandbox.run(["embed", "a text", "-o", "out.npy"]));
        assert_eq!(fs::read_to_string(sandbox.path("precious")).expect("a file"), "precious");
        assert!(fs::read(sandbox.path("out.npy")).expect("a file").starts_with(b"\x93NUMPY"));
        assert!(!sandbox.path("out.npy.partial").exists());
        // A file that others may not read stays so.
        fs::set_permissions(sandbox.path("out.npy"), PermissionsExt::from_mode(0o600))
            .expect("permissions");
        success(&sandbox.run(["embed", "another text", "-o", "out.npy"]));
        let mode = fs::metadata(sandbox.path("out.npy")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_signal_leaves_no_unfinished_file() {
        for signal in ["-INT", "-TERM", "-HUP"] {
            let sandbox = Sandbox::new();
            sandbox.write("texts.txt", "A sentence that takes a while.\n".repeat(200_000));
            let arguments =
                ["embed", "--input", "texts.txt", "--input-format", "lines", "-o", "out.jsonl"];
            let mut child = sandbox
                .command(PROGRAM, arguments)
                .stderr(Stdio::null())
                .spawn()
                .expect("a program");
            let partial = sandbox.path("out.jsonl.partial");
            let start = Instant::now();
            while !partial.exists() {
                assert!(start.elapsed() < Duration::from_secs(60), "no file appeared");
                std::thread::sleep(Duration::from_millis(5));
            }
            let id = child.id().to_string();
            assert!(Command::new("kill").args([signal, &id]).status().expect("kill").success());
            assert_eq!(child.wait().expect("an end").code(), Some(130), "{signal}");
            assert!(!partial.exists() && !sandbox.path("out.jsonl").exists(), "{signal}");
        }
    }

    /// Runs the program as a user who owns nothing; `None` if this test has no such right.
    fn as_nobody(sandbox: &Sandbox, arguments: &[&str]) -> Option<Run> {
        const NOBODY: u32 = 65_534;
        if !rustix::process::geteuid().is_root() {
            crate::skip("running as another user needs the rights of root");
            return None;
        }
        fs::set_permissions(sandbox.path("."), PermissionsExt::from_mode(0o755)).expect("access");
        let program = sandbox.path("kokeshi-of-all");
        if !program.exists() {
            fs::copy(PROGRAM, &program).expect("a copy");
        }
        let mut command = sandbox.command(program.to_str().expect("a path"), arguments);
        command.uid(NOBODY).gid(NOBODY);
        Some(Run::of(command, b""))
    }

    #[test]
    fn an_index_of_another_user_is_searched_and_not_changed() {
        let sandbox = notes();
        success(&sandbox.run(["index", "notes", "--store", "index.db"]));
        let before = fs::read(sandbox.path("index.db")).expect("a file");
        for arguments in [
            &["search", "lamp", "--store", "index.db", "--json"][..],
            &["status", "--store", "index.db", "--json"],
            &["migrate", "status", "--store", "index.db"],
        ] {
            let Some(run) = as_nobody(&sandbox, arguments) else { return };
            assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        }
        let refused = as_nobody(&sandbox, &["index", "notes", "--store", "index.db"]);
        let refused = refused.expect("the right to run it");
        assert!(refused.failure(4).contains("cannot"), "{}", refused.stderr);
        assert_eq!(fs::read(sandbox.path("index.db")).expect("a file"), before);
        assert!(!sandbox.path("index.db-shm").exists());
    }

    #[test]
    fn documents_of_a_folder_that_cannot_be_read_are_kept() {
        let sandbox = Sandbox::new();
        fs::create_dir_all(sandbox.path("d/sub")).expect("a folder");
        sandbox.write("d/a.txt", "One text.\n");
        sandbox.write("d/sub/b.txt", "Another text.\n");
        for path in [".", "d", "d/sub"] {
            fs::set_permissions(sandbox.path(path), PermissionsExt::from_mode(0o777))
                .expect("access");
        }
        let Some(run) = as_nobody(&sandbox, &["index", "d"]) else { return };
        assert!(success(&run).contains("indexed 2 documents"), "{}", run.stderr);
        for mode in [0o000, 0o300, 0o600] {
            fs::set_permissions(sandbox.path("d/sub"), PermissionsExt::from_mode(mode))
                .expect("no access");
            let run = as_nobody(&sandbox, &["index", "d"]).expect("the right to run it");
            assert_eq!(run.status, Some(3), "{mode:o}: {}", run.stderr);
            assert!(!run.stderr.contains("removed"), "{mode:o}: {}", run.stderr);
            let status = as_nobody(&sandbox, &["status", "d", "--json"]).expect("a run");
            let status: serde_json::Value = serde_json::from_str(status.text()).expect("JSON");
            assert_eq!(status["collections"][0]["documents"], 2, "{mode:o}: {status}");
        }
        fs::set_permissions(sandbox.path("d/sub"), PermissionsExt::from_mode(0o777))
            .expect("access");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_reader_of_a_file_ends_with_the_program_that_started_it() {
    use std::process::Stdio;
    let sandbox = Sandbox::new();
    let wait = |what: &str, is: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !is() {
            assert!(start.elapsed() < Duration::from_secs(20), "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    // A shell that starts the reader, tells its id, and is killed.
    let script = "$KOKESHI extract --format html --parent $$ < fifo > out & echo $! > id; wait";
    assert!(
        std::process::Command::new("mkfifo")
            .arg(sandbox.path("fifo"))
            .status()
            .expect("mkfifo")
            .success()
    );
    let mut shell = sandbox
        .command("sh", ["-c", script])
        .env("KOKESHI", PROGRAM)
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .spawn()
        .expect("a shell");
    let _writer = fs::OpenOptions::new().read(true).write(true).open(sandbox.path("fifo"));
    wait("no reader", &|| {
        fs::read_to_string(sandbox.path("id")).is_ok_and(|id| id.ends_with('\n'))
    });
    let id = fs::read_to_string(sandbox.path("id")).expect("an id").trim().to_owned();
    let is_running = || {
        let status = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        !status.is_empty() && !status.contains(") Z ")
    };
    std::thread::sleep(Duration::from_millis(500));
    assert!(is_running());
    shell.kill().expect("a kill");
    shell.wait().expect("an end");
    wait("the reader outlives its parent", &|| !is_running());
}
