//! What remains after killed processes, two writers and a full disk.

use crate::index::{content, essay, said, start, store};
use crate::{PROGRAM, Run, Sandbox, tiny_v3};
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// Asserts that the store of `folder`, made by `model`, has the content of a new one, with each chunk
/// once.
#[track_caller]
fn assert_whole(place: &Sandbox, folder: &str, model: &str) {
    let fresh = ["index", folder, "--store", "fresh.db", "--model", model];
    assert!(start(place, &fresh).wait().expect("an end").success());
    let root = place.path(folder).canonicalize().expect("a path").display().to_string() + "/";
    let fresh = content(&store(place, "fresh.db"), "default");
    let fresh: BTreeMap<_, _> =
        fresh.into_iter().map(|(path, content)| (path.replace(&root, ""), content)).collect();
    let kept = store(place, &format!("{folder}/.kokeshi/index.db"));
    assert_eq!(content(&kept, "default"), fresh);
    assert!(kept.check().expect("a check").is_empty());
}

#[test]
fn fifty_kills_lose_and_duplicate_nothing() {
    const FILES: u64 = 60;
    // A tiny model, so that most of a run is reading and writing, where a kill could hurt.
    let model = tiny_v3().display().to_string();
    let place = Sandbox::new();
    fs::create_dir(place.path("d")).expect("a folder");
    let write = |file: u64, seed: u64| place.write(&format!("d/{file}.md"), essay(seed));
    (0..FILES).for_each(|file| write(file, file));
    let index = ["index", "d", "--threads", "1", "--model", &model];
    let mut state = 1_u64;
    let mut random = |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    // The duration of a complete run, so that kills are spread over all of it.
    let begun = Instant::now();
    assert!(start(&place, &index).wait().expect("an end").success());
    let whole = begun.elapsed().as_millis() as u64;
    for round in 0..50 {
        for _ in 0..FILES / 3 {
            write(random(FILES), 1000 + 100 * round + random(100));
        }
        if round % 5 == 0 {
            let _ = fs::remove_file(place.path(&format!("d/{}.md", random(FILES))));
        }
        let mut child = start(&place, &index);
        std::thread::sleep(Duration::from_millis(random(whole)));
        child.kill().expect("a kill");
        child.wait().expect("an end");
        let faults = store(&place, "d/.kokeshi/index.db").check().expect("a check");
        assert!(faults.is_empty(), "round {round}: {faults:?}");
    }
    assert!(start(&place, &index).wait().expect("an end").success());
    assert_whole(&place, "d", &model);
}

#[test]
fn two_writers_at_once_write_everything_once() {
    const FILES: u64 = 40;
    let model = tiny_v3().display().to_string();
    let place = Sandbox::new();
    fs::create_dir(place.path("d")).expect("a folder");
    for round in 0..10 {
        for file in 0..FILES {
            place.write(&format!("d/{file}.md"), essay(1000 * round + file));
        }
        let writers = [0, 1].map(|_| start(&place, &["index", "d", "--model", &model]));
        let ends = writers.map(|mut writer| writer.wait().expect("an end").code());
        // Who comes second is refused, unless the first has ended before.
        assert!(ends.contains(&Some(0)), "{ends:?}");
        assert!(ends.iter().all(|end| matches!(end, Some(0 | 1))), "{ends:?}");
        let kept = store(&place, "d/.kokeshi/index.db");
        assert_eq!(content(&kept, "default").len() as u64, FILES);
        assert!(kept.check().expect("a check").is_empty(), "round {round}");
    }
    assert_whole(&place, "d", &model);
}

/// Runs a script in a folder `small` that has 24 MiB, of which 20 are taken; `None` if this system
/// or user may not have one.
pub(crate) fn on_a_small_disk(place: &Sandbox, script: &str) -> Option<Run> {
    fs::create_dir(place.path("small")).expect("a folder");
    let mount = "mount -t tmpfs -o size=24m none small && head -c 20m /dev/zero > small/ballast";
    let run = |script: &str| {
        let mut command: Command =
            place.command("unshare", ["--user", "--map-root-user", "--mount", "sh", "-c", script]);
        command.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("KOKESHI", PROGRAM);
        command
    };
    let may = run(mount).output().is_ok_and(|output| output.status.success());
    may.then(|| Run::of(run(&format!("{mount} && {script}")), b""))
}

#[test]
fn a_full_disk_is_reported_and_loses_nothing() {
    const FILES: u64 = 300;
    let place = Sandbox::new();
    fs::create_dir(place.path("d")).expect("a folder");
    (0..FILES).for_each(|file| place.write(&format!("d/{file}.md"), essay(file)));
    let script = "cp -r d small/d || exit 90; \
                  $KOKESHI index small/d --dimensions 256 --storage f32; echo status $?; \
                  cp -r small/d/.kokeshi full || exit 91; \
                  rm small/ballast; \
                  $KOKESHI index small/d || exit 92; \
                  cp -r small/d/.kokeshi done";
    let Some(run) = on_a_small_disk(&place, script) else {
        eprintln!("skipped: a small disk needs `unshare` and the right to mount a tmpfs");
        return;
    };
    assert_eq!((run.status, run.text()), (Some(0), "status 1\n"), "{}", run.stderr);
    assert!(run.stderr.contains("no space is left for"), "{}", run.stderr);
    assert!(run.stderr.contains("free some space"), "{}", run.stderr);
    let full = store(&place, "full/index.db");
    assert!(full.check().expect("a check").is_empty());
    assert!(content(&full, "default").len() < FILES as usize);
    fs::create_dir(place.path("d/.kokeshi")).expect("a folder");
    fs::rename(place.path("done/index.db"), place.path("d/.kokeshi/index.db")).expect("a store");
    assert_whole(&place, "d", "starter");
    said(&place.run(["index", "d"]));
}
