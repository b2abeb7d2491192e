//! Instruction sets as values.
//!
//! A token such as `Avx2` can only be obtained from its `detect`, so holding one proves that the
//! CPU has the features, and every operation on it is safe to call. The `unsafe` of intrinsics and
//! `cfg(target_arch)` are confined to this folder.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{Avx2, Avx512};

/// Runs for `cycles` cycles of the CPU's clock, rounded up to a whole hundred; `false` if this
/// architecture has no instruction whose time is known.
pub(crate) fn spin(cycles: u64) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        x86_64::spin(cycles);
        true
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = cycles;
        false
    }
}

/// Rows and columns of a product of [`Isa::matrix_bf16`] and [`Isa::matrix_u8i8`].
pub const MATRIX: usize = 32;
/// A product of [`MATRIX`] rows and [`MATRIX`] columns, row by row: the bits of f32, or i32.
pub type Product = [u32; MATRIX * MATRIX];
/// Words of the depth in a block of packed rows: a cache line, and a row of a tile register.
pub const BLOCK: usize = 16;

/// The widest vector of any instruction set, in lanes: the size of a buffer for one vector.
pub const MAX_LANES: usize = 16;

/// Arithmetic on the full-width vectors of one instruction set.
///
/// `load` and `store` take slices and panic when they are shorter than a vector.
pub trait Isa: Copy + Send + Sync + 'static {
    /// Number of `f32` lanes in a vector.
    const LANES: usize;
    /// A vector of `LANES` values.
    type F32: Copy;
    /// A vector of `LANES` 32-bit words: integers, or two bf16 values or four of eight bits in
    /// each, the first in the lowest bits.
    type Words: Copy;
    /// Whether it has hardware for products of whole matrices.
    const HAS_MATRIX: bool = false;
    /// Whether [`Isa::dot_u7i8`] is faster than [`Isa::dot_u8i8`].
    const PREFERS_U7: bool = false;

    /// `x` in all lanes.
    fn splat(self, x: f32) -> Self::F32;
    /// The first `LANES` values of `src`.
    fn load(self, src: &[f32]) -> Self::F32;
    /// The first `2 · LANES` bf16 values of `src`, widened exactly: those at even indices, then
    /// those at odd ones.
    fn load_bf16_pairs(self, src: &[u16]) -> [Self::F32; 2];
    /// The first `LANES` IEEE half-precision values of `src`, widened exactly.
    fn load_f16(self, src: &[u16]) -> Self::F32;
    /// Writes all lanes to the front of `dst`.
    fn store(self, x: Self::F32, dst: &mut [f32]);
    /// `a + b`
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a - b`
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b`
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a / b`
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b + c`, fused where the hardware fuses
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// The larger of each pair of lanes. Neither may be NaN.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The smaller of each pair of lanes. Neither may be NaN.
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The nearest integer, ties to even.
    fn round(self, x: Self::F32) -> Self::F32;
    /// `x · 2^n` for integral n in `-126..=127`, where neither x nor the result is zero or
    /// subnormal.
    fn mul_exp2(self, x: Self::F32, n: Self::F32) -> Self::F32;
    /// Sum of all lanes.
    fn sum(self, x: Self::F32) -> f32;
    /// The lanes of `a` and `b` in turn, `a₀ b₀ a₁ b₁ …`, in two vectors.
    fn zip(self, a: Self::F32, b: Self::F32) -> [Self::F32; 2];
    /// The first `LANES` words of `src`.
    fn load_words(self, src: &[u32]) -> Self::Words;
    /// `word` in all lanes.
    fn splat_word(self, word: u32) -> Self::Words;
    /// Writes all lanes to the front of `dst`.
    fn store_words(self, x: Self::Words, dst: &mut [u32]);
    /// `a + b` of 32-bit integers, modulo 2³².
    fn add_words(self, a: Self::Words, b: Self::Words) -> Self::Words;
    /// `a · b` of 32-bit integers, modulo 2³².
    fn mul_words(self, a: Self::Words, b: Self::Words) -> Self::Words;
    /// The bits of each f32.
    fn f32_to_bits(self, x: Self::F32) -> Self::Words;
    /// Reinterprets each word as the bits of an f32.
    fn bits_to_f32(self, x: Self::Words) -> Self::F32;
    /// The f32 nearest to each signed integer.
    fn ints_to_f32(self, x: Self::Words) -> Self::F32;
    /// The integer nearest to each value, ties to even, for magnitudes below 2²².
    fn to_ints(self, x: Self::F32) -> Self::Words;
    /// Rounds to bf16 and writes `LANES` pairs, each with a value of `low` and one of `high`, to
    /// the front of `dst`.
    fn store_pairs(self, low: Self::F32, high: Self::F32, dst: &mut [u32]);
    /// `sums + a₀ b₀ + a₁ b₁` for the bf16 pairs of each lane, in f32; one instruction from
    /// [`Level::Avx512Dot`] on, which treats subnormal numbers as zero.
    fn dot_bf16(self, a: Self::Words, b: Self::Words, sums: Self::F32) -> Self::F32;
    /// `sums + a₀ b₀ + a₁ b₁ + a₂ b₂ + a₃ b₃` for the bytes of each lane, those of `a` unsigned and
    /// those of `b` signed; exact modulo 2³².
    fn dot_u8i8(self, a: Self::Words, b: Self::Words, sums: Self::Words) -> Self::Words;

    /// As [`Isa::dot_u8i8`], for bytes of `a` below 128. Two products then fit 16 signed bits, so
    /// that levels without dot products need half of the multiplications.
    #[inline(always)]
    fn dot_u7i8(self, a: Self::Words, b: Self::Words, sums: Self::Words) -> Self::Words {
        self.dot_u8i8(a, b, sums)
    }

    /// Writes the integers of `x`, all in `0..=255`, as bytes to the front of `dst`, in their order
    /// and four to a word.
    #[inline(always)]
    fn store_bytes(self, x: [Self::Words; 4], dst: &mut [u32]) {
        let mut words = [0; 4 * MAX_LANES];
        for (x, to) in x.into_iter().zip(words.chunks_exact_mut(Self::LANES)) {
            self.store_words(x, to);
        }
        for (to, x) in dst[..Self::LANES].iter_mut().zip(words.chunks_exact(4)) {
            *to = x[0] | x[1] << 8 | x[2] << 16 | x[3] << 24;
        }
    }

    /// Rounds the `2 · LANES` values of `first` and `second` to bf16 and writes them, in their
    /// order, to the front of `dst`.
    #[inline(always)]
    fn store_bf16(self, first: Self::F32, second: Self::F32, dst: &mut [u32]) {
        let mut lanes = [0.0; 2 * MAX_LANES];
        self.store(first, &mut lanes);
        self.store(second, &mut lanes[Self::LANES..]);
        for (to, x) in dst[..Self::LANES].iter_mut().zip(lanes.chunks_exact(2)) {
            *to = pair_of(x[0], x[1]);
        }
    }

    /// The product of [`MATRIX`] rows with [`MATRIX`] columns, bf16 pairs in every word, as f32
    /// bits: `a` is `[blocks, MATRIX, BLOCK]`, `b` is `[blocks, BLOCK, MATRIX]`. Pairs are added in
    /// the order of the depth. This is the definition; hardware replaces it where
    /// [`Isa::HAS_MATRIX`].
    #[inline(always)]
    fn matrix_bf16(self, a: &[u32], b: &[u32], sums: &mut Product) {
        define_product(a, b, sums, dot_of_pairs);
    }

    /// As [`Isa::matrix_bf16`], of four unsigned bytes with four signed ones in every word, as i32.
    #[inline(always)]
    fn matrix_u8i8(self, a: &[u32], b: &[u32], sums: &mut Product) {
        define_product(a, b, sums, dot_of_bytes);
    }

    /// Prefetches the cache line at the start of `line` into the level-2 cache.
    #[inline(always)]
    fn prefetch<T>(self, _line: &[T]) {}

    /// Up to `LANES` values of `src`; lanes past its end are zero.
    #[inline(always)]
    fn load_partial(self, src: &[f32]) -> Self::F32 {
        if src.len() == Self::LANES {
            return self.load(src);
        }
        let mut lanes = [0.0; MAX_LANES];
        lanes[..src.len()].copy_from_slice(src);
        self.load(&lanes)
    }

    /// Writes the first `dst.len()` lanes, at most `LANES`.
    #[inline(always)]
    fn store_partial(self, x: Self::F32, dst: &mut [f32]) {
        if dst.len() == Self::LANES {
            return self.store(x, dst);
        }
        let mut lanes = [0.0; MAX_LANES];
        self.store(x, &mut lanes);
        let len = dst.len();
        dst.copy_from_slice(&lanes[..len]);
    }
}

