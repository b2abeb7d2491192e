//! How well groups agree with known classes.

use std::collections::HashMap;

/// Agreement of groups with classes (Rosenberg and Hirschberg 2007), each part from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// 1 − H(class | group) / H(class): 1 if no group has members of two classes.
    pub homogeneity: f64,
    /// 1 − H(group | class) / H(group): 1 if no class is divided among groups.
    pub completeness: f64,
    /// The harmonic mean of both.
    pub v_measure: f64,
}

impl Agreement {
    /// The agreement of `groups` with `classes`, one of each per text; the first ones count if there
    /// are more of one than of the other.
    #[must_use]
    pub fn of(classes: &[usize], groups: &[usize]) -> Self {
        let pairs = || classes.iter().copied().zip(groups.iter().copied());
        let count = pairs().count() as f64;
        let [of_classes, of_groups] = [
            entropy(pairs().map(|(class, _)| (class, 0)), count),
            entropy(pairs().map(|(_, group)| (0, group)), count),
        ];
        // H(class | group) = H(class, group) − H(group).
        let joint = entropy(pairs(), count);
        let share = |entropy: f64, given: f64| {
            if entropy > 0.0 { (1.0 - (joint - given) / entropy).clamp(0.0, 1.0) } else { 1.0 }
        };
        let homogeneity = share(of_classes, of_groups);
        let completeness = share(of_groups, of_classes);
        let sum = homogeneity + completeness;
        let v_measure = if sum > 0.0 { 2.0 * homogeneity * completeness / sum } else { 0.0 };
        Self { homogeneity, completeness, v_measure }
    }
}

/// The entropy of the frequencies of `values`, of which there are `count`.
fn entropy(values: impl Iterator<Item = (usize, usize)>, count: f64) -> f64 {
    let mut frequencies: HashMap<(usize, usize), usize> = HashMap::new();
    values.for_each(|value| *frequencies.entry(value).or_default() += 1);
    let mut frequencies: Vec<usize> = frequencies.into_values().collect();
    // Sums have the same bits in every run.
    frequencies.sort_unstable();
    let shares = frequencies.into_iter().map(|frequency| frequency as f64 / count);
    -shares.map(|share| share * share.ln()).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expected;

    #[test]
    fn agreements_are_those_of_scikit_learn() {
        let cases = expected::array("agreement");
        assert_eq!(cases.len(), 5);
        for case in cases {
            let ids = |name: &str| -> Vec<usize> {
                expected::numbers(&case[name]).iter().map(|id| *id as usize).collect()
            };
            let got = Agreement::of(&ids("classes"), &ids("groups"));
            for (got, name) in [
                (got.homogeneity, "homogeneity"),
                (got.completeness, "completeness"),
                (got.v_measure, "v_measure"),
            ] {
                let want = expected::number(&case[name]);
                assert!((got - want).abs() < 1e-12, "{name} {got}: {case}");
            }
        }
    }

    #[test]
    fn names_of_groups_do_not_matter() {
        let classes = [0, 0, 1, 1, 2];
        let perfect = Agreement { homogeneity: 1.0, completeness: 1.0, v_measure: 1.0 };
        assert_eq!(Agreement::of(&classes, &[7, 7, 3, 3, 9]), perfect);
        assert_eq!(Agreement::of(&classes, &[4; 5]).v_measure, 0.0);
        assert_eq!(Agreement::of(&[], &[]), perfect);
    }
}
