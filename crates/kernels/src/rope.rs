//! Rotary position embedding, GPT-NeoX pairing (component `j` with `j + head_dim/2`).

/// cos and sin of every angle `position · base^(−2j / head_dim)`.
#[derive(Clone, Debug, Default)]
pub struct RopeTable {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl RopeTable {
    /// A table of `positions` rows, `[positions, head_dim / 2]` each for cos and sin.
    ///
    /// Frequencies and angles are rounded to `f32` before cos and sin are taken, as in the
    /// reference implementation (at position 8191 that rounding moves an angle by up to 2.4e-4).
    pub fn new(positions: usize, head_dim: usize, base: f32) -> Self {
        let half = head_dim / 2;
        let frequencies: Vec<f32> =
            (0..half).map(|j| 1.0 / base.powf((2 * j) as f32 / head_dim as f32)).collect();
        let angles = (0..positions).flat_map(|p| frequencies.iter().map(move |f| p as f32 * f));
        let (sin, cos) = angles.map(f32::sin_cos).unzip();
        Self { half, cos, sin }
    }

    /// Number of positions.
    pub fn positions(&self) -> usize {
        self.cos.len().checked_div(self.half).unwrap_or(0)
    }

    /// cos and sin at `position`, `[head_dim / 2]` each.
    #[inline(always)]
    pub fn at(&self, position: usize) -> (&[f32], &[f32]) {
        let row = position * self.half..(position + 1) * self.half;
        (&self.cos[row.clone()], &self.sin[row])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angles_follow_the_definition() {
        let table = RopeTable::new(300, 16, 20000.0);
        assert_eq!(table.positions(), 300);
        for p in [0, 1, 7, 299] {
            let (cos, sin) = table.at(p);
            for j in 0..8 {
                let angle = p as f64 * 20000_f64.powf(-2.0 * j as f64 / 16.0);
                assert!((f64::from(cos[j]) - angle.cos()).abs() < 3e-5, "cos at {p}, {j}");
                assert!((f64::from(sin[j]) - angle.sin()).abs() < 3e-5, "sin at {p}, {j}");
            }
        }
    }
}
