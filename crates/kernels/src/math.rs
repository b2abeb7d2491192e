//! Elementary functions on vectors.

use crate::isa::Isa;

/// Below this, `2^x` would leave the normal range; smaller arguments are replaced by it.
const LOWEST_EXPONENT: f32 = -126.0;

/// `2^x` for x ≤ 0; below −126 it is practically zero.
///
/// x = n + r with |r| ≤ ½, then the polynomial of degree 5 whose largest relative error is smallest,
/// 7.5e-8 (found by Lawson's iteration), and an exponent shift. Largest relative error measured
/// against f64: 2.4e-7 (`exponentials_are_within_two_units_in_the_last_place`).
#[inline(always)]
pub(crate) fn exp2<I: Isa>(v: I, x: I::F32) -> I::F32 {
    const COEFFICIENTS: [f32; 6] =
        [1.327_647_2e-3, 9.675_541e-3, 5.550_713_3e-2, 0.240_221_2, 0.693_146_97, 1.000_000_1];
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

/// Exact GELU, `x Φ(x)`, with `Φ(x) = ½ + x P(x²)` up to |x| = 5.2, where Φ is 1 or 0 in f32.
///
/// P is the polynomial of degree 14 with the smallest error of Φ, 1.1e-8 (found by Lawson's
/// iteration). Its argument is mapped to −1..1, where the powers do not cancel; even and odd powers
/// are summed apart, which halves the latency. Largest absolute error measured against f64:
/// 2.7e-7 · max(1, |x|) (`gelu_is_the_exact_erf_form`); the tanh form differs by 4.7e-4.
#[inline(always)]
pub(crate) fn gelu<I: Isa>(v: I, x: I::F32) -> I::F32 {
    const LIMIT: f32 = 5.2;
    const EVEN: [f32; 8] = [
        1.940_570_2e-4,
        6.242_385e-4,
        2.637_089_7e-3,
        8.023_237e-3,
        1.813_055e-2,
        3.196_270_5e-2,
        5.002_61e-2,
        0.135_949_98,
    ];
    const ODD: [f32; 7] = [
        -5.545_507e-4,
        -9.999_255e-4,
        -5.044_86e-3,
        -1.236_456_1e-2,
        -2.476_078_4e-2,
        -3.992_566_4e-2,
        -6.774_38e-2,
    ];
    let square = v.min(v.mul(x, x), v.splat(LIMIT * LIMIT));
    let s = v.mul_add(square, v.splat(2.0 / (LIMIT * LIMIT)), v.splat(-1.0));
    let s2 = v.mul(s, s);
    let p = v.mul_add(polynomial(v, s2, ODD), s, polynomial(v, s2, EVEN));
    // Past the limit, x P leaves the range of ±½.
    let phi = v.min(v.max(v.mul_add(x, p, v.splat(0.5)), v.splat(0.0)), v.splat(1.0));
    v.mul(x, phi)
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
            let worst = worst(level, Function::Exp2, LOWEST_EXPONENT, f64::exp2);
            println!("{level:?}: largest relative error of exp2 {worst:.2e}");
            assert!(worst < 2.4e-7, "{level:?}: {worst:e}");
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
            for function in [Function::Exp2, Function::Exp2ForBf16] {
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
