//! AVX2: eight lanes.

use super::{HIGH, proven};
use crate::isa::{Isa, Kernel};
use std::arch::x86_64::*;

/// AVX2 with FMA, F16C and POPCNT: Haswell, Zen 1 and later.
#[derive(Clone, Copy)]
pub(crate) struct Avx2 {
    _detected: (),
}

impl Avx2 {
    /// A token, if the CPU has the features.
    #[inline]
    pub(crate) fn detect() -> Option<Self> {
        let has_all = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("popcnt");
        has_all.then_some(Self { _detected: () })
    }

    /// Enters code compiled for this instruction set.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c,popcnt")]
        fn enter<K: Kernel>(isa: Avx2, kernel: K) -> K::Output {
            kernel.run(isa)
        }
        // SAFETY: `self` exists only if `detect` found every feature that `enter` enables.
        unsafe { enter(self, kernel) }
    }
}

impl Isa for Avx2 {
    const LANES: usize = 8;
    type F32 = __m256;
    type Words = __m256i;
    const PREFERS_U7: bool = true;

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        proven!(_mm256_set1_ps(x))
    }
    #[inline(always)]
    fn load(self, src: &[f32]) -> __m256 {
        let src = src[..8].as_ptr();
        proven!(_mm256_loadu_ps(src))
    }
    #[inline(always)]
    fn load_bf16_pairs(self, src: &[u16]) -> [__m256; 2] {
        let src = src[..16].as_ptr().cast();
        let pairs = proven!(_mm256_loadu_si256(src));
        let even = proven!(_mm256_slli_epi32::<16>(pairs));
        let mask = proven!(_mm256_set1_epi32(HIGH));
        let odd = proven!(_mm256_and_si256(pairs, mask));
        [even, odd].map(|bits| proven!(_mm256_castsi256_ps(bits)))
    }
    #[inline(always)]
    fn load_f16(self, src: &[u16]) -> __m256 {
        let src = src[..8].as_ptr().cast();
        let half = proven!(_mm_loadu_si128(src));
        proven!(_mm256_cvtph_ps(half))
    }
    #[inline(always)]
    fn store(self, x: __m256, dst: &mut [f32]) {
        let dst = dst[..8].as_mut_ptr();
        proven!(_mm256_storeu_ps(dst, x));
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        proven!(_mm256_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        proven!(_mm256_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        proven!(_mm256_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        proven!(_mm256_div_ps(a, b))
    }
    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        proven!(_mm256_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        proven!(_mm256_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        proven!(_mm256_min_ps(a, b))
    }
    #[inline(always)]
    fn round(self, x: __m256) -> __m256 {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        proven!(_mm256_round_ps::<NEAREST>(x))
    }
    #[inline(always)]
    fn mul_exp2(self, x: __m256, n: __m256) -> __m256 {
        let n = proven!(_mm256_cvtps_epi32(n));
        let exponent = proven!(_mm256_slli_epi32::<23>(n));
        self.bits_to_f32(self.add_words(self.f32_to_bits(x), exponent))
    }
    #[inline(always)]
    fn sum(self, x: __m256) -> f32 {
        let mut lanes = [0.0; 8];
        self.store(x, &mut lanes);
        let [a, b, c, d, e, f, g, h] = lanes;
        ((a + e) + (b + f)) + ((c + g) + (d + h))
    }
    #[inline(always)]
    fn zip(self, a: __m256, b: __m256) -> [__m256; 2] {
        // Unpacking works within 128-bit halves, which leaves the quarters out of order.
        let (low, high) = proven!((_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)));
        let first = proven!(_mm256_permute2f128_ps::<0x20>(low, high));
        [first, proven!(_mm256_permute2f128_ps::<0x31>(low, high))]
    }
    #[inline(always)]
    fn prefetch<T>(self, line: &[T]) {
        proven!(_mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()));
    }
    #[inline(always)]
    fn load_words(self, src: &[u32]) -> __m256i {
        let src = src[..8].as_ptr().cast();
        proven!(_mm256_loadu_si256(src))
    }
    #[inline(always)]
    fn splat_word(self, word: u32) -> __m256i {
        proven!(_mm256_set1_epi32(word.cast_signed()))
    }
    #[inline(always)]
    fn store_words(self, x: __m256i, dst: &mut [u32]) {
        let dst = dst[..8].as_mut_ptr().cast();
        proven!(_mm256_storeu_si256(dst, x));
    }
    #[inline(always)]
    fn add_words(self, a: __m256i, b: __m256i) -> __m256i {
        proven!(_mm256_add_epi32(a, b))
    }
    #[inline(always)]
    fn mul_words(self, a: __m256i, b: __m256i) -> __m256i {
        proven!(_mm256_mullo_epi32(a, b))
    }
    #[inline(always)]
    fn f32_to_bits(self, x: __m256) -> __m256i {
        proven!(_mm256_castps_si256(x))
    }
    #[inline(always)]
    fn bits_to_f32(self, x: __m256i) -> __m256 {
        proven!(_mm256_castsi256_ps(x))
    }
    #[inline(always)]
    fn ints_to_f32(self, x: __m256i) -> __m256 {
        proven!(_mm256_cvtepi32_ps(x))
    }
    #[inline(always)]
    fn to_ints(self, x: __m256) -> __m256i {
        proven!(_mm256_cvtps_epi32(x))
    }
    #[inline(always)]
    fn store_pairs(self, low: __m256, high: __m256, dst: &mut [u32]) {
        // As `bf16`: adds half of the last place that is kept, less one if that bit is 0.
        let round = |x: __m256| {
            let bits = proven!(_mm256_castps_si256(x));
            let shifted = proven!(_mm256_srli_epi32::<16>(bits));
            let one = proven!(_mm256_set1_epi32(1));
            let odd = proven!(_mm256_and_si256(shifted, one));
            let half = proven!(_mm256_set1_epi32(0x7fff));
            let half = proven!(_mm256_add_epi32(half, odd));
            proven!(_mm256_add_epi32(bits, half))
        };
        let low = proven!(_mm256_srli_epi32::<16>(round(low)));
        let mask = proven!(_mm256_set1_epi32(HIGH));
        let high = proven!(_mm256_and_si256(round(high), mask));
        let pairs = proven!(_mm256_or_si256(low, high));
        let dst = dst[..8].as_mut_ptr().cast();
        proven!(_mm256_storeu_si256(dst, pairs));
    }
    #[inline(always)]
    fn dot_bf16(self, a: __m256i, b: __m256i, sums: __m256) -> __m256 {
        let halves = |x: __m256i| {
            let low = proven!(_mm256_slli_epi32::<16>(x));
            let mask = proven!(_mm256_set1_epi32(HIGH));
            let high = proven!(_mm256_and_si256(x, mask));
            [low, high].map(|x| proven!(_mm256_castsi256_ps(x)))
        };
        let ([a0, a1], [b0, b1]) = (halves(a), halves(b));
        self.mul_add(a1, b1, self.mul_add(a0, b0, sums))
    }
    #[inline(always)]
    fn dot_u8i8(self, a: __m256i, b: __m256i, sums: __m256i) -> __m256i {
        // Bytes are multiplied as 16-bit lanes: a sum of two products of up to 255 · 128 needs 17
        // bits, which `madd` has; its 8-bit counterpart saturates.
        let low = proven!(_mm256_set1_epi16(0xff));
        let even = |x: __m256i| proven!(_mm256_and_si256(x, low));
        let signed = |x: __m256i| proven!(_mm256_srai_epi16::<8>(x));
        let (a_even, a_odd) = (even(a), proven!(_mm256_srli_epi16::<8>(a)));
        let shifted = proven!(_mm256_slli_epi16::<8>(b));
        let (b_even, b_odd) = (signed(shifted), signed(b));
        let products = proven!(_mm256_madd_epi16(a_even, b_even));
        let sums = proven!(_mm256_add_epi32(sums, products));
        let products = proven!(_mm256_madd_epi16(a_odd, b_odd));
        proven!(_mm256_add_epi32(sums, products))
    }
    #[inline(always)]
    fn dot_u7i8(self, a: __m256i, b: __m256i, sums: __m256i) -> __m256i {
        // A sum of two products of up to 127 · 128 fits 16 bits, so nothing saturates.
        let products = proven!(_mm256_maddubs_epi16(a, b));
        let ones = proven!(_mm256_set1_epi16(1));
        let products = proven!(_mm256_madd_epi16(products, ones));
        proven!(_mm256_add_epi32(sums, products))
    }
    #[inline(always)]
    fn store_bytes(self, [a, b, c, d]: [__m256i; 4], dst: &mut [u32]) {
        let low = proven!(_mm256_packs_epi32(a, b));
        let high = proven!(_mm256_packs_epi32(c, d));
        let bytes = proven!(_mm256_packus_epi16(low, high));
        // Packing works within 128-bit halves: the words are those of a, b, c, d, a, b, c, d.
        let order = proven!(_mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        let bytes = proven!(_mm256_permutevar8x32_epi32(bytes, order));
        self.store_words(bytes, dst);
    }
}
