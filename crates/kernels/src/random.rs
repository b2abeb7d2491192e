//! Seeded pseudo-random numbers: the same seed gives the same sequence on every machine.

/// SplitMix64 (Steele, Lea and Flood 2014).
///
/// The sequences are part of what is stored and compared: synthetic checkpoints, clusterings and
/// tests depend on them.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator that starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Uniform over all 64-bit integers.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in `[-1, 1)`.
    pub fn signed_unit(&mut self) -> f32 {
        ((self.next_u64() >> 40) as f32 / (1 << 24) as f32 - 0.5) * 2.0
    }

    /// Uniform below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((self.unit() * bound as f64) as usize).min(bound - 1)
    }

    /// `len` nearly normal values (sums of twelve uniform ones) of mean 0 and standard deviation 1.
    pub fn normal(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| ((0..12).map(|_| self.unit()).sum::<f64>() - 6.0) as f32).collect()
    }

    /// An index drawn with probabilities in proportion to `weights`; `None` if all of them are 0.
    pub fn weighted(&mut self, weights: &[f32]) -> Option<usize> {
        let total: f64 = weights.iter().copied().map(f64::from).sum();
        let mut left = self.unit() * total;
        let mut last = None;
        for (index, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            last = Some(index);
            left -= f64::from(weight);
            if left < 0.0 {
                break;
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first values of the published C program for the seed 1234567.
    #[test]
    fn the_sequence_is_the_published_one() {
        let mut random = Random::new(1_234_567);
        let want = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(want.map(|_| random.next_u64()), want);
    }

    #[test]
    fn draws_follow_their_weights() {
        let mut random = Random::new(1);
        let mut counts = [0; 3];
        for _ in 0..10_000 {
            counts[random.weighted(&[1.0, 0.0, 3.0]).expect("a draw")] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((2_300..2_700).contains(&counts[0]), "{counts:?}");
        assert_eq!(random.weighted(&[0.0, 0.0]), None);
    }
}
