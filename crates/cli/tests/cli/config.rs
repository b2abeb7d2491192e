//! The configuration file, what is printed about the program itself, and the options of all
//! commands.

use crate::{PROGRAM, Run, Sandbox};
use std::fs;

/// A sandbox whose user has this configuration.
fn configured(text: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("xdg/kokeshi")).expect("a folder");
    sandbox.write("xdg/kokeshi/config.toml", text);
    sandbox
}

fn with_variable(sandbox: &Sandbox, arguments: &[&str], variable: (&str, &str)) -> Run {
    let mut command = sandbox.command(PROGRAM, arguments);
    command.env(variable.0, variable.1);
    Run::of(command, b"")
}

#[test]
fn flags_win_over_variables_and_these_over_the_file() {
    let sandbox = configured("device = \"reference\"\nmodel = \"jinaai/absent\"\nthreads = 2\n");
    let run = sandbox.run(["embed", "a lamp"]);
    assert!(run.stderr.contains("model `jinaai/absent` is not on this machine"), "{}", run.stderr);
    // The number of threads in the file is for the processor: alone it does not select it.
    let embed = ["embed", "--model", "starter", "-v", "a lamp"];
    let run = sandbox.run(embed);
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("on reference"), "{}", run.stderr);
    assert!(run.stderr.contains("xdg/kokeshi/config.toml"), "{}", run.stderr);
    let run = with_variable(&sandbox, &embed, ("KOKESHI_DEVICE", "cpu"));
    assert!(run.stderr.contains("on cpu") && run.stderr.contains("2 threads"), "{}", run.stderr);
    let flags = [&embed[..], &["--device", "reference"]].concat();
    let run = with_variable(&sandbox, &flags, ("KOKESHI_DEVICE", "cpu"));
    assert!(run.stderr.contains("on reference"), "{}", run.stderr);
}

#[test]
fn a_store_of_the_file_is_used_by_all_commands_that_have_one() {
    let sandbox = configured("store = \"elsewhere.db\"\n");
    fs::create_dir(sandbox.path("docs")).expect("a folder");
    sandbox.write("docs/a.txt", "The lamp is too dim.");
    assert_eq!(sandbox.run(["index", "docs"]).status, Some(0));
    assert!(sandbox.path("elsewhere.db").exists() && !sandbox.path("docs/.kokeshi").exists());
    assert!(sandbox.run(["search", "lamp", "docs", "-l"]).quiet().contains("a.txt"));
    let run = sandbox.run(["search", "lamp", "docs", "--store", "other.db"]);
    assert_eq!(run.status, Some(4), "{}", run.stderr);
    // An existing collection keeps its model.
    sandbox.write("xdg/kokeshi/config.toml", "store = \"elsewhere.db\"\nmodel = \"jinaai/absent\"");
    assert_eq!(sandbox.run(["index", "docs"]).status, Some(0));
}

#[test]
fn the_settings_are_shown_with_their_origins() {
    let text = "# mine\nthreads = 3\nstore = \"postgres://ann:secret@host/db\"\n";
    let sandbox = configured(text);
    let run = with_variable(&sandbox, &["config"], ("KOKESHI_THREADS", "5"));
    let rows: Vec<Vec<&str>> =
        run.text().lines().map(|line| line.split_whitespace().collect()).collect();
    for row in [
        &["model", "starter", "built", "in"][..],
        &["threads", "5", "KOKESHI_THREADS"],
        &["store", "postgres://ann:***@host/db", "line", "3", "of", "the", "file"],
        &["KOKESHI_PRECISION=f32"],
    ] {
        assert!(rows.iter().any(|found| found == row), "{row:?}: {}", run.text());
    }
    let report = sandbox.run(["config", "--json"]).json();
    assert_eq!(report["exists"], true);
    assert_eq!(report["settings"][2]["value"], "3");
    assert_eq!(report["settings"][2]["source"], "line 2 of the file");
    let run = Sandbox::new().run(["config"]);
    assert!(run.quiet().contains("xdg/kokeshi/config.toml (no such file)"), "{}", run.text());
}

#[test]
fn a_mistake_in_the_file_is_one_error_and_help_still_works() {
    let sandbox = configured("device = \"cpu\"\nmodle = \"x\"\n");
    let run = sandbox.run(["embed", "a lamp"]);
    assert_eq!((run.status, run.stdout.len()), (Some(4), 0));
    assert_eq!(run.stderr.matches("error:").count(), 1, "{}", run.stderr);
    for part in ["kokeshi/config.toml, line 2: unknown key `modle`", "`model`, `device`, `threads`"]
    {
        assert!(run.stderr.contains(part), "{}", run.stderr);
    }
    for arguments in [&["--help"][..], &["man"], &["completions", "bash"]] {
        assert_eq!(sandbox.run(arguments).status, Some(0), "{arguments:?}");
    }
}

#[test]
fn shells_get_completions() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let run = sandbox.run(["completions", shell]);
        let script = run.quiet();
        assert!(script.contains("similarity") && script.contains("late-chunking"), "{shell}");
        assert!(!script.contains("extract"), "{shell} offers a hidden command");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let sandbox = Sandbox::new();
    assert!(sandbox.run(["man"]).quiet().contains(".TH kokeshi 1"));
    let page = sandbox.run(["man", "models", "list"]);
    assert!(page.quiet().contains("models") && page.text().contains("List the known models"));
    let run = sandbox.run(["man", "serch"]);
    assert!(run.status == Some(4) && run.stderr.contains("search"), "{}", run.stderr);
    assert_eq!(sandbox.run(["man", "--output", "pages"]).status, Some(0));
    for name in ["kokeshi.1", "kokeshi-search.1", "kokeshi-migrate-plan.1"] {
        assert!(sandbox.path("pages").join(name).exists(), "{name}");
    }
    assert!(!sandbox.path("pages/kokeshi-extract.1").exists());
}

#[test]
fn quiet_hides_notes_and_verbose_adds_details() {
    let sandbox = Sandbox::new();
    sandbox.write("a.txt", "The lamp is too dim.");
    assert_eq!(sandbox.run(["index", "-q", "."]).stderr, "");
    let run = sandbox.run(["-v", "index", "."]);
    for part in ["model starter", "loaded in", "1 unchanged", "took "] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
    assert_eq!(sandbox.run(["embed", "-q", "-v", "x"]).status, Some(2));
    // In this command `-q` is the query; before it, `-q` is quiet, and `--quiet` is it everywhere.
    let run = sandbox.run(["-q", "similarity", "-q", "lamp", "lamps", "--quiet"]);
    assert!(run.quiet().contains("lamps") && run.text().lines().count() == 1, "{}", run.text());
}

#[test]
fn colours_follow_the_flag_then_no_color_then_the_file() {
    let sandbox = configured("color = \"always\"\n");
    let similarity = ["similarity", "a lamp", "a tax"];
    let is_coloured = |run: Run| run.text().contains('\x1b');
    assert!(is_coloured(sandbox.run(similarity)));
    assert!(!is_coloured(with_variable(&sandbox, &similarity, ("NO_COLOR", "1"))));
    let always = ["similarity", "a lamp", "a tax", "--color", "always"];
    assert!(is_coloured(with_variable(&sandbox, &always, ("NO_COLOR", "1"))));
    let never = ["similarity", "a lamp", "a tax", "--colour=never"];
    assert!(!is_coloured(sandbox.run(never)));
}
