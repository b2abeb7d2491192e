#![expect(unsafe_code, reason = "intrinsics; a token proves that the CPU has the features")]

use super::{Isa, Kernel};
use std::arch::x86_64::*;

/// AVX2 with FMA: Haswell, Zen 1, and what came after.
#[derive(Clone, Copy)]
pub struct Avx2 {
    _detected: (),
}

impl Avx2 {
    /// A token, if the CPU has AVX2 and FMA.
    #[inline]
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"))
            .then_some(Self { _detected: () })
    }

    /// Enters code compiled for this instruction set.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2", enable = "fma")]
        fn enter<K: Kernel>(isa: Avx2, kernel: K) -> K::Output {
            kernel.run(isa)
        }
        // SAFETY: `self` exists only if `detect` found every feature that `enter` enables.
        unsafe { enter(self, kernel) }
    }
}

/// Runs one intrinsic that the token in scope proves available.
macro_rules! proven {
    ($e:expr) => {
        // SAFETY: the method has a token, so `detect` found the features; pointers come from slices
        // that the expression's arguments cut to the vector's length.
        unsafe { $e }
    };
}

impl Isa for Avx2 {
    const LANES: usize = 8;
    type F32 = __m256;

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
    fn load_bf16(self, src: &[u16]) -> __m256 {
        let src = src[..8].as_ptr().cast();
        let half = proven!(_mm_loadu_si128(src));
        let wide = proven!(_mm256_cvtepu16_epi32(half));
        let bits = proven!(_mm256_slli_epi32::<16>(wide));
        proven!(_mm256_castsi256_ps(bits))
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
    fn round(self, x: __m256) -> __m256 {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        proven!(_mm256_round_ps::<NEAREST>(x))
    }
    #[inline(always)]
    fn exp2_integral(self, n: __m256) -> __m256 {
        let n = proven!(_mm256_cvtps_epi32(n));
        let bias = proven!(_mm256_set1_epi32(127));
        let exponent = proven!(_mm256_add_epi32(n, bias));
        let bits = proven!(_mm256_slli_epi32::<23>(exponent));
        proven!(_mm256_castsi256_ps(bits))
    }
    #[inline(always)]
    fn sum(self, x: __m256) -> f32 {
        let mut lanes = [0.0; 8];
        self.store(x, &mut lanes);
        let [a, b, c, d, e, f, g, h] = lanes;
        ((a + e) + (b + f)) + ((c + g) + (d + h))
    }
}