/// The product of two packed matrices, one word after the other.
#[inline(always)]
fn define_product(a: &[u32], b: &[u32], sums: &mut Product, add: impl Fn(u32, u32, u32) -> u32) {
    sums.fill(0);
    for (a, b) in a.chunks_exact(MATRIX * BLOCK).zip(b.chunks_exact(BLOCK * MATRIX)) {
        for (a, sums) in a.chunks_exact(BLOCK).zip(sums.chunks_exact_mut(MATRIX)) {
            for (&a, b) in a.iter().zip(b.chunks_exact(MATRIX)) {
                for (sum, &b) in sums.iter_mut().zip(b) {
                    *sum = add(*sum, a, b);
                }
            }
        }
    }
}

/// `sum + a₀ b₀ + a₁ b₁` of bf16 pairs; `sum` and the result are the bits of an f32.
#[inline(always)]
fn dot_of_pairs(sum: u32, a: u32, b: u32) -> u32 {
    let [a, b] = [a, b].map(|x| [x << 16, x & 0xffff_0000].map(f32::from_bits));
    (f32::from_bits(sum) + a[0] * b[0] + a[1] * b[1]).to_bits()
}

/// `sum + a₀ b₀ + a₁ b₁ + a₂ b₂ + a₃ b₃` of unsigned and signed bytes, modulo 2³².
#[inline(always)]
fn dot_of_bytes(sum: u32, a: u32, b: u32) -> u32 {
    let products = a.to_le_bytes().into_iter().zip(b.to_le_bytes());
    let product = |(a, b): (u8, u8)| (i32::from(a) * i32::from(b.cast_signed())).cast_unsigned();
    products.map(product).fold(sum, u32::wrapping_add)
}

