use crate::{check, gpus, take, values};
use kokeshi_cuda::{DType, Embedding};
use kokeshi_testkit::Random;

#[test]
fn embeddings_have_the_update_and_the_summand_of_their_task() {
    for gpu in gpus() {
        let mut random = Random::new(1);
        let (vocab, hidden, rank, tasks) = (40, 72, 4, 3);
        let word = values(&mut random, gpu.dtype(), vocab * hidden);
        let a = values(&mut random, DType::F32, tasks * vocab * rank);
        let b = values(&mut random, DType::F32, tasks * rank * hidden);
        let shift = values(&mut random, DType::F32, (tasks + 1) * hidden);
        let ids: Vec<u32> = (0..30).map(|i| i * 7 % vocab as u32).collect();
        let adapters: Vec<_> = (0..30_usize).map(|i| (i % 4).checked_sub(1)).collect();
        let batch = gpu.pack_batch(&ids, &adapters, &[0..12, 12..30], 64).expect("a batch");
        let mut read =
            |i: usize, row: &mut [f32]| row.copy_from_slice(&word[i * hidden..][..hidden]);
        let table = Embedding {
            word: gpu.upload_rows(vocab, [hidden, hidden], &mut read).expect("words"),
            a: gpu.upload(&a).expect("a"),
            b: gpu.upload(&b).expect("b"),
            shift: gpu.upload(&shift).expect("shift"),
            vocab,
            rank,
            shifts: tasks + 1,
            hidden,
        };
        let mut x = take(&gpu, 30, hidden, 16);
        gpu.embed(&batch, &table, &mut x).expect("embeddings");
        let mut want = Vec::new();
        for (&id, adapter) in ids.iter().zip(&adapters) {
            let (id, shifted) = (id as usize, adapter.map_or(0, |task| task + 1));
            for c in 0..hidden {
                let mut sum =
                    f64::from(word[id * hidden + c]) + f64::from(shift[shifted * hidden + c]);
                for r in adapter.iter().flat_map(|task| (0..rank).map(move |r| (task, r))) {
                    let (task, r) = r;
                    sum += f64::from(a[(task * vocab + id) * rank + r])
                        * f64::from(b[(task * rank + r) * hidden + c]);
                }
                want.push(sum);
            }
        }
        check(&gpu, "embed", &gpu.read(&x).expect("states"), &want, 1.0);
    }
}

#[test]
fn ids_and_tasks_outside_the_table_are_refused() {
    for gpu in gpus() {
        let zeros = |len: usize| gpu.zeros(4 * len).expect("memory");
        let (vocab, hidden, rank) = (8, 16, 2);
        let (word, a, b) = (zeros(vocab * hidden), zeros(vocab * rank), zeros(rank * hidden));
        let shift = zeros(2 * hidden);
        let table = Embedding { word, a, b, shift, vocab, rank, shifts: 2, hidden };
        let embed = |id: u32, task: usize| {
            let batch = gpu.pack_batch(&[id], &[Some(task)], std::slice::from_ref(&(0..1)), 64);
            let (batch, mut x) = (batch.expect("a batch"), take(&gpu, 1, hidden, 0));
            let embed = || gpu.embed(&batch, &table, &mut x).expect("embeddings");
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(embed)).is_ok()
        };
        assert!(embed(7, 0), "{gpu:?}: the last id and the only task");
        assert!(!embed(8, 0), "{gpu:?}: an id past the table");
        assert!(!embed(7, 1), "{gpu:?}: a task past the table");
    }
}
