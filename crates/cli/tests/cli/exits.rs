//! The exit statuses that docs/cli.md promises.

use crate::Sandbox;

#[test]
fn each_exit_status_has_one_meaning() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("notes")).expect("a folder");
    sandbox.write("notes/a.txt", "The lighthouse keeper wrote a letter.");
    assert_eq!(sandbox.run(["index", "notes"]).status, Some(0));
    let cases: [(&[&str], i32); 16] = [
        (&["search", "letter", "notes"], 0),
        (&["embed", "a"], 0),
        (&["search", "letter", "notes", "--min-score", "1"], 1),
        (&["search"], 2),
        (&["embed", "--no-such-option"], 2),
        (&["embed", "a", "-o", "vectors.xyz"], 2),
        (&["search", " ", "notes"], 4),
        (&["search", "letter"], 4),
        (&["search", "letter", "absent"], 4),
        (&["search", "letter", "--store", "qdrant://127.0.0.1:9"], 4),
        (&["index", "absent"], 4),
        (&["embed", "--input", "absent.txt"], 4),
        (&["embed", "--input", "notes/a.txt", "--model", "./absent"], 4),
        (&["embed", "a", "-o", "absent/vectors.npy"], 4),
        (&["embed"], 4),
        (&["migrate", "run", "absent.toml"], 4),
    ];
    for (arguments, status) in cases {
        let run = sandbox.run(arguments);
        assert_eq!(run.status, Some(status), "{arguments:?}: {}", run.stderr);
    }
}

#[test]
fn an_empty_environment_variable_is_as_if_unset() {
    let sandbox = Sandbox::new();
    let names = ["KOKESHI_DEVICE", "KOKESHI_THREADS", "KOKESHI_SIMD_LEVEL", "KOKESHI_STORE"];
    let more = ["KOKESHI_PRECISION", "KOKESHI_MEMORY_BUDGET", "HF_HOME", "HF_ENDPOINT", "HF_TOKEN"];
    for arguments in [&["embed", "a"][..], &["models", "list"]] {
        let mut command = sandbox.command(crate::PROGRAM, arguments);
        command.envs(names.iter().chain(&more).map(|name| (name, "")));
        let run = crate::Run::of(command, b"");
        assert_eq!(run.status, Some(0), "{}", run.stderr);
    }
}

#[test]
fn a_hidden_command_is_not_suggested() {
    let sandbox = Sandbox::new();
    let typo = sandbox.run(["extrac"]);
    assert!(!typo.failure(2).contains("similar"), "{}", typo.stderr);
    let typo = sandbox.run(["serch", "x"]);
    assert!(typo.failure(2).contains("search"), "{}", typo.stderr);
}

#[test]
fn a_first_index_that_fails_leaves_no_store() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("notes")).expect("a folder");
    sandbox.write("notes/a.txt", "text");
    let run = sandbox.run(["index", "notes", "--model", "jina-embeddings-v3"]);
    assert!(run.failure(4).contains("is not on this machine"), "{}", run.stderr);
    assert!(!sandbox.path("notes/.kokeshi").exists(), "nothing is left");
    assert_eq!(sandbox.run(["index", "notes"]).status, Some(0));
    // A collection that fails later leaves the others alone.
    let run = sandbox.run(["index", "notes", "--collection", "b", "--model", "jina-embeddings-v3"]);
    assert_eq!(run.status, Some(4));
    assert!(sandbox.run(["status", "notes"]).quiet().contains("default"));
}

#[test]
fn options_are_listed_under_their_own_headings() {
    let sandbox = Sandbox::new();
    for help in ["-h", "--help"] {
        let run = sandbox.run(["migrate", "plan", help]);
        let (options, foreign) =
            run.quiet().split_once("Data of other programs:").expect("a heading");
        let named = |text: &str, name: &str| text.contains(&format!("{name} "));
        for name in ["--to", "--device", "--precision", "--quiet", "--memory-budget", "--help"] {
            assert!(format!("{options} ").contains(name) && !foreign.contains(name), "{name}");
        }
        for name in ["--table", "--id", "--text", "--document", "--order", "--vector"] {
            assert!(named(foreign, name) && !named(options, name), "{name}");
        }
    }
}