/// IEEE half precision → single precision, exact; infinities and NaN are preserved.
#[inline(always)]
pub(crate) fn f16_to_f32(half: u16) -> f32 {
    // Exponent and fraction are shifted into place; the product with 2¹¹² changes the bias from 15
    // to 127 and normalizes subnormal numbers.
    let magnitude = f32::from_bits(u32::from(half & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
    let top = if half & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(magnitude.to_bits() | top | u32::from(half & 0x8000) << 16)
}

/// Two values as bf16, the first in the lower half.
#[inline(always)]
pub(crate) fn pair_of(low: f32, high: f32) -> u32 {
    bf16(low) | bf16(high) << 16
}

/// The nearest bf16, ties to even.
#[inline(always)]
fn bf16(x: f32) -> u32 {
    let bits = x.to_bits();
    (bits + 0x7fff + ((bits >> 16) & 1)) >> 16
}

/// An operation written once and compiled once for every instruction set. The value holds the
/// operation's arguments.
pub trait Kernel {
    /// What it computes.
    type Output;
    /// Runs it. Implementations are `#[inline(always)]`, as is everything they call, so that the
    /// code is compiled with the features of `isa`.
    fn run<I: Isa>(self, isa: I) -> Self::Output;
}

/// The instruction sets that kernels are compiled for, slowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Four-lane arrays that the compiler maps to the baseline of any architecture.
    Portable,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX-512 with the dot products of BF16 and VNNI.
    Avx512Dot,
    /// As [`Level::Avx512Dot`], with the tile registers of AMX for products of bf16 and of eight
    /// bits.
    Amx,
}

impl Level {
    /// Every level, slowest first.
    pub const ALL: [Level; 5] =
        [Level::Portable, Level::Avx2, Level::Avx512, Level::Avx512Dot, Level::Amx];

    /// The levels that this CPU can run.
    pub fn available() -> impl Iterator<Item = Level> {
        Level::ALL.into_iter().filter(|level| level.is_available())
    }

    /// The fastest level that this CPU can run.
    pub fn best() -> Level {
        Level::available().last().unwrap_or(Level::Portable)
    }

    /// The name that [`Level::from_str`](std::str::FromStr::from_str) accepts.
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
            Level::Avx512Dot => "avx512-dot",
            Level::Amx => "amx",
        }
    }

    /// Whether this CPU can run it.
    pub fn is_available(self) -> bool {
        match self {
            Level::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => Avx2::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => Avx512::<false, false>::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Dot => Avx512::<true, false>::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Level::Amx => Avx512::<true, true>::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx2 | Level::Avx512 | Level::Avx512Dot | Level::Amx => false,
        }
    }

    /// Whether bf16 products are faster than those of f32.
    pub fn has_bf16_dot(self) -> bool {
        self >= Level::Avx512Dot
    }

    /// Whether int8 products take rows of seven bits ([`Isa::PREFERS_U7`]).
    pub(crate) fn prefers_u7(self) -> bool {
        matches!(self, Level::Avx2 | Level::Avx512)
    }

    /// Whether products of bf16 and of eight bits run in matrix hardware ([`Isa::HAS_MATRIX`]).
    pub fn has_matrix(self) -> bool {
        self == Level::Amx
    }

    /// Number of `f32` lanes in a vector of this level.
    pub fn lanes(self) -> usize {
        match self {
            Level::Portable => Portable::LANES,
            Level::Avx2 => 8,
            Level::Avx512 | Level::Avx512Dot | Level::Amx => 16,
        }
    }

    /// Runs `kernel` at this level.
    ///
    /// # Panics
    ///
    /// If the CPU lacks it.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        const LACKING: &str = "this CPU lacks the SIMD level";
        match self {
            Level::Portable => kernel.run(Portable),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => Avx2::detect().expect(LACKING).run(kernel),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => Avx512::<false, false>::detect().expect(LACKING).run(kernel),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Dot => Avx512::<true, false>::detect().expect(LACKING).run(kernel),
            #[cfg(target_arch = "x86_64")]
            Level::Amx => Avx512::<true, true>::detect().expect(LACKING).run(kernel),
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx2 | Level::Avx512 | Level::Avx512Dot | Level::Amx => panic!("{LACKING}"),
        }
    }
}

impl std::str::FromStr for Level {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let level = Level::ALL.into_iter().find(|level| level.name() == name);
        match level {
            Some(level) if level.is_available() => Ok(level),
            Some(_) => {
                Err(format!("this CPU lacks `{name}`; its best is `{}`", Level::best().name()))
            }
            None => Err(format!(
                "unknown SIMD level `{name}`; the levels are {}",
                Level::ALL.map(Level::name).join(", ")
            )),
        }
    }
}

#[cfg(test)]
mod tests;
