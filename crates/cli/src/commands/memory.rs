//! Memory of this process, on systems that report it: Linux.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Peak resident memory in bytes, pages of mapped files included.
pub(super) fn peak() -> Option<u64> {
    status("VmHWM:")
}

/// Bytes that are resident now, without pages of mapped files.
pub(super) fn anonymous() -> Option<u64> {
    status("RssAnon:")
}

/// Bytes of addresses that this process has, those included that are reserved and not used.
#[cfg(unix)]
pub(super) fn addresses() -> Option<u64> {
    status("VmSize:")
}

/// A size of `/proc/pid/status`: see proc(5).
fn status(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = kib.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Runs `work`, and returns the highest value of [`anonymous`] meanwhile, sampled every
/// millisecond: the system does not record this peak.
pub(super) fn peak_anonymous_during<T>(work: impl FnOnce() -> T) -> (T, Option<u64>) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = anonymous();
            while !done.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
                most = most.max(anonymous());
            }
            most
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        (result, watcher.join().unwrap_or(None))
    })
}

/// Resets [`peak`] to what is resident now, and returns whether that worked: see
/// `/proc/pid/clear_refs` in proc(5).
pub(super) fn reset_peak() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_includes_freed_memory_until_it_is_reset() {
        // More than all other tests of this process together.
        const LEN: usize = 256 << 20;
        drop(std::hint::black_box(vec![1_u8; LEN]));
        let touched = peak().expect("a peak");
        assert!(touched >= LEN as u64, "{touched}");
        // The allocator gives memory back a little later, when it is used next.
        let is_lower = |_| {
            std::thread::sleep(Duration::from_millis(50));
            drop(std::hint::black_box(vec![1_u8; 1 << 20]));
            reset_peak() && peak().expect("a peak") < touched
        };
        assert!(!reset_peak() || (0..200).any(is_lower));
    }

    #[test]
    fn a_sampled_peak_includes_memory_that_was_freed_since() {
        const LEN: usize = 256 << 20;
        let before = anonymous().expect("a size");
        let ((), most) = peak_anonymous_during(|| {
            let touched = std::hint::black_box(vec![1_u8; LEN]);
            std::thread::sleep(Duration::from_millis(50));
            drop(touched);
        });
        let grown = most.expect("a peak").saturating_sub(before);
        assert!(grown >= LEN as u64 * 9 / 10, "{grown}");
    }
}
