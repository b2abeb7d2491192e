//! Sixteen lanes.

use super::{HIGH, proven};
use crate::isa::{Isa, Kernel};
use std::arch::x86_64::*;

/// AVX-512 (F, BW, DQ, VL: Skylake-X, Zen 4, and what came after). With `DOT` also the dot products
/// of BF16 and VNNI (Sapphire Rapids, Zen 4).
#[derive(Clone, Copy)]
pub struct Avx512<const DOT: bool> {
    _detected: (),
}

impl<const DOT: bool> Avx512<DOT> {
    /// A token, if the CPU has the features.
    #[inline]
    pub fn detect() -> Option<Self> {
        let base = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("popcnt");
        let dot = is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512vnni");
        (base && (dot || !DOT)).then_some(Self { _detected: () })
    }

    /// Enters code compiled for this instruction set.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
        fn enter<K: Kernel, const DOT: bool>(isa: Avx512<DOT>, kernel: K) -> K::Output {
            kernel.run(isa)
        }
        #[target_feature(
            enable = "popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni"
        )]
        fn enter_dot<K: Kernel, const DOT: bool>(isa: Avx512<DOT>, kernel: K) -> K::Output {
            kernel.run(isa)
        }
        if DOT {
            // SAFETY: a token with `DOT` exists only if `detect` found every feature enabled here.
            unsafe { enter_dot(self, kernel) }
        } else {
            // SAFETY: as above, for a token without.
            unsafe { enter(self, kernel) }
        }
    }
}

impl<const DOT: bool> Isa for Avx512<DOT> {
    const LANES: usize = 16;
    type F32 = __m512;
    type Pairs = __m512i;
    type Sums = __m512i;

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
    fn load_bf16(self, src: &[u16]) -> __m512 {
        let src = src[..16].as_ptr().cast();
        let half = proven!(_mm256_loadu_si256(src));
        let wide = proven!(_mm512_cvtepu16_epi32(half));
        let bits = proven!(_mm512_slli_epi32::<16>(wide));
        proven!(_mm512_castsi512_ps(bits))
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
    fn load_pairs(self, src: &[u32]) -> __m512i {
        let src = src[..16].as_ptr().cast();
        proven!(_mm512_loadu_si512(src))
    }
    #[inline(always)]
    fn splat_pair(self, pair: u32) -> __m512i {
        proven!(_mm512_set1_epi32(pair.cast_signed()))
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
        // As `bf16`: adds half of the last place that stays, less one if that place is even.
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
    fn load_f16(self, src: &[u16]) -> __m512 {
        let src = src[..16].as_ptr().cast();
        let half = proven!(_mm256_loadu_si256(src));
        proven!(_mm512_cvtph_ps(half))
    }
    #[inline(always)]
    fn zero_sums(self) -> __m512i {
        proven!(_mm512_setzero_si512())
    }
    #[inline(always)]
    fn dot_u8i8(self, a: &[u8], b: &[i8], sums: __m512i) -> __m512i {
        let (a, b) = (a[..64].as_ptr(), b[..64].as_ptr());
        if DOT {
            let (a, b) =
                (proven!(_mm512_loadu_si512(a.cast())), proven!(_mm512_loadu_si512(b.cast())));
            return proven!(_mm512_dpbusd_epi32(sums, a, b));
        }
        let pair_sums = |at: usize| {
            // SAFETY: both slices were cut to 64 values, of which these are 32.
            let (a, b) = unsafe { (a.add(at).cast(), b.add(at).cast()) };
            let (a, b) = (proven!(_mm256_loadu_si256(a)), proven!(_mm256_loadu_si256(b)));
            let (a, b) = (proven!(_mm512_cvtepu8_epi16(a)), proven!(_mm512_cvtepi8_epi16(b)));
            proven!(_mm512_madd_epi16(a, b))
        };
        let both = proven!(_mm512_add_epi32(pair_sums(0), pair_sums(32)));
        proven!(_mm512_add_epi32(sums, both))
    }
    #[inline(always)]
    fn sum_sums(self, sums: __m512i) -> i32 {
        let mut lanes = [0_i32; 16];
        let to = lanes.as_mut_ptr().cast();
        proven!(_mm512_storeu_si512(to, sums));
        lanes.into_iter().sum()
    }
}
