//! Instruction sets as values.
//!
//! A token such as `Avx2` can only be obtained from its `detect`, so holding one proves that the
//! CPU has the features, and every operation on it is safe to call. The `unsafe` of intrinsics stays
//! in the files of this folder, and so does `cfg(target_arch)`.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{Avx2, Avx512};

/// Rows and columns of a product of [`Isa::matrix_bf16`] and [`Isa::matrix_u8i8`].
pub const MATRIX: usize = 32;
/// A product of [`MATRIX`] rows and [`MATRIX`] columns, row by row: the bits of f32, or i32.
pub type Product = [u32; MATRIX * MATRIX];
/// Words of the depth that a block of packed rows holds: a cache line, and a row of a tile register.
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
    /// A vector of `LANES` 32-bit words: integers, or two bf16 values or four of eight bits in each,
    /// the first in the lowest bits.
    type Words: Copy;
    /// Whether products of whole matrices have hardware of their own.
    const HAS_MATRIX: bool = false;

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::F32;
    /// The first `LANES` values of `src`.
    fn load(self, src: &[f32]) -> Self::F32;
    /// The first `LANES` bf16 values of `src`, widened exactly.
    fn load_bf16(self, src: &[u16]) -> Self::F32;
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
    /// The nearest integer, ties to even.
    fn round(self, x: Self::F32) -> Self::F32;
    /// `x · 2^n` for integral n in `-126..=127`.
    fn mul_exp2(self, x: Self::F32, n: Self::F32) -> Self::F32;
    /// Sum of all lanes.
    fn sum(self, x: Self::F32) -> f32;
    /// The first `LANES` words of `src`.
    fn load_words(self, src: &[u32]) -> Self::Words;
    /// All lanes `word`.
    fn splat_word(self, word: u32) -> Self::Words;
    /// Writes all lanes to the front of `dst`.
    fn store_words(self, x: Self::Words, dst: &mut [u32]);
    /// `a + b` of 32-bit integers, modulo 2³².
    fn add_words(self, a: Self::Words, b: Self::Words) -> Self::Words;
    /// The f32 whose bits each word is.
    fn bits_to_f32(self, x: Self::Words) -> Self::F32;
    /// The f32 nearest to each signed integer.
    fn ints_to_f32(self, x: Self::Words) -> Self::F32;
    /// The integer nearest to each number, ties to even, for magnitudes below 2²².
    fn to_ints(self, x: Self::F32) -> Self::Words;
    /// Rounds to bf16 and writes `LANES` pairs, a number of `low` and one of `high` each, to the
    /// front of `dst`.
    fn store_pairs(self, low: Self::F32, high: Self::F32, dst: &mut [u32]);
    /// `sums + a₀ b₀ + a₁ b₁` for the bf16 pairs of each lane, in f32; one instruction from
    /// [`Level::Avx512Dot`] on, which takes subnormal numbers for zero.
    fn dot_bf16(self, a: Self::Words, b: Self::Words, sums: Self::F32) -> Self::F32;
    /// `sums + a₀ b₀ + a₁ b₁ + a₂ b₂ + a₃ b₃` for the bytes of each lane, those of `a` unsigned and
    /// those of `b` signed; exact modulo 2³².
    fn dot_u8i8(self, a: Self::Words, b: Self::Words, sums: Self::Words) -> Self::Words;

    /// Rounds the `2 · LANES` numbers of `first` and `second` to bf16 and writes them, in their
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

    /// The product of [`MATRIX`] rows with [`MATRIX`] columns, bf16 pairs in every word, as f32 bits:
    /// `a` is `[blocks, MATRIX, BLOCK]`, `b` is `[blocks, BLOCK, MATRIX]`. Pairs are added in the
    /// order of the depth. This is the definition; hardware takes its place where
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

    /// Up to `LANES` values of `src`; lanes past its end are zero.
    #[inline(always)]
    fn load_partial(self, src: &[f32]) -> Self::F32 {
        let mut lanes = [0.0; MAX_LANES];
        lanes[..src.len()].copy_from_slice(src);
        self.load(&lanes)
    }

    /// Writes the first `dst.len()` lanes, at most `LANES`.
    #[inline(always)]
    fn store_partial(self, x: Self::F32, dst: &mut [f32]) {
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

/// `sum + a₀ b₀ + a₁ b₁` of bf16 pairs, for and as the bits of an f32.
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

/// IEEE half precision → single precision, exact; infinities and NaN stay what they are.
#[inline(always)]
pub(crate) fn f16_to_f32(half: u16) -> f32 {
    // Exponent and fraction move to their places; the product with 2¹¹² moves the bias from 15 to 127
    // and normalises subnormal numbers on the way.
    let magnitude = f32::from_bits(u32::from(half & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
    let top = if half & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(magnitude.to_bits() | top | u32::from(half & 0x8000) << 16)
}

/// Two numbers as bf16, the first in the lower half.
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
    /// Runs it. Implementations are `#[inline(always)]`, as is all they call, so that the code is
    /// compiled with the features of `isa`.
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
    /// As before, and the tile registers of AMX for products of bf16 and of eight bits.
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

    /// The name used on the command line.
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

    /// Whether products of bf16 and of eight bits run in matrix hardware ([`Isa::HAS_MATRIX`]).
    pub fn has_matrix(self) -> bool {
        self == Level::Amx
    }

    /// Vectors of this level, in lanes.
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
                "unknown SIMD level `{name}`; there are {}",
                Level::ALL.map(Level::name).join(", ")
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pair whose halves differ in every lane, small integers that every sum holds exactly.
    fn pair(lane: usize) -> u32 {
        let half = |x: f32| x.to_bits() >> 16;
        half(lane as f32 - 5.0) | half(2.0 * lane as f32 + 1.0) << 16
    }

    fn halves(pair: u32) -> [f32; 2] {
        [f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000)]
    }

    /// Bytes up to 255, whose signed readings in lane 1 are the smallest and the largest too.
    fn bytes(lane: usize) -> u32 {
        if lane == 1 { 0x807f_ff80 } else { 0xffff_ffff - 0x0307_0b0d * lane as u32 }
    }

    /// Applies every operation to fixed lanes and returns the lanes of each result.
    struct Probe;

    impl Kernel for Probe {
        type Output = Vec<Vec<f32>>;

        #[inline(always)]
        fn run<I: Isa>(self, v: I) -> Vec<Vec<f32>> {
            let a: Vec<f32> = (0..16).map(|i| i as f32 * 1.25 - 7.5).collect();
            let b: Vec<f32> = (0..16).map(|i| 3.0 - i as f32 * 0.5 + 0.125).collect();
            let n: Vec<f32> = (0..16).map(|i| (i * 16 - 120) as f32).collect();
            let half: Vec<u16> = a.iter().map(|x| (x.to_bits() >> 16) as u16).collect();
            let pairs: Vec<u32> = (0..16).map(pair).collect();
            let bytes: Vec<u32> = (0..16).map(bytes).collect();
            let (x, y) = (v.load(&a), v.load(&b));
            let mut results = Vec::new();
            for vector in [
                v.splat(2.5),
                x,
                v.load_bf16(&half),
                v.add(x, y),
                v.sub(x, y),
                v.mul(x, y),
                v.div(x, y),
                v.mul_add(x, y, v.splat(0.75)),
                v.max(x, y),
                v.round(x),
                v.mul_exp2(y, v.load(&n)),
                v.load_partial(&a[..3]),
                v.dot_bf16(v.load_words(&pairs), v.splat_word(pairs[3]), y),
                v.bits_to_f32(v.load_words(&pairs)),
                v.ints_to_f32(v.to_ints(x)),
                v.ints_to_f32(v.add_words(v.to_ints(x), v.splat_word((-9_i32).cast_unsigned()))),
                v.ints_to_f32(v.dot_u8i8(
                    v.load_words(&bytes),
                    v.splat_word(bytes[1]),
                    v.splat_word(7),
                )),
            ] {
                let mut lanes = vec![0.0; I::LANES];
                v.store(vector, &mut lanes);
                results.push(lanes);
            }
            let mut three = vec![0.0; 3];
            v.store_partial(y, &mut three);
            results.push(three);
            results.push(vec![v.sum(x)]);
            results
        }
    }

    #[test]
    fn every_level_agrees_with_the_definition_lane_by_lane() {
        let a = |i: usize| i as f32 * 1.25 - 7.5;
        let b = |i: usize| 3.0 - i as f32 * 0.5 + 0.125;
        for level in Level::available() {
            let lanes = level.lanes();
            let results = level.run(Probe);
            let definitions: [&dyn Fn(usize) -> f32; 17] = [
                &|_| 2.5,
                &a,
                &a,
                &|i| a(i) + b(i),
                &|i| a(i) - b(i),
                &|i| a(i) * b(i),
                &|i| a(i) / b(i),
                &|i| a(i) * b(i) + 0.75,
                &|i| a(i).max(b(i)),
                &|i| a(i).round_ties_even(),
                &|i| b(i) * ((i as i32 * 16 - 120) as f32).exp2(),
                &|i| if i < 3 { a(i) } else { 0.0 },
                &|i| {
                    halves(pair(i))[0] * halves(pair(3))[0]
                        + halves(pair(i))[1] * halves(pair(3))[1]
                        + b(i)
                },
                &|i| f32::from_bits(pair(i)),
                &|i| a(i).round_ties_even(),
                &|i| a(i).round_ties_even() - 9.0,
                &|i| {
                    let signed = bytes(1).to_le_bytes().map(u8::cast_signed);
                    let products = bytes(i).to_le_bytes().into_iter().zip(signed);
                    7.0 + products.map(|(a, b)| f32::from(a) * f32::from(b)).sum::<f32>()
                },
            ];
            for (op, (definition, result)) in definitions.iter().zip(&results).enumerate() {
                let want: Vec<f32> = (0..lanes).map(definition).collect();
                assert_eq!(result[..lanes], want, "{level:?}, operation {op}");
            }
            assert_eq!(results[17], (0..3).map(b).collect::<Vec<_>>(), "{level:?}, store_partial");
            assert_eq!(results[18], [(0..lanes).map(a).sum::<f32>()], "{level:?}, sum");
        }
    }

    /// Every half-precision number, widened.
    struct Halves;

    impl Kernel for Halves {
        type Output = Vec<u32>;

        #[inline(always)]
        fn run<I: Isa>(self, v: I) -> Vec<u32> {
            let halves: Vec<u16> = (0..=u16::MAX).collect();
            let mut wide = vec![0.0; halves.len()];
            for (from, to) in halves.chunks(I::LANES).zip(wide.chunks_mut(I::LANES)) {
                v.store(v.load_f16(from), to);
            }
            wide.iter().map(|x| x.to_bits()).collect()
        }
    }

    /// The definition of half precision, by its parts.
    fn half(bits: u16) -> f64 {
        let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 0x3ff));
        let magnitude = match exponent {
            0 => fraction * 2_f64.powi(-24),
            31 if fraction == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
        };
        if bits >> 15 == 1 { -magnitude } else { magnitude }
    }

    #[test]
    fn every_level_widens_every_half() {
        for level in Level::available() {
            let wide = level.run(Halves);
            for (bits, got) in (0..=u16::MAX).zip(wide) {
                let (got, want) = (f64::from(f32::from_bits(got)), half(bits));
                let same = got == want && got.is_sign_negative() == want.is_sign_negative();
                assert!(same || got.is_nan() && want.is_nan(), "{level:?}, {bits:#06x}: {got}");
            }
        }
    }

    #[test]
    fn bf16_rounds_to_the_nearest_and_ties_to_even() {
        let cases = [
            (1.0, 0x3f80),
            (-2.5, 0xc020),
            (f32::from_bits(0x3f80_8000), 0x3f80),
            (f32::from_bits(0x3f81_8000), 0x3f82),
            (f32::from_bits(0x3f80_8001), 0x3f81),
            (f32::MAX, 0x7f80),
        ];
        for (x, bits) in cases {
            assert_eq!(pair_of(x, 0.0), bits, "{x}");
            assert_eq!(pair_of(0.0, x), bits << 16, "{x}");
        }
    }

    /// Stores pairs of a fixed vector of values that need rounding.
    struct StorePairs;

    impl Kernel for StorePairs {
        type Output = [Vec<u32>; 4];

        #[inline(always)]
        fn run<I: Isa>(self, v: I) -> [Vec<u32>; 4] {
            let bits = |i: usize| [0x3f80_8000, 0x3f81_8000, 0xbf80_8001, 0x0000_0000][i % 4];
            let low: Vec<f32> = (0..16).map(|i| f32::from_bits(bits(i))).collect();
            let high: Vec<f32> = (0..16).map(|i| i as f32 / 3.0).collect();
            let mut stored = vec![0; I::LANES];
            v.store_pairs(v.load(&low), v.load(&high), &mut stored);
            let pairs = low.iter().zip(&high).map(|(l, h)| pair_of(*l, *h)).take(I::LANES);
            let mut in_order = vec![0; I::LANES];
            v.store_bf16(v.load(&low), v.load(&high), &mut in_order);
            let numbers = [&low[..I::LANES], &high[..I::LANES]].concat();
            let ordered = numbers.chunks_exact(2).map(|x| pair_of(x[0], x[1])).collect();
            [stored, pairs.collect(), in_order, ordered]
        }
    }

    #[test]
    fn every_level_rounds_pairs_as_the_definition_does() {
        for level in Level::available() {
            let [got, want, in_order, ordered] = level.run(StorePairs);
            assert_eq!(got, want, "{level:?}");
            assert_eq!(in_order, ordered, "{level:?}");
        }
    }

    /// A product of small integers, which every order of sums holds exactly.
    struct MatrixProduct(usize);

    impl Kernel for MatrixProduct {
        type Output = [Vec<u32>; 4];

        #[inline(always)]
        fn run<I: Isa>(self, v: I) -> [Vec<u32>; 4] {
            let words = self.0 * MATRIX * BLOCK;
            let a: Vec<u32> = (0..words).map(|i| pair(i * 7 % 13)).collect();
            let b: Vec<u32> = (0..words).map(|i| pair(i * 5 % 11)).collect();
            let (mut got, mut want) = ([[1; MATRIX * MATRIX]; 2], [[1; MATRIX * MATRIX]; 2]);
            v.matrix_bf16(&a, &b, &mut got[0]);
            v.matrix_u8i8(&a, &b, &mut got[1]);
            define_product(&a, &b, &mut want[0], dot_of_pairs);
            define_product(&a, &b, &mut want[1], dot_of_bytes);
            [got[0], want[0], got[1], want[1]].map(|product| product.to_vec())
        }
    }

    #[test]
    fn every_level_multiplies_matrices_as_the_definition_does() {
        for level in Level::available() {
            for blocks in [1, 2, 7] {
                let [bf16, bf16_defined, bytes, bytes_defined] = level.run(MatrixProduct(blocks));
                assert_eq!(bf16, bf16_defined, "{level:?}, {blocks} blocks of bf16");
                assert_eq!(bytes, bytes_defined, "{level:?}, {blocks} blocks of bytes");
            }
        }
    }

    #[test]
    fn levels_are_parsed_by_name() {
        assert_eq!("portable".parse(), Ok(Level::Portable));
        assert_eq!(
            "sse9".parse::<Level>(),
            Err("unknown SIMD level `sse9`; there are portable, avx2, avx512, avx512-dot, \
                 amx"
            .to_owned())
        );
    }
}
