//! Slopes of ALiBi (Press, Smith and Lewis 2021), in the order that the v2 models were trained
//! with.

/// The slope of each head.
///
/// With c the largest power of two up to `heads`, head h < c has 2^(−8 (h+1) / c), and the heads
/// after c take every other slope of the series for 2c heads, starting with its first. The slopes
/// are not sorted.
pub(crate) fn alibi_slopes(heads: usize) -> Vec<f32> {
    let whole = 1_usize << heads.max(1).ilog2();
    let slope = |head: usize| {
        let exponent = match head.checked_sub(whole) {
            None => (head + 1) as f64 / whole as f64,
            Some(extra) => (2 * extra + 1) as f64 / (2 * whole) as f64,
        };
        (-8.0 * exponent).exp2() as f32
    };
    (0..heads).map(slope).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kokeshi_testkit::Goldens;

    #[test]
    fn slopes_are_those_of_the_published_code_in_its_order() {
        for (fixture, heads) in
            [("std_wordpiece", 6), ("code_bpe", 12), ("std_zh_f16", 12), ("code_reglu_bf16", 5)]
        {
            let goldens = Goldens::open(&format!("v2-tiny/{fixture}/golden.safetensors"));
            assert_eq!(alibi_slopes(heads), goldens.get("slopes").values, "{heads} heads");
        }
        assert_eq!(alibi_slopes(8)[..3], [0.5, 0.25, 0.125]);
    }
}
