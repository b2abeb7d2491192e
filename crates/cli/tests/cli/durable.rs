//! What remains after killed processes, two writers and a full disk.

use crate::index::{content, essay, start, store, success};
use crate::{PROGRAM, Run, Sandbox, tiny_v3};
use kokeshi_testkit::Random;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// Asserts that the store of `folder`, indexed with `model`, has the content of a new one, with
/// each chunk once.
#[track_caller]
fn assert_whole(sandbox: &Sandbox, folder: &str, model: &str) {
    let fresh = ["index", folder, "--store", "fresh.db", "--model", model];
    assert!(start(sandbox, &fresh).wait().expect("an end").success());
    let root = sandbox.path(folder).canonicalize().expect("a path").display().to_string() + "/";
    let fresh = content(&store(sandbox, "fresh.db"), "default");
    let fresh: BTreeMap<_, _> =
        fresh.into_iter().map(|(path, content)| (path.replace(&root, ""), content)).collect();
    let kept = store(sandbox, &format!("{folder}/.kokeshi/index.db"));
    assert_eq!(content(&kept, "default"), fresh);
    assert!(kept.check().expect("a check").is_empty());
}

#[test]
#[ignore = "takes a minute; CI runs it"]
fn fifty_kills_lose_and_duplicate_nothing() {
    const FILES: u64 = 30;
    // A tiny model, so that most of a run is reading and writing, where a kill could hurt.
    let model = tiny_v3().display().to_string();
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).expect("a folder");
    let write = |file: u64, seed: u64| sandbox.write(&format!("d/{file}.md"), essay(seed));
    (0..FILES).for_each(|file| write(file, file));
    let index = ["index", "d", "--threads", "1", "--model", &model];
    let mut generator = Random::new(1);
    let mut random = |bound: u64| generator.below(bound as usize) as u64;
    // The duration of a complete run, so that kills are spread over all of it.
    let started = Instant::now();
    assert!(start(&sandbox, &index).wait().expect("an end").success());
    let duration = started.elapsed().as_millis() as u64;
    for round in 0..50 {
        for _ in 0..FILES / 3 {
            write(random(FILES), 1000 + 100 * round + random(100));
        }
        if round % 5 == 0 {
            let _ = fs::remove_file(sandbox.path(&format!("d/{}.md", random(FILES))));
        }
        let mut child = start(&sandbox, &index);
        std::thread::sleep(Duration::from_millis(random(duration)));
        child.kill().expect("a kill");
        child.wait().expect("an end");
        let faults = store(&sandbox, "d/.kokeshi/index.db").check().expect("a check");
        assert!(faults.is_empty(), "round {round}: {faults:?}");
    }
    assert!(start(&sandbox, &index).wait().expect("an end").success());
    assert_whole(&sandbox, "d", &model);
}

#[test]
fn two_writers_at_once_write_everything_once() {
    const FILES: u64 = 40;
    let model = tiny_v3().display().to_string();
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).expect("a folder");
    for round in 0..5 {
        for file in 0..FILES {
            sandbox.write(&format!("d/{file}.md"), essay(1000 * round + file));
        }
        let writers = [0, 1].map(|_| start(&sandbox, &["index", "d", "--model", &model]));
        let ends = writers.map(|mut writer| writer.wait().expect("an end").code());
        // The second one is refused, unless the first has already finished.
        assert!(ends.contains(&Some(0)), "{ends:?}");
        assert!(ends.iter().all(|end| matches!(end, Some(0 | 4))), "{ends:?}");
        let kept = store(&sandbox, "d/.kokeshi/index.db");
        assert_eq!(content(&kept, "default").len() as u64, FILES);
        assert!(kept.check().expect("a check").is_empty(), "round {round}");
    }
    assert_whole(&sandbox, "d", &model);
}

/// Runs a script next to a folder `small` with `free` MiB and 20 more that `ballast` takes; `None`
/// if this system or user cannot mount one.
pub(crate) fn on_a_small_disk(sandbox: &Sandbox, free: usize, script: &str) -> Option<Run> {
    fs::create_dir(sandbox.path("small")).expect("a folder");
    let size = free + 20;
    let mount = &format!(
        "mount -t tmpfs -o size={size}m none small && head -c 20m /dev/zero > small/ballast"
    );
    let run = |script: &str| {
        let mut command: Command = sandbox
            .command("unshare", ["--user", "--map-root-user", "--mount", "sh", "-c", script]);
        command.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("KOKESHI", PROGRAM);
        command
    };
    let can_mount = run(mount).output().is_ok_and(|output| output.status.success());
    can_mount.then(|| Run::of(run(&format!("{mount} && {script}")), b""))
}

#[test]
#[ignore = "slow; `.ci/run` runs it"]
fn a_full_disk_is_reported_and_loses_nothing() {
    const FILES: u64 = 200;
    let model = tiny_v3().display().to_string();
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).expect("a folder");
    (0..FILES).for_each(|file| sandbox.write(&format!("d/{file}.md"), essay(file)));
    let script = format!(
        "cp -r d small/d || exit 90; \
         $KOKESHI index small/d --model {model} --storage f32; echo status $?; \
         cp -r small/d/.kokeshi full || exit 91; \
         rm small/ballast; \
         $KOKESHI index small/d || exit 92; \
         cp -r small/d/.kokeshi done"
    );
    let Some(run) = on_a_small_disk(&sandbox, 2, &script) else {
        eprintln!("skipped: a small disk needs `unshare` and the right to mount a tmpfs");
        return;
    };
    assert_eq!((run.status, run.text()), (Some(0), "status 4\n"), "{}", run.stderr);
    assert!(run.stderr.contains("no space is left for"), "{}", run.stderr);
    assert!(run.stderr.contains("free some space"), "{}", run.stderr);
    let full = store(&sandbox, "full/index.db");
    assert!(full.check().expect("a check").is_empty());
    assert!(content(&full, "default").len() < FILES as usize);
    fs::create_dir(sandbox.path("d/.kokeshi")).expect("a folder");
    fs::rename(sandbox.path("done/index.db"), sandbox.path("d/.kokeshi/index.db"))
        .expect("a store");
    assert_whole(&sandbox, "d", &model);
    success(&sandbox.run(["index", "d"]));
}
