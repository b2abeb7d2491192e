//! AVX-512: sixteen lanes.

use super::{HIGH, amx, proven};
use crate::isa::{Isa, Kernel, Product, define_product, dot_of_bytes, dot_of_pairs, pair_of};
use std::arch::x86_64::*;

/// AVX-512 (F, BW, DQ, VL: Skylake-X, Zen 4 and later). With `DOT` also the dot products
/// of BF16 and VNNI (Sapphire Rapids, Zen 4), with `MATRIX` the tiles of AMX (Sapphire Rapids).
#[derive(Clone, Copy)]
pub(crate) struct Avx512<const DOT: bool, const MATRIX: bool> {
    _detected: (),
}

impl<const DOT: bool, const MATRIX: bool> Avx512<DOT, MATRIX> {
    /// A token, if the CPU has the features.
    #[inline]
    pub(crate) fn detect() -> Option<Self> {
        let base = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("popcnt");
        let dot = is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512vnni");
        let has_all = base && (dot || !DOT) && (!MATRIX || amx::is_available());
        has_all.then_some(Self { _detected: () })
    }

    /// Enters code compiled for this instruction set.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
        fn enter<K: Kernel, I: Isa>(isa: I, kernel: K) -> K::Output {
            kernel.run(isa)
        }
        #[target_feature(
            enable = "popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni"
        )]
        fn enter_dot<K: Kernel, I: Isa>(isa: I, kernel: K) -> K::Output {
            kernel.run(isa)
        }
        // SAFETY: a token with `MATRIX` exists only if `detect` found AMX.
        let _tiles = MATRIX.then(|| unsafe { amx::Tiles::configure() });
        if DOT {
            // SAFETY: a token with `DOT` exists only if `detect` found every feature enabled here.
            unsafe { enter_dot(self, kernel) }
        } else {
            // SAFETY: as above, for a token without `DOT`.
            unsafe { enter(self, kernel) }
        }
    }
}

