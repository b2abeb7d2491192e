//! Low-rank updates of linear layers: W' = W + scale · B A, for each task.

use kokeshi_kernels::gemm::LoraBank;

/// One task's update of a linear layer.
#[derive(Debug)]
pub(crate) struct Update {
    rank: usize,
    a: Vec<f32>, // [rank, inputs]
    b: Vec<f32>, // [rank, outputs], scaled
}

impl Update {
    /// `a` is `[rank, inputs]`, `b` is `[outputs, rank]`.
    pub(crate) fn new(rank: usize, a: Vec<f32>, b: &[f32], scale: f32) -> Self {
        let b = (0..rank).flat_map(|r| b[r..].iter().step_by(rank)).map(|x| x * scale).collect();
        Self { rank, a, b }
    }

    fn outputs(&self) -> usize {
        self.b.len() / self.rank
    }
}

/// The update of three layers of `outputs` each on the same input, as one of `3 * outputs`.
///
/// If q, k and v were cut from one fused adapter, they have the same A, and the rank stays.
/// Otherwise their ranks add up.
pub(crate) fn stack(parts: [Option<Update>; 3], outputs: usize) -> Option<Update> {
    if let [Some(q), Some(k), Some(v)] = &parts
        && q.a == k.a
        && k.a == v.a
    {
        let rows = (0..q.rank).flat_map(|r| [q, k, v].map(|x| &x.b[r * outputs..][..outputs]));
        return Some(Update { rank: q.rank, a: q.a.clone(), b: rows.flatten().copied().collect() });
    }
    let rank = parts.iter().flatten().map(|part| part.rank).sum();
    let mut b = vec![0.0; rank * 3 * outputs];
    let mut rows = b.chunks_exact_mut(3 * outputs);
    for (i, part) in parts.iter().enumerate() {
        for from in part.iter().flat_map(|part| part.b.chunks_exact(outputs)) {
            let row = rows.next()?;
            row[i * outputs..][..outputs].copy_from_slice(from);
        }
    }
    let a = parts.into_iter().flatten().flat_map(|part| part.a).collect();
    (rank > 0).then_some(Update { rank, a, b })
}

/// The updates of all tasks, padded with zeros to the largest rank. `None` if no task has one.
pub(crate) fn bank(
    updates: Vec<Option<Update>>,
    [outputs, inputs]: [usize; 2],
) -> Option<LoraBank> {
    let rank = updates.iter().flatten().map(|update| update.rank).max()?;
    let (mut down, mut up) = (Vec::new(), Vec::new());
    for (task, update) in updates.into_iter().enumerate() {
        if let Some(update) = update {
            debug_assert_eq!(update.outputs(), outputs);
            down.extend(update.a);
            up.extend(update.b);
        }
        down.resize((task + 1) * rank * inputs, 0.0);
        up.resize((task + 1) * rank * outputs, 0.0);
    }
    Some(LoraBank { rank, down, up })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B A of a bank, `[tasks][outputs][inputs]`.
    fn products(bank: &LoraBank, outputs: usize, inputs: usize) -> Vec<Vec<f32>> {
        let tasks = bank.down.chunks(bank.rank * inputs).zip(bank.up.chunks(bank.rank * outputs));
        let product = |(a, b): (&[f32], &[f32])| {
            let element = |o: usize, i: usize| {
                (0..bank.rank).map(|r| b[r * outputs + o] * a[r * inputs + i]).sum()
            };
            (0..outputs)
                .flat_map(|o| (0..inputs).map(move |i| (o, i)))
                .map(|(o, i)| element(o, i))
                .collect()
        };
        tasks.map(product).collect()
    }

    #[test]
    fn a_bank_holds_the_scaled_product_of_each_task() {
        let first = Update::new(1, vec![1.0, 2.0], &[3.0, 4.0, 5.0], 0.5);
        let second = Update::new(2, vec![1.0, 0.0, 0.0, 1.0], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2.0);
        let bank = bank(vec![Some(first), None, Some(second)], [3, 2]).expect("a bank");
        let products = products(&bank, 3, 2);
        assert_eq!(products[0], [1.5, 3.0, 2.0, 4.0, 2.5, 5.0]);
        assert_eq!(products[1], [0.0; 6], "a task without an update");
        assert_eq!(products[2], [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
    }

    #[test]
    fn stacking_keeps_the_rank_where_a_is_shared_and_adds_ranks_where_not() {
        let shared = || Some(Update::new(1, vec![1.0, 2.0], &[1.0], 1.0));
        let other = Some(Update::new(1, vec![5.0, 6.0], &[10.0], 1.0));
        let same = stack([shared(), shared(), shared()], 1).expect("an update");
        assert_eq!(
            (same.rank, products(&bank(vec![Some(same)], [3, 2]).expect("a bank"), 3, 2)),
            (1, vec![vec![1.0, 2.0, 1.0, 2.0, 1.0, 2.0]])
        );
        let mixed = stack([shared(), None, other], 1).expect("an update");
        assert_eq!(
            (mixed.rank, products(&bank(vec![Some(mixed)], [3, 2]).expect("a bank"), 3, 2)),
            (2, vec![vec![1.0, 2.0, 0.0, 0.0, 50.0, 60.0]])
        );
        assert!(stack([None, None, None], 1).is_none());
    }
}
