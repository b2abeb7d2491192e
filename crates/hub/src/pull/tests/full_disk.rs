//! Disks without space.

use super::*;

/// Every write to `/dev/full` fails as on a full disk.
#[test]
fn a_full_disk_leaves_nothing_that_looks_complete() {
    let server = hub();
    let cache = Cache::of(&server);
    fs::create_dir_all(cache.repo("blobs")).unwrap();
    std::os::unix::fs::symlink("/dev/full", cache.partial()).unwrap();
    let error = cache.pull().0.unwrap_err();
    let full = |path: &Path, needed| path == cache.partial() && needed == 400_000;
    assert!(matches!(&error, Error::DiskFull { path, needed } if full(path, *needed)), "{error}");
    assert_nothing_visible(&cache);

    fs::remove_file(cache.partial()).unwrap();
    assert_whole(&cache, cache.pull().0);
}

/// A file system of a few hundred kilobytes, unmounted when dropped.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// `None` where this user may not mount.
    fn mount(folder: &'a Path) -> Option<Self> {
        mount(&["-t", "tmpfs", "-o", "size=256k", "tmpfs"], folder).then_some(Self(folder))
    }

    fn grow(&self) {
        assert!(mount(&["-o", "remount,size=4m"], self.0));
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg(self.0).status());
    }
}

fn mount(options: &[&str], folder: &Path) -> bool {
    let output = std::process::Command::new("mount").args(options).arg(folder).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn a_pull_that_filled_the_disk_is_resumed_when_there_is_space() {
    let cache = Cache::of(&hub());
    let Some(disk) = SmallDisk::mount(cache.folder.path()) else {
        eprintln!("skipped: mounting a small file system needs rights that this user lacks");
        return;
    };
    let error = cache.pull().0.unwrap_err();
    assert_nothing_visible(&cache);
    let kept = fs::metadata(cache.partial()).unwrap().len();
    assert!(kept > 100_000);
    let rest = 400_000 - kept;
    assert!(matches!(&error, Error::DiskFull { needed, .. } if *needed == rest), "{error}");

    disk.grow();
    let (pulled, events) = cache.pull();
    assert_whole(&cache, pulled);
    assert!(events.contains(&format!("start model.safetensors {kept}")), "{events:?}");
}
