//! Tile registers: products of 16 × 16 outputs in one instruction (AMX-BF16 and AMX-INT8, Sapphire
//! Rapids and after; Intel's Architecture Instruction Set Extensions reference, chapter 3).
//!
//! The compiler has no stable intrinsics for them, and never uses the tile registers by itself.

use crate::isa::{BLOCK, MATRIX, Product};
use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::sync::OnceLock;

/// Whether CPU and system support tiles, and the system lets this process use them.
pub(super) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| has_instructions() && system_saves_tiles() && request_permission())
}

fn has_instructions() -> bool {
    // Leaf 7, EDX: AMX-BF16, AMX-TILE, AMX-INT8.
    const BITS: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & BITS == BITS
}

/// Whether the system saves tiles on context switches: bits 17 and 18 of XCR0.
fn system_saves_tiles() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const TILES: u64 = 0b11 << 17;
    if __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    // SAFETY: OSXSAVE means that the instruction exists; register 0 always does.
    let enabled = unsafe { _xgetbv(0) };
    enabled & TILES == TILES
}

/// Linux grants the 8 KiB of tile state only to processes that ask for it
/// (`arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`, since 5.16).
#[cfg(target_os = "linux")]
fn request_permission() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    let result: i64;
    // SAFETY: a system call that writes no memory; the kernel overwrites rax, rcx and r11 alone.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// Not attempted on other systems.
#[cfg(not(target_os = "linux"))]
fn request_permission() -> bool {
    false
}

/// Palette 1 of LDTILECFG: all eight registers of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static FULL: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Tile registers in use on this thread, until dropped.
pub(super) struct Tiles(());

impl Tiles {
    /// Configures the registers for use.
    ///
    /// # Safety
    ///
    /// [`is_available`] must have returned true.
    #[inline(always)]
    pub(super) unsafe fn configure() -> Self {
        // SAFETY: the caller's promise; the instruction reads the 64 bytes of a static.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const FULL, options(nostack, readonly));
        }
        Self(())
    }
}

impl Drop for Tiles {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: a value exists only after `configure`. Idle tiles slow down every context switch.
        unsafe { asm!("tilerelease", options(nostack, nomem)) }
    }
}

/// Two by two tiles hold the sums; a step of the depth reads two tiles of `a` and two of `b`.
macro_rules! product {
    ($name:ident, $multiply:literal) => {
        /// The product that [`crate::isa::Isa`] defines.
        ///
        /// # Safety
        ///
        /// The thread must hold [`Tiles`].
        #[inline(always)]
        pub(super) unsafe fn $name(a: &[u32], b: &[u32], sums: &mut Product) {
            let blocks = a.len() / (MATRIX * BLOCK);
            assert!(blocks > 0 && a.len() == b.len() && a.len() == blocks * MATRIX * BLOCK);
            // SAFETY: `a` and `b` hold `blocks` blocks of 2 KiB, which the loop reads, and `sums`
            // 4 KiB, which the end writes; the caller holds the tile registers.
            unsafe {
                asm!(
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "2:",
                    "tileloadd tmm4, [{a} + {row} * 1]",
                    "tileloadd tmm6, [{b} + {row} * 2]",
                    "tileloadd tmm7, [{b} + {row} * 2 + 64]",
                    concat!($multiply, " tmm0, tmm4, tmm6"),
                    concat!($multiply, " tmm1, tmm4, tmm7"),
                    "tileloadd tmm5, [{a} + {row} * 1 + 1024]",
                    concat!($multiply, " tmm2, tmm5, tmm6"),
                    concat!($multiply, " tmm3, tmm5, tmm7"),
                    "add {a}, 2048",
                    "add {b}, 2048",
                    "dec {blocks}",
                    "jnz 2b",
                    "tilestored [{sums} + {row} * 2], tmm0",
                    "tilestored [{sums} + {row} * 2 + 64], tmm1",
                    "tilestored [{sums} + {row} * 2 + 2048], tmm2",
                    "tilestored [{sums} + {row} * 2 + 2112], tmm3",
                    a = inout(reg) a.as_ptr() => _,
                    b = inout(reg) b.as_ptr() => _,
                    blocks = inout(reg) blocks => _,
                    sums = in(reg) sums.as_mut_ptr(),
                    row = in(reg) 64_usize,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

product!(product_bf16, "tdpbf16ps");
product!(product_u8i8, "tdpbusd");
