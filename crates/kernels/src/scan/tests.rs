//! Every kernel against its definition, at every level, over row counts around the rows of a pass.

use super::*;
use crate::isa::{Level, f16_to_f32};
use crate::random::Random;

const COUNTS: [usize; 6] = [0, 1, 3, 4, 5, 13];

#[test]
fn products_of_floats_are_those_of_f64() {
    let mut random = Random::new(1);
    for width in [32, 64, 96, 1024] {
        let query = random.normal(width);
        for count in COUNTS {
            let rows = random.normal(count * width);
            // Halves of random sign and fraction with one exponent, so that none dominates a sum.
            let halves: Vec<u16> =
                rows.iter().map(|x| ((x.to_bits() >> 13) as u16 & 0x83ff) | 0x3000).collect();
            let wide: Vec<f32> = halves.iter().map(|half| f16_to_f32(*half)).collect();
            for level in Level::available() {
                let (mut from_f32, mut from_f16) = (vec![0.0; count], vec![0.0; count]);
                dot_f32(level, &query, &rows, &mut from_f32);
                dot_f16(level, &query, &halves, &mut from_f16);
                for (rows, got) in [(&rows, &from_f32), (&wide, &from_f16)] {
                    for (row, got) in rows.chunks_exact(width).zip(got) {
                        let products = row.iter().zip(&query).map(|(a, b)| f64::from(a * b).abs());
                        let scale = products.sum::<f64>();
                        let products =
                            row.iter().zip(&query).map(|(a, b)| f64::from(*a) * f64::from(*b));
                        let want: f64 = products.sum();
                        let error = (f64::from(*got) - want).abs();
                        assert!(error <= 1e-6 * scale, "{level:?}, {width}: {got} is not {want}");
                    }
                }
            }
        }
    }
}

/// Packs four bytes per word.
fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks().0.iter().map(|four| u32::from_le_bytes(*four)).collect()
}

#[test]
fn products_of_bytes_are_exact_even_at_the_largest_values() {
    let mut random = Random::new(2);
    for width in [64, 128, 1024] {
        for count in COUNTS {
            let mut byte = || random.below(256) as u8;
            let rows: Vec<u8> = (0..count * width).map(|_| byte()).collect();
            let mixed: Vec<i8> = (0..width).map(|_| byte().cast_signed()).collect();
            for (query, rows) in [(mixed, rows.clone()), (vec![-128; width], vec![255; rows.len()])]
            {
                for level in Level::available() {
                    let mut sums = vec![0; count];
                    let signed = query.iter().map(|x| x.cast_unsigned()).collect::<Vec<_>>();
                    dot_u8(level, &words(&signed), &words(&rows), &mut sums);
                    for (row, got) in rows.chunks_exact(width).zip(sums) {
                        let products = row.iter().zip(&query);
                        let want: i32 = products.map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
                        assert_eq!(got, want, "{level:?}, {width}");
                    }
                }
            }
        }
    }
}

#[test]
fn distances_count_the_bits_that_differ() {
    let mut random = Random::new(3);
    for words in [8, 16, 24] {
        let mut word = || (0..4).fold(0, |word, _| word << 16 | random.below(1 << 16) as u64);
        let query: Vec<u64> = (0..words).map(|_| word()).collect();
        for count in COUNTS {
            let rows: Vec<u64> = (0..count * words).map(|_| word()).collect();
            for level in Level::available() {
                let mut distances = vec![0; count];
                hamming(level, &query, &rows, &mut distances);
                for (row, got) in rows.chunks_exact(words).zip(distances) {
                    let bits = (0..64 * words).filter(|bit| {
                        let bit_of = |words: &[u64]| words[bit / 64] >> (bit % 64) & 1;
                        bit_of(row) != bit_of(&query)
                    });
                    assert_eq!(got as usize, bits.count(), "{level:?}, {words}");
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "a multiple of 16")]
fn rows_that_are_not_padded_are_rejected() {
    dot_f32(Level::Portable, &[0.0; 15], &[0.0; 15], &mut [0.0]);
}

#[test]
#[should_panic(expected = "as many whole rows")]
fn rows_and_results_must_agree_in_shape() {
    hamming(Level::Portable, &[0; 8], &[0; 17], &mut [0, 0]);
}
