//! Random shares of sets, the same as those of Python programs.

use std::collections::HashSet;

/// Size of the generator's state, in words.
const WORDS: usize = 624;
/// Distance of the words that are combined.
const SHIFT: usize = 397;

/// Draws as Python's `random.Random(seed)` does, so that a share that a Python program drew can be
/// drawn again. The generator is MT19937 (Matsumoto and Nishimura 1998).
#[derive(Clone, Debug)]
pub struct PythonRandom {
    state: [u32; WORDS],
    next: usize,
}

impl PythonRandom {
    /// A generator that starts from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let words = [seed as u32, (seed >> 32) as u32];
        // Python's key has no leading zeros, but at least one word.
        Self::from_key(if words[1] == 0 { &words[..1] } else { &words })
    }

    /// `init_by_array` of the reference implementation.
    fn from_key(key: &[u32]) -> Self {
        let mut state = [0_u32; WORDS];
        state[0] = 19_650_218;
        for i in 1..WORDS {
            state[i] = mixed(state[i - 1]).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        let mut i = 1;
        for k in 0..WORDS.max(key.len()) {
            let j = k % key.len();
            let product = mixed(state[i - 1]).wrapping_mul(1_664_525);
            state[i] = (state[i] ^ product).wrapping_add(key[j]).wrapping_add(j as u32);
            i = advance(&mut state, i);
        }
        for _ in 1..WORDS {
            let product = mixed(state[i - 1]).wrapping_mul(1_566_083_941);
            state[i] = (state[i] ^ product).wrapping_sub(i as u32);
            i = advance(&mut state, i);
        }
        state[0] = 0x8000_0000;
        Self { state, next: WORDS }
    }

    /// The next 32 bits.
    fn word(&mut self) -> u32 {
        if self.next == WORDS {
            self.twist();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn twist(&mut self) {
        for i in 0..WORDS {
            let next = self.state[(i + 1) % WORDS];
            let word = (self.state[i] & 0x8000_0000) | (next & 0x7fff_ffff);
            let odd = if word & 1 == 0 { 0 } else { 0x9908_b0df };
            self.state[i] = self.state[(i + SHIFT) % WORDS] ^ (word >> 1) ^ odd;
        }
        self.next = 0;
    }

    /// An integer of `bits` bits, at most 64.
    fn bits(&mut self, bits: u32) -> u64 {
        if bits <= 32 {
            return u64::from(self.word()) >> (32 - bits.max(1));
        }
        let low = u64::from(self.word());
        low | (u64::from(self.word()) >> (64 - bits)) << 32
    }

    /// Uniform below `bound`, which is not 0: bits are drawn until they are below it.
    fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        loop {
            let drawn = self.bits(u64::BITS - bound.leading_zeros());
            if drawn < bound {
                return drawn as usize;
            }
        }
    }

    /// Indices of `count` different ones of `population` things, in the order in which
    /// `random.sample` returns them; of all of them if there are no more.
    pub fn sample(&mut self, population: usize, count: usize) -> Vec<usize> {
        let count = count.min(population);
        if population <= pool_limit(count) {
            let mut pool: Vec<usize> = (0..population).collect();
            let draw = |drawn: usize| {
                let at = self.below(population - drawn);
                // The last of the pool takes its place.
                pool.swap_remove(at)
            };
            return (0..count).map(draw).collect();
        }
        let (mut seen, mut order) = (HashSet::new(), Vec::with_capacity(count));
        while order.len() < count {
            let index = self.below(population);
            if seen.insert(index) {
                order.push(index);
            }
        }
        order
    }
}

/// Up to this population, Python draws `count` things from a pool without those drawn before; beyond
/// it, it draws again what was drawn before.
fn pool_limit(count: usize) -> usize {
    let table = if count > 5 { (3.0 * count as f64).log(4.0).ceil() as u32 } else { return 21 };
    4_usize.saturating_pow(table).saturating_add(21)
}

fn mixed(word: u32) -> u32 {
    word ^ (word >> 30)
}

/// The index after `i`; at the end of the state, its last word becomes the first.
fn advance(state: &mut [u32; WORDS], i: usize) -> usize {
    if i + 1 < WORDS {
        return i + 1;
    }
    state[0] = state[WORDS - 1];
    1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expected;

    /// The first outputs of the reference implementation for the key of its own example.
    #[test]
    fn words_are_those_of_the_reference_implementation() {
        let mut random = PythonRandom::from_key(&[0x123, 0x234, 0x345, 0x456]);
        let want = [1_067_595_299, 955_945_823, 477_289_528, 4_107_218_783, 4_228_976_476];
        assert_eq!(want.map(|_| random.word()), want);
    }

    #[test]
    fn samples_are_those_of_python() {
        let cases = expected::array("samples");
        assert_eq!(cases.len(), 8);
        for case in cases {
            let whole = |name: &str| expected::number(&case[name]) as u64;
            let mut random = PythonRandom::new(whole("seed"));
            for sample in case["samples"].as_array().expect("samples") {
                let want: Vec<usize> =
                    expected::numbers(sample).iter().map(|index| *index as usize).collect();
                let got = random.sample(whole("population") as usize, whole("count") as usize);
                assert_eq!(got, want, "{case}");
            }
        }
    }

    #[test]
    fn a_sample_has_no_more_than_there_is() {
        let mut random = PythonRandom::new(0);
        let mut all = random.sample(5, 9);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4]);
        assert!(random.sample(0, 3).is_empty() && random.sample(3, 0).is_empty());
    }

    #[test]
    fn bounds_of_more_than_a_word_are_drawn_from_two() {
        let (mut random, mut words) = (PythonRandom::new(7), PythonRandom::new(7));
        let (low, high) = (u64::from(words.word()), u64::from(words.word()));
        assert_eq!(random.bits(40), low | (high >> 24) << 32);
    }
}
