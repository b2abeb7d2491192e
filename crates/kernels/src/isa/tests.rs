use super::*;

/// A pair whose halves differ in every lane: small integers, whose sums are exact.
fn pair(lane: usize) -> u32 {
    let half = |x: f32| x.to_bits() >> 16;
    half(lane as f32 - 5.0) | half(2.0 * lane as f32 + 1.0) << 16
}

fn halves(pair: u32) -> [f32; 2] {
    [f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000)]
}

/// Bytes up to 255; read as signed, those of lane 1 include the smallest and the largest.
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
        let half = |x: f32| (x.to_bits() >> 16) as u16;
        let halves: Vec<u16> = a.iter().zip(&b).flat_map(|(a, b)| [half(*a), half(*b)]).collect();
        let pairs: Vec<u32> = (0..16).map(pair).collect();
        let bytes: Vec<u32> = (0..16).map(bytes).collect();
        let (x, y) = (v.load(&a), v.load(&b));
        let mut results = Vec::new();
        for vector in [
            v.splat(2.5),
            x,
            v.load_bf16_pairs(&halves)[0],
            v.load_bf16_pairs(&halves)[1],
            v.min(x, y),
            v.bits_to_f32(v.f32_to_bits(y)),
            v.ints_to_f32(v.mul_words(v.to_ints(x), v.to_ints(y))),
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
            v.zip(x, y)[0],
            v.zip(x, y)[1],
            v.ints_to_f32(v.to_ints(x)),
            v.ints_to_f32(v.add_words(v.to_ints(x), v.splat_word((-9_i32).cast_unsigned()))),
            v.ints_to_f32(v.dot_u8i8(
                v.load_words(&bytes),
                v.splat_word(bytes[1]),
                v.splat_word(7),
            )),
            v.ints_to_f32(v.dot_u7i8(
                v.splat_word(bytes[1] & 0x7f7f_7f7f),
                v.load_words(&bytes),
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
        let definitions: [&dyn Fn(usize) -> f32; 24] = [
            &|_| 2.5,
            &a,
            &a,
            &b,
            &|i| a(i).min(b(i)),
            &b,
            &|i| a(i).round_ties_even() * b(i).round_ties_even(),
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
            &|i| if i % 2 == 0 { a(i / 2) } else { b(i / 2) },
            &|i| if i % 2 == 0 { a((lanes + i) / 2) } else { b((lanes + i) / 2) },
            &|i| a(i).round_ties_even(),
            &|i| a(i).round_ties_even() - 9.0,
            &|i| {
                let signed = bytes(1).to_le_bytes().map(u8::cast_signed);
                let products = bytes(i).to_le_bytes().into_iter().zip(signed);
                7.0 + products.map(|(a, b)| f32::from(a) * f32::from(b)).sum::<f32>()
            },
            &|i| {
                // 127 · 127 and 127 · −128 twice in neighbours: the largest sums of 16 bits.
                let unsigned = bytes(1).to_le_bytes().map(|byte| byte & 127);
                let products = unsigned.into_iter().zip(bytes(i).to_le_bytes());
                let product = |(a, b): (u8, u8)| f32::from(a) * f32::from(b.cast_signed());
                7.0 + products.map(product).sum::<f32>()
            },
        ];
        for (op, (definition, result)) in definitions.iter().zip(&results).enumerate() {
            let want: Vec<f32> = (0..lanes).map(definition).collect();
            assert_eq!(result[..lanes], want, "{level:?}, operation {op}");
        }
        assert_eq!(results[24], (0..3).map(b).collect::<Vec<_>>(), "{level:?}, store_partial");
        assert_eq!(results[25], [(0..lanes).map(a).sum::<f32>()], "{level:?}, sum");
    }
}

/// Widens every half-precision value.
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

/// The definition of half precision: sign, exponent and fraction.
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
        let values = [&low[..I::LANES], &high[..I::LANES]].concat();
        let ordered = values.chunks_exact(2).map(|x| pair_of(x[0], x[1])).collect();
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

/// Products whose sums of two are the largest of 16 bits, and bytes of four vectors of integers.
struct Bytes;

impl Kernel for Bytes {
    type Output = (bool, Vec<u32>, Vec<u32>);

    #[inline(always)]
    fn run<I: Isa>(self, v: I) -> Self::Output {
        let mut sums = vec![0; I::LANES];
        let (largest, lowest) = (v.splat_word(0x7f7f_7f7f), v.splat_word(0x8080_8080));
        v.store_words(v.dot_u7i8(largest, lowest, v.splat_word(0)), &mut sums);
        let integers: Vec<u32> = (0..4 * I::LANES as u32).map(|i| i * 37 % 256).collect();
        let load = |n: usize| v.load_words(&integers[n * I::LANES..]);
        let mut bytes = vec![0; I::LANES];
        v.store_bytes([load(0), load(1), load(2), load(3)], &mut bytes);
        (I::PREFERS_U7, sums, bytes)
    }
}

#[test]
fn every_level_packs_bytes_in_order_and_sums_products_of_seven_bits_exactly() {
    for level in Level::available() {
        let (prefers_u7, sums, bytes) = level.run(Bytes);
        assert_eq!(prefers_u7, level.prefers_u7(), "{level:?}");
        assert!(sums.iter().all(|&sum| sum.cast_signed() == -4 * 127 * 128), "{level:?}");
        let bytes: Vec<u8> = bytes.iter().flat_map(|word| word.to_le_bytes()).collect();
        let want: Vec<u8> = (0..4 * level.lanes()).map(|i| (i * 37 % 256) as u8).collect();
        assert_eq!(bytes, want, "{level:?}");
    }
}

/// A product of small integers, which is exact in any order of summation.
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
        Err("unknown SIMD level `sse9`; the levels are portable, avx2, avx512, avx512-dot, \
             amx"
        .to_owned())
    );
}
