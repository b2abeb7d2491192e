//! Elementary functions on vectors.

use crate::isa::Isa;

/// Below this, `e^x` would leave the normal range; smaller arguments are replaced by it.
const LOWEST: f32 = -87.3;
/// The same for `2^x`.
const LOWEST_EXPONENT: f32 = -126.0;

/// `e^x` for x ≤ 0, the range of every caller; below −87.3 it is practically zero.
///
/// x = n ln 2 + r with |r| ≤ ln 2 / 2 (ln 2 in two parts, Cody and Waite), then a Taylor polynomial
/// of degree 7 (remainder below 5e-9) and an exponent shift. Largest relative error measured
/// against f64: 1.0e-7 (`exponentials_are_within_two_units_in_the_last_place`).
#[inline(always)]
pub(crate) fn exp<I: Isa>(v: I, x: I::F32) -> I::F32 {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const COEFFICIENTS: [f32; 8] =
        [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let x = v.max(x, v.splat(LOWEST));
    let n = v.round(v.mul(x, v.splat(std::f32::consts::LOG2_E)));
    let r = v.mul_add(n, v.splat(-LN_2_HIGH), x);
    let r = v.mul_add(n, v.splat(-LN_2_LOW), r);
    v.mul_exp2(polynomial(v, r, COEFFICIENTS), n)
}

/// `2^x` for x ≤ 0; below −126 it is practically zero.
///
/// x = n + r with |r| ≤ ½, then the Taylor polynomial of degree 7 (remainder below 5e-9) and an
/// exponent shift. Largest relative error measured against f64: 1.0e-7
/// (`exponentials_are_within_two_units_in_the_last_place`).
#[inline(always)]
pub(crate) fn exp2<I: Isa>(v: I, x: I::F32) -> I::F32 {
    /// `(ln 2)^k / k!`
    const COEFFICIENTS: [f32; 8] = [
        1.525_273_4e-5,
        1.540_353e-4,
        1.333_355_8e-3,
        9.618_129e-3,
        5.550_411e-2,
        0.240_226_5,
        std::f32::consts::LN_2,
        1.0,
    ];
    let x = v.max(x, v.splat(LOWEST_EXPONENT));
    let n = v.round(x);
    v.mul_exp2(polynomial(v, v.sub(x, n), COEFFICIENTS), n)
}

/// As [`exp2`], for results that will be rounded to bf16 (2⁻⁹): the polynomial of degree 3 whose
/// largest relative error is smallest, 7.5e-5 (found by Lawson's iteration; measured against f64 by
/// `exp2_for_bf16_is_far_more_exact_than_bf16`).
#[inline(always)]
pub(crate) fn exp2_for_bf16<I: Isa>(v: I, x: I::F32) -> I::F32 {
    const COEFFICIENTS: [f32; 4] = [0.055_171_67, 0.242_611_13, 0.693_260_99, 0.999_928_07];
    let x = v.max(x, v.splat(LOWEST_EXPONENT));
    let n = v.round(x);
    v.mul_exp2(polynomial(v, v.sub(x, n), COEFFICIENTS), n)
}

/// `c₀ r^(N−1) + … + c_(N−2) r + c_(N−1)`
#[inline(always)]
fn polynomial<I: Isa, const N: usize>(v: I, r: I::F32, coefficients: [f32; N]) -> I::F32 {
    let mut p = v.splat(coefficients[0]);
    for c in &coefficients[1..] {
        p = v.mul_add(p, r, v.splat(*c));
    }
    p
}

/// Exact GELU, `x Φ(x) = max(x, 0) − |x|/2 · erfc(|x|/√2)`: no branch and no cancellation in the
/// negative tail.
///
/// erfc by Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7). Largest absolute error measured
/// against f64: 1.6e-7 · max(1, |x|) (`gelu_is_the_exact_erf_form`); the tanh form differs by
/// 4.7e-4.
#[inline(always)]
pub(crate) fn gelu<I: Isa>(v: I, x: I::F32) -> I::F32 {
    const A: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_7, -0.284_496_72, 0.254_829_6];
    let zero = v.splat(0.0);
    let magnitude = v.max(x, v.sub(zero, x));
    let z = v.mul(magnitude, v.splat(std::f32::consts::FRAC_1_SQRT_2));
    let t = v.div(v.splat(1.0), v.mul_add(z, v.splat(0.327_591_1), v.splat(1.0)));
    let mut p = v.splat(A[0]);
    for a in &A[1..] {
        p = v.mul_add(p, t, v.splat(*a));
    }
    let erfc = v.mul(v.mul(p, t), exp(v, v.sub(zero, v.mul(z, z))));
    let half = v.mul(magnitude, v.splat(0.5));
    v.sub(v.max(x, zero), v.mul(half, erfc))
}

