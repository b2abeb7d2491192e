//! How many worker threads there are where the system gives the program a part of the machine.
//! Control groups need rights that most users lack; a test that cannot have one says so and ends.

#![expect(clippy::print_stdout, reason = "why a test was skipped")]

use crate::{PROGRAM, Place, Run, tiny_v3};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What the program says of its threads. The arguments of `wrapper` come before it.
fn threads(place: &Place, wrapper: &[&str]) -> u64 {
    let model = tiny_v3();
    let program = [PROGRAM, "bench", "--read-batches", "--model", model.to_str().expect("UTF-8")];
    let words = [wrapper, &program].concat();
    let greeting = Run::of(place.command(words[0], &words[1..]), b"").jsonl();
    greeting[0]["device"]["threads"].as_u64().expect("a number")
}

/// Whether there is a part of this machine that is smaller than the whole.
fn can_be_split(place: &Place) -> bool {
    let whole = threads(place, &[]);
    if whole < 2 {
        println!("skipped: one CPU cannot be split");
    }
    whole > 1
}

#[test]
fn a_mask_of_cpus_bounds_the_threads() {
    let place = Place::new();
    if !Path::new("/usr/bin/taskset").exists() {
        println!("skipped: there is no taskset");
    } else if can_be_split(&place) {
        assert_eq!(threads(&place, &["/usr/bin/taskset", "--cpu-list", "0"]), 1);
    }
}

/// A control group of this test, removed with its last process.
struct Group(PathBuf);

impl Group {
    /// A group below `parent` with `limits`: names of files and what is written to them.
    fn new(parent: &str, limits: &[(&str, &str)]) -> std::io::Result<Self> {
        let group = Self(Path::new(parent).join(format!("kokeshi-test-{}", std::process::id())));
        fs::create_dir(&group.0)?;
        for (name, value) in limits {
            // A file that is not there means that the controller is not: none is made.
            let mut file = fs::OpenOptions::new().write(true).open(group.0.join(name))?;
            file.write_all(value.as_bytes())?;
        }
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group that is left behind is empty and bounds nobody.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Runs the program in a group whose quota is one and a half CPUs.
fn with_quota(parent: &str, limits: &[(&str, &str)]) {
    let place = Place::new();
    if !can_be_split(&place) {
        return;
    }
    match Group::new(parent, limits) {
        Err(error) => println!("skipped: no control group below {parent}: {error}"),
        Ok(group) => {
            let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", group.0.display());
            assert_eq!(threads(&place, &["/bin/sh", "-c", &enter, "sh"]), 1);
        }
    }
}

#[test]
fn a_quota_of_a_control_group_of_version_1_bounds_the_threads() {
    let limits = [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "150000")];
    with_quota("/sys/fs/cgroup/cpu", &limits);
}

#[test]
fn a_quota_of_a_control_group_of_version_2_bounds_the_threads() {
    with_quota("/sys/fs/cgroup", &[("cpu.max", "150000 100000")]);
}
