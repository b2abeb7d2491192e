//! Resident memory of this process, where the system tells it: on Linux.

use std::fs;

/// The most bytes that were resident at once, pages of mapped files included.
pub(super) fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = kib.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Makes [`peak`] start again from what is resident now. Whether the system could: see
/// `/proc/pid/clear_refs` in proc(5).
pub(super) fn forget_peak() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_counts_what_was_touched_until_it_is_forgotten() {
        // More than all other tests of this process together.
        const LEN: usize = 256 << 20;
        drop(std::hint::black_box(vec![1_u8; LEN]));
        let touched = peak().expect("a peak");
        assert!(touched >= LEN as u64, "{touched}");
        assert!(!forget_peak() || peak().expect("a peak") < touched);
    }
}