/// `max(x, 0)`
#[inline(always)]
pub(crate) fn relu<I: Isa>(v: I, x: I::F32) -> I::F32 {
    v.max(x, v.splat(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Kernel, Level};

    enum Function {
        Exp,
        Exp2,
        Exp2ForBf16,
        Gelu,
    }

    struct Map<'a>(&'a [f32], Function);

    impl Kernel for Map<'_> {
        type Output = Vec<f32>;

        #[inline(always)]
        fn run<I: Isa>(self, v: I) -> Vec<f32> {
            let mut ys = vec![0.0; self.0.len()];
            for (x, y) in self.0.chunks(I::LANES).zip(ys.chunks_mut(I::LANES)) {
                let x = v.load_partial(x);
                let result = match self.1 {
                    Function::Exp => exp(v, x),
                    Function::Exp2 => exp2(v, x),
                    Function::Exp2ForBf16 => exp2_for_bf16(v, x),
                    Function::Gelu => gelu(v, x),
                };
                v.store_partial(result, y);
            }
            ys
        }
    }

    /// The largest relative error over the range of arguments, from `lowest` to 0.
    fn worst(level: Level, function: Function, lowest: f32, want: fn(f64) -> f64) -> f64 {
        const COUNT: usize = 1_000_000;
        let xs: Vec<f32> = (0..COUNT).map(|i| lowest * (i as f32 / COUNT as f32)).collect();
        let ys = level.run(Map(&xs, function));
        xs.iter().zip(&ys).fold(0.0_f64, |worst, (&x, &y)| {
            let want = want(f64::from(x));
            worst.max((f64::from(y) - want).abs() / want)
        })
    }

    #[test]
    fn exponentials_are_within_two_units_in_the_last_place() {
        for level in Level::available() {
            let exp = worst(level, Function::Exp, LOWEST, f64::exp);
            let exp2 = worst(level, Function::Exp2, LOWEST_EXPONENT, f64::exp2);
            println!("{level:?}: largest relative errors of exp {exp:.2e}, of exp2 {exp2:.2e}");
            assert!(exp < 2.4e-7 && exp2 < 2.4e-7, "{level:?}: {exp:e}, {exp2:e}");
        }
    }

    #[test]
    fn exp2_for_bf16_is_far_more_exact_than_bf16() {
        for level in Level::available() {
            let worst = worst(level, Function::Exp2ForBf16, LOWEST_EXPONENT, f64::exp2);
            println!("{level:?}: largest relative error of exp2 for bf16 {worst:.2e}");
            assert!(worst < 7.6e-5, "{level:?}: {worst:e}");
        }
    }

    #[test]
    fn exponentials_far_below_the_range_vanish() {
        for level in Level::available() {
            for function in [Function::Exp, Function::Exp2, Function::Exp2ForBf16] {
                let ys = level.run(Map(&[f32::NEG_INFINITY, f32::MIN, -1e30, -200.0], function));
                assert!(ys.iter().all(|&y| (0.0..1.3e-38).contains(&y)), "{level:?}: {ys:?}");
            }
        }
    }

    #[test]
    fn gelu_is_the_exact_erf_form() {
        let xs: Vec<f32> = (0..400_001).map(|i| -20.0 + i as f32 * 1e-4).collect();
        for level in Level::available() {
            let ys = level.run(Map(&xs, Function::Gelu));
            let worst = xs.iter().zip(&ys).fold(0.0_f64, |worst, (&x, &y)| {
                let x = f64::from(x);
                let want = 0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
                worst.max((f64::from(y) - want).abs() / x.abs().max(1.0))
            });
            println!("{level:?}: largest error of gelu {worst:.2e}");
            assert!(worst < 4e-7, "{level:?}: {worst:e}");
        }
    }
}