impl<const DOT: bool, const MATRIX: bool> Isa for Avx512<DOT, MATRIX> {
    const LANES: usize = 16;
    type F32 = __m512;
    type Words = __m512i;
    const HAS_MATRIX: bool = MATRIX;
    const PREFERS_U7: bool = !DOT;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        proven!(_mm512_set1_ps(x))
    }
    #[inline(always)]
    fn load(self, src: &[f32]) -> __m512 {
        let src = src[..16].as_ptr();
        proven!(_mm512_loadu_ps(src))
    }
    #[inline(always)]
    fn load_bf16_pairs(self, src: &[u16]) -> [__m512; 2] {
        let src = src[..32].as_ptr().cast();
        let pairs = proven!(_mm512_loadu_si512(src));
        let even = proven!(_mm512_slli_epi32::<16>(pairs));
        let mask = proven!(_mm512_set1_epi32(HIGH));
        let odd = proven!(_mm512_and_si512(pairs, mask));
        [even, odd].map(|bits| proven!(_mm512_castsi512_ps(bits)))
    }
    #[inline(always)]
    fn load_f16(self, src: &[u16]) -> __m512 {
        let src = src[..16].as_ptr().cast();
        let half = proven!(_mm256_loadu_si256(src));
        proven!(_mm512_cvtph_ps(half))
    }
    #[inline(always)]
    fn store(self, x: __m512, dst: &mut [f32]) {
        let dst = dst[..16].as_mut_ptr();
        proven!(_mm512_storeu_ps(dst, x));
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        proven!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        proven!(_mm512_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        proven!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        proven!(_mm512_div_ps(a, b))
    }
    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        proven!(_mm512_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        proven!(_mm512_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        proven!(_mm512_min_ps(a, b))
    }
    #[inline(always)]
    fn round(self, x: __m512) -> __m512 {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        proven!(_mm512_roundscale_ps::<NEAREST>(x))
    }
    #[inline(always)]
    fn mul_exp2(self, x: __m512, n: __m512) -> __m512 {
        proven!(_mm512_scalef_ps(x, n))
    }
    #[inline(always)]
    fn sum(self, x: __m512) -> f32 {
        let mut lanes = [0.0; 16];
        self.store(x, &mut lanes);
        let mut width = 8;
        while width > 0 {
            for i in 0..width {
                lanes[i] += lanes[i + width];
            }
            width /= 2;
        }
        lanes[0]
    }
    #[inline(always)]
    fn zip(self, a: __m512, b: __m512) -> [__m512; 2] {
        let half = |first: i32| {
            let lane = |i: i32| first + i / 2 + if i % 2 == 0 { 0 } else { 16 };
            let lanes: [i32; 16] = std::array::from_fn(|i| lane(i as i32));
            let order = proven!(_mm512_loadu_si512(lanes.as_ptr().cast()));
            proven!(_mm512_permutex2var_ps(a, order, b))
        };
        [half(0), half(8)]
    }
    #[inline(always)]
    fn prefetch<T>(self, line: &[T]) {
        proven!(_mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()));
    }
    #[inline(always)]
    fn load_words(self, src: &[u32]) -> __m512i {
        let src = src[..16].as_ptr().cast();
        proven!(_mm512_loadu_si512(src))
    }
    #[inline(always)]
    fn splat_word(self, word: u32) -> __m512i {
        proven!(_mm512_set1_epi32(word.cast_signed()))
    }
    #[inline(always)]
    fn store_words(self, x: __m512i, dst: &mut [u32]) {
        let dst = dst[..16].as_mut_ptr().cast();
        proven!(_mm512_storeu_si512(dst, x));
    }
    #[inline(always)]
    fn add_words(self, a: __m512i, b: __m512i) -> __m512i {
        proven!(_mm512_add_epi32(a, b))
    }
    #[inline(always)]
    fn mul_words(self, a: __m512i, b: __m512i) -> __m512i {
        proven!(_mm512_mullo_epi32(a, b))
    }
    #[inline(always)]
    fn f32_to_bits(self, x: __m512) -> __m512i {
        proven!(_mm512_castps_si512(x))
    }
    #[inline(always)]
    fn bits_to_f32(self, x: __m512i) -> __m512 {
        proven!(_mm512_castsi512_ps(x))
    }
    #[inline(always)]
    fn ints_to_f32(self, x: __m512i) -> __m512 {
        proven!(_mm512_cvtepi32_ps(x))
    }
    #[inline(always)]
    fn to_ints(self, x: __m512) -> __m512i {
        proven!(_mm512_cvtps_epi32(x))
    }
    #[inline(always)]
    fn store_pairs(self, low: __m512, high: __m512, dst: &mut [u32]) {
        let dst = dst[..16].as_mut_ptr().cast();
        if DOT {
            let widened = |x: __m512| {
                let half = proven!(_mm512_cvtneps_pbh(x));
                // SAFETY: both types are 256 bits of any content.
                let half = unsafe { std::mem::transmute::<__m256bh, __m256i>(half) };
                proven!(_mm512_cvtepu16_epi32(half))
            };
            let high = proven!(_mm512_slli_epi32::<16>(widened(high)));
            let pairs = proven!(_mm512_or_si512(widened(low), high));
            return proven!(_mm512_storeu_si512(dst, pairs));
        }
        // As `bf16`: adds half of the last place that is kept, less one if that bit is 0.
        let round = |x: __m512| {
            let bits = proven!(_mm512_castps_si512(x));
            let shifted = proven!(_mm512_srli_epi32::<16>(bits));
            let one = proven!(_mm512_set1_epi32(1));
            let odd = proven!(_mm512_and_si512(shifted, one));
            let half = proven!(_mm512_set1_epi32(0x7fff));
            let half = proven!(_mm512_add_epi32(half, odd));
            proven!(_mm512_add_epi32(bits, half))
        };
        let low = proven!(_mm512_srli_epi32::<16>(round(low)));
        let mask = proven!(_mm512_set1_epi32(HIGH));
        let high = proven!(_mm512_and_si512(round(high), mask));
        let pairs = proven!(_mm512_or_si512(low, high));
        proven!(_mm512_storeu_si512(dst, pairs));
    }
    #[inline(always)]
    fn dot_bf16(self, a: __m512i, b: __m512i, sums: __m512) -> __m512 {
        if DOT {
            // SAFETY: both types are 512 bits of any content.
            let [a, b] = [a, b].map(|x| unsafe { std::mem::transmute::<__m512i, __m512bh>(x) });
            return proven!(_mm512_dpbf16_ps(sums, a, b));
        }
        let halves = |x: __m512i| {
            let low = proven!(_mm512_slli_epi32::<16>(x));
            let mask = proven!(_mm512_set1_epi32(HIGH));
            let high = proven!(_mm512_and_si512(x, mask));
            [low, high].map(|x| proven!(_mm512_castsi512_ps(x)))
        };
        let ([a0, a1], [b0, b1]) = (halves(a), halves(b));
        self.mul_add(a1, b1, self.mul_add(a0, b0, sums))
    }
    #[inline(always)]
    fn dot_u8i8(self, a: __m512i, b: __m512i, sums: __m512i) -> __m512i {
        if DOT {
            return proven!(_mm512_dpbusd_epi32(sums, a, b));
        }
        // Bytes are multiplied as 16-bit lanes: a sum of two products of up to 255 · 128 needs 17
        // bits, which `madd` has; its 8-bit counterpart saturates.
        let low = proven!(_mm512_set1_epi16(0xff));
        let even = |x: __m512i| proven!(_mm512_and_si512(x, low));
        let signed = |x: __m512i| proven!(_mm512_srai_epi16::<8>(x));
        let (a_even, a_odd) = (even(a), proven!(_mm512_srli_epi16::<8>(a)));
        let shifted = proven!(_mm512_slli_epi16::<8>(b));
        let (b_even, b_odd) = (signed(shifted), signed(b));
        let products = proven!(_mm512_madd_epi16(a_even, b_even));
        let sums = proven!(_mm512_add_epi32(sums, products));
        let products = proven!(_mm512_madd_epi16(a_odd, b_odd));
        proven!(_mm512_add_epi32(sums, products))
    }
    #[inline(always)]
    fn dot_u7i8(self, a: __m512i, b: __m512i, sums: __m512i) -> __m512i {
        if DOT {
            return self.dot_u8i8(a, b, sums);
        }
        // A sum of two products of up to 127 · 128 fits 16 bits, so nothing saturates.
        let products = proven!(_mm512_maddubs_epi16(a, b));
        let ones = proven!(_mm512_set1_epi16(1));
        let products = proven!(_mm512_madd_epi16(products, ones));
        proven!(_mm512_add_epi32(sums, products))
    }
    #[inline(always)]
    fn store_bytes(self, x: [__m512i; 4], dst: &mut [u32]) {
        for (x, to) in x.into_iter().zip(dst[..16].chunks_exact_mut(4)) {
            let bytes = proven!(_mm512_cvtepi32_epi8(x));
            let to = to.as_mut_ptr().cast();
            proven!(_mm_storeu_si128(to, bytes));
        }
    }
    #[inline(always)]
    fn store_bf16(self, first: __m512, second: __m512, dst: &mut [u32]) {
        let dst = dst[..16].as_mut_ptr().cast();
        if DOT {
            let words = proven!(_mm512_cvtne2ps_pbh(second, first));
            // SAFETY: both types are 512 bits of any content.
            let words = unsafe { std::mem::transmute::<__m512bh, __m512i>(words) };
            return proven!(_mm512_storeu_si512(dst, words));
        }
        let mut lanes = [0.0; 32];
        self.store(first, &mut lanes);
        self.store(second, &mut lanes[16..]);
        let pairs: [u32; 16] = std::array::from_fn(|i| pair_of(lanes[2 * i], lanes[2 * i + 1]));
        let pairs = self.load_words(&pairs);
        proven!(_mm512_storeu_si512(dst, pairs));
    }
    #[inline(always)]
    fn matrix_bf16(self, a: &[u32], b: &[u32], sums: &mut Product) {
        if MATRIX {
            // SAFETY: the token is inside `run`, which has configured the tiles.
            unsafe { amx::product_bf16(a, b, sums) }
        } else {
            define_product(a, b, sums, dot_of_pairs);
        }
    }
    #[inline(always)]
    fn matrix_u8i8(self, a: &[u32], b: &[u32], sums: &mut Product) {
        if MATRIX {
            // SAFETY: as above.
            unsafe { amx::product_u8i8(a, b, sums) }
        } else {
            define_product(a, b, sums, dot_of_bytes);
        }
    }
}
