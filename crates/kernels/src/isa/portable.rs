use super::{Isa, dot_of_bytes, f16_to_f32, pair_of};

const LANES: usize = 4;

/// Four-lane arrays: the fallback for every architecture, and the easiest of the levels to read.
///
/// Four lanes are one register of SSE2 and NEON, which the compiler uses by itself.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

#[inline(always)]
fn words(f: impl Fn(usize) -> u32) -> [u32; LANES] {
    [f(0), f(1), f(2), f(3)]
}

#[inline(always)]
fn lanes(f: impl Fn(usize) -> f32) -> [f32; LANES] {
    [f(0), f(1), f(2), f(3)]
}

impl Isa for Portable {
    const LANES: usize = LANES;
    type F32 = [f32; LANES];
    type Words = [u32; LANES];

    #[inline(always)]
    fn splat(self, x: f32) -> [f32; LANES] {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, src: &[f32]) -> [f32; LANES] {
        lanes(|i| src[..LANES][i])
    }
    #[inline(always)]
    fn load_bf16_pairs(self, src: &[u16]) -> [[f32; LANES]; 2] {
        let src = &src[..2 * LANES];
        [0, 1].map(|odd| lanes(|i| f32::from_bits(u32::from(src[2 * i + odd]) << 16)))
    }
    #[inline(always)]
    fn load_f16(self, src: &[u16]) -> [f32; LANES] {
        lanes(|i| f16_to_f32(src[..LANES][i]))
    }
    #[inline(always)]
    fn store(self, x: [f32; LANES], dst: &mut [f32]) {
        dst[..LANES].copy_from_slice(&x);
    }
    #[inline(always)]
    fn add(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        lanes(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        lanes(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        lanes(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        lanes(|i| a[i] / b[i])
    }
    /// Without fused hardware `f32::mul_add` is a library call, a hundred times slower.
    #[inline(always)]
    fn mul_add(self, a: [f32; LANES], b: [f32; LANES], c: [f32; LANES]) -> [f32; LANES] {
        if cfg!(target_feature = "fma") || cfg!(target_feature = "neon") {
            lanes(|i| a[i].mul_add(b[i], c[i]))
        } else {
            lanes(|i| a[i] * b[i] + c[i])
        }
    }
    #[inline(always)]
    fn max(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        lanes(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn min(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        lanes(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    /// Adding 1.5 · 2²³ leaves no bits for a fraction, so the addition itself rounds to even.
    /// `f32::round_ties_even` is a library call on SSE2. Valid below 2²² in magnitude, where every
    /// caller stays; larger values are integers already.
    #[inline(always)]
    fn round(self, x: [f32; LANES]) -> [f32; LANES] {
        const SHIFT: f32 = 12_582_912.0;
        lanes(|i| (x[i] + SHIFT) - SHIFT)
    }
    #[inline(always)]
    fn mul_exp2(self, x: [f32; LANES], n: [f32; LANES]) -> [f32; LANES] {
        lanes(|i| x[i] * f32::from_bits(((n[i] as i32 + 127) << 23) as u32))
    }
    #[inline(always)]
    fn sum(self, x: [f32; LANES]) -> f32 {
        (x[0] + x[1]) + (x[2] + x[3])
    }
    #[inline(always)]
    fn zip(self, a: [f32; LANES], b: [f32; LANES]) -> [[f32; LANES]; 2] {
        [[a[0], b[0], a[1], b[1]], [a[2], b[2], a[3], b[3]]]
    }
    #[inline(always)]
    fn load_words(self, src: &[u32]) -> [u32; LANES] {
        words(|i| src[..LANES][i])
    }
    #[inline(always)]
    fn splat_word(self, word: u32) -> [u32; LANES] {
        [word; LANES]
    }
    #[inline(always)]
    fn store_words(self, x: [u32; LANES], dst: &mut [u32]) {
        dst[..LANES].copy_from_slice(&x);
    }
    #[inline(always)]
    fn add_words(self, a: [u32; LANES], b: [u32; LANES]) -> [u32; LANES] {
        words(|i| a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    fn mul_words(self, a: [u32; LANES], b: [u32; LANES]) -> [u32; LANES] {
        words(|i| a[i].wrapping_mul(b[i]))
    }
    #[inline(always)]
    fn f32_to_bits(self, x: [f32; LANES]) -> [u32; LANES] {
        words(|i| x[i].to_bits())
    }
    #[inline(always)]
    fn bits_to_f32(self, x: [u32; LANES]) -> [f32; LANES] {
        lanes(|i| f32::from_bits(x[i]))
    }
    #[inline(always)]
    fn ints_to_f32(self, x: [u32; LANES]) -> [f32; LANES] {
        lanes(|i| x[i].cast_signed() as f32)
    }
    #[inline(always)]
    fn to_ints(self, x: [f32; LANES]) -> [u32; LANES] {
        let x = self.round(x);
        words(|i| (x[i] as i32).cast_unsigned())
    }
    #[inline(always)]
    fn store_pairs(self, low: [f32; LANES], high: [f32; LANES], dst: &mut [u32]) {
        for (to, (low, high)) in dst[..LANES].iter_mut().zip(low.into_iter().zip(high)) {
            *to = pair_of(low, high);
        }
    }
    #[inline(always)]
    fn dot_bf16(self, a: [u32; LANES], b: [u32; LANES], sums: [f32; LANES]) -> [f32; LANES] {
        let low = |x: [u32; LANES]| lanes(|i| f32::from_bits(x[i] << 16));
        let high = |x: [u32; LANES]| lanes(|i| f32::from_bits(x[i] & 0xffff_0000));
        self.mul_add(high(a), high(b), self.mul_add(low(a), low(b), sums))
    }
    #[inline(always)]
    fn dot_u8i8(self, a: [u32; LANES], b: [u32; LANES], sums: [u32; LANES]) -> [u32; LANES] {
        words(|i| dot_of_bytes(sums[i], a[i], b[i]))
    }
}
