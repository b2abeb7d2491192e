//! Workloads: batches of random tokens.

use kokeshi::EncoderConfig;
use kokeshi_model::Batch;
use std::ops::RangeInclusive;

/// A batch with its name.
pub(super) struct Workload {
    pub(super) name: &'static str,
    pub(super) batch: Batch,
}

/// The workloads of a report.
pub(super) struct Workloads {
    /// The workloads of one turn are compared with each other.
    pub(super) turns: Vec<Vec<Workload>>,
    /// The reasons why a model has fewer workloads than others.
    pub(super) left_out: Vec<String>,
}

/// Suffix of the workload that is compared with [`MIXED_TASKS`].
pub(super) const ONE_TASK: &str = ", one task";
/// Suffix of the workload that shows the cost of mixing tasks.
pub(super) const MIXED_TASKS: &str = ", mixed tasks";

/// Token ids of the sequences of a batch.
type Texts = Vec<Vec<u32>>;

impl Workloads {
    /// The batches that a model of this shape can run: with the base weights, and the texts of
    /// `32 ragged` again with the first task and with all tasks in turn, no task included. A card
    /// gets batches that fill it.
    pub(super) fn new(config: &EncoderConfig, card: bool) -> Self {
        let mut random = Random::seeded();
        let ragged: Vec<usize> = match card {
            false => (0..32).map(|_| random.within(8..=512)).collect(),
            true => (0..64).map(|_| random.within(8..=2048)).collect(),
        };
        let lengths = if card { card_lengths(&ragged) } else { processor_lengths(&ragged) };
        let names = match card {
            false => ["32 ragged, one task", "32 ragged, mixed tasks"],
            true => ["64 ragged, one task", "64 ragged, mixed tasks"],
        };
        let (mut turns, mut left_out) = (Vec::new(), Vec::new());
        for (name, lengths) in lengths {
            if fits(&lengths, config) {
                let texts = random.texts(&lengths, config);
                turns.push(vec![Workload { name, batch: batch(&texts, &[None]) }]);
            } else {
                let limit = config.max_tokens;
                left_out.push(format!("{name} is left out: the limit is {limit} tokens per text"));
            }
        }
        match config.tasks.len() {
            0 | 1 => left_out
                .push("mixed tasks are left out: the model has fewer than two tasks".to_owned()),
            _ if fits(&ragged, config) => {
                turns.push(tasks(&random.texts(&ragged, config), config, names).into());
            }
            _ => (),
        }
        Self { turns, left_out }
    }

    /// Keeps the workloads of these names, with `x` or `×`; no names keep all.
    ///
    /// # Errors
    ///
    /// If a name is not one of theirs.
    pub(super) fn only(mut self, names: &[String]) -> anyhow::Result<Self> {
        let all: Vec<_> = self.turns.iter().flatten().map(|workload| workload.name).collect();
        let is = |name: &String, batch: &str| name == batch || name.replace('x', "×") == batch;
        if let Some(unknown) = names.iter().find(|name| !all.iter().any(|batch| is(name, batch))) {
            anyhow::bail!("there is no batch `{unknown}`; there are `{}`", all.join("`, `"));
        }
        if !names.is_empty() {
            let is_kept = |workload: &Workload| names.iter().any(|name| is(name, workload.name));
            self.turns.iter_mut().for_each(|turn| turn.retain(is_kept));
            self.turns.retain(|turn| !turn.is_empty());
            self.left_out.clear();
        }
        Ok(self)
    }
}

/// Names of batches and the lengths of their texts.
type Lengths = Vec<(&'static str, Vec<usize>)>;

fn processor_lengths(ragged: &[usize]) -> Lengths {
    vec![
        ("1×16", vec![16]),
        ("1×128", vec![128]),
        ("8×128", vec![128; 8]),
        ("32 ragged", ragged.to_vec()),
        ("4×512", vec![512; 4]),
        ("1×2048", vec![2048]),
        ("1×8192", vec![8192]),
    ]
}

fn card_lengths(ragged: &[usize]) -> Lengths {
    vec![
        ("1×16", vec![16]),
        ("1×128", vec![128]),
        ("64×128", vec![128; 64]),
        ("64 ragged", ragged.to_vec()),
        ("32×512", vec![512; 32]),
        ("1×8192", vec![8192]),
        ("8×8192", vec![8192; 8]),
    ]
}

/// The same texts with one task and with all tasks.
fn tasks(texts: &Texts, config: &EncoderConfig, [one, mixed]: [&'static str; 2]) -> [Workload; 2] {
    let all: Vec<_> = std::iter::once(None).chain((0..config.tasks.len()).map(Some)).collect();
    [
        Workload { name: one, batch: batch(texts, &[Some(0)]) },
        Workload { name: mixed, batch: batch(texts, &all) },
    ]
}

fn fits(lengths: &[usize], config: &EncoderConfig) -> bool {
    lengths.iter().all(|&length| length <= config.max_tokens)
}

/// The batches of the check of results.
pub(super) struct Sample {
    /// A few short texts, some with a task.
    pub(super) texts: Batch,
    /// The same and a longer one after them, so that all code paths of a batch run. It does not
    /// change the results of the others.
    pub(super) among_others: Batch,
}

impl Sample {
    /// Texts with about `tokens` tokens in all, at most 48 and at least 2 per text.
    pub(super) fn new(config: &EncoderConfig, tokens: usize) -> Self {
        const LENGTHS: [usize; 3] = [29, 5, 14];
        const OTHER: usize = 200;
        let shortened =
            |length: usize| (length * tokens.min(48) / 48).max(2).min(config.max_tokens);
        let mut random = Random::seeded();
        let texts = random.texts(&LENGTHS.map(shortened), config);
        let last = config.tasks.len().checked_sub(1);
        let texts = batch(&texts, &[None, last, last.map(|_| 0)]);
        let mut among_others = texts.clone();
        for other in random.texts(&[OTHER.min(config.max_tokens)], config) {
            among_others.push(&other, None);
        }
        Self { texts, among_others }
    }
}

/// `texts` with the adapters in turn.
fn batch(texts: &Texts, adapters: &[Option<usize>]) -> Batch {
    let mut batch = Batch::new();
    for (text, &adapter) in texts.iter().zip(adapters.iter().cycle()) {
        batch.push(text, adapter);
    }
    batch
}

/// Random numbers with a fixed seed: xorshift64* (Vigna 2016).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn seeded() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn within(&mut self, range: RangeInclusive<usize>) -> usize {
        let count = (range.end() - range.start() + 1) as u64;
        range.start() + (((self.next() >> 32) * count) >> 32) as usize
    }

    pub(super) fn texts(&mut self, lengths: &[usize], config: &EncoderConfig) -> Texts {
        let largest = config.vocab.saturating_sub(1);
        let mut text = |&length| (0..length).map(|_| self.within(0..=largest) as u32).collect();
        lengths.iter().map(|length: &usize| text(length)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kokeshi_collections::ModelLocation;
    use std::collections::BTreeSet;

    fn config() -> EncoderConfig {
        ModelLocation::Bundled.checkpoint().expect("the bundled model").config().clone()
    }

    fn batches(workloads: &Workloads) -> Vec<(&'static str, &Batch)> {
        workloads.turns.iter().flatten().map(|w| (w.name, &w.batch)).collect()
    }

    fn lengths(batch: &Batch) -> Vec<usize> {
        batch.sequences().map(|sequence| sequence.len()).collect()
    }

    #[test]
    fn batches_have_the_shape_of_their_names_and_ids_of_the_vocabulary() {
        let config = config();
        let workloads = Workloads::new(&config, false);
        let batches = batches(&workloads);
        assert_eq!(batches.len(), 9);
        for (name, batch) in &batches {
            assert!(batch.ids().iter().all(|&id| (id as usize) < config.vocab), "{name}");
            assert!(batch.ids().iter().collect::<BTreeSet<_>>().len() > 10, "{name}");
            let (count, shape) = name.split_once(['×', ' ']).expect("a shape");
            assert_eq!(batch.seq_ends().len().to_string(), count, "{name}");
            match shape.parse::<usize>() {
                Ok(length) => assert!(lengths(batch).iter().all(|&l| l == length), "{name}"),
                Err(_) => assert!(lengths(batch).iter().all(|l| (8..=512).contains(l)), "{name}"),
            }
        }
        let (ragged, distinct) = (lengths(batches[3].1), |l: Vec<usize>| BTreeSet::from_iter(l));
        assert!(ragged.iter().any(|&l| l < 64) && ragged.iter().any(|&l| l > 448), "{ragged:?}");
        assert!(distinct(ragged).len() > 20);
    }

    #[test]
    fn mixed_tasks_are_the_same_texts_as_one_task_with_every_task_and_none() {
        let config = config();
        let workloads = Workloads::new(&config, false);
        let [one, mixed] = &workloads.turns[7][..] else { panic!("two workloads in one turn") };
        assert_eq!(
            (one.batch.ids(), one.batch.seq_ends()),
            (mixed.batch.ids(), mixed.batch.seq_ends())
        );
        assert_eq!(one.batch.adapters(), [Some(0); 32]);
        let tasks: BTreeSet<_> = mixed.batch.adapters().iter().collect();
        assert_eq!(tasks.len(), config.tasks.len() + 1);
    }

    #[test]
    fn workloads_over_the_limit_or_without_tasks_are_left_out_with_a_reason() {
        let mut config = config();
        config.max_tokens = 200;
        config.tasks.truncate(1);
        let workloads = Workloads::new(&config, false);
        let names: Vec<_> = batches(&workloads).iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["1×16", "1×128", "8×128"]);
        assert_eq!(workloads.left_out.len(), 5);
        assert_eq!(
            workloads.left_out[0],
            "32 ragged is left out: the limit is 200 tokens per text"
        );
        assert_eq!(
            workloads.left_out[4],
            "mixed tasks are left out: the model has fewer than two tasks"
        );
    }

    #[test]
    fn named_workloads_are_kept_and_other_names_are_refused() {
        let named = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            Workloads::new(&config(), false).only(&names)
        };
        let kept = named(&["8x128", "32 ragged, mixed tasks"]).expect("two workloads");
        let names: Vec<_> = batches(&kept).iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["8×128", "32 ragged, mixed tasks"]);
        assert_eq!(batches(&named(&[]).expect("all workloads")).len(), 9);
        let error = named(&["8×129"]).err().expect("an unknown name").to_string();
        assert!(
            error.starts_with("there is no batch `8×129`; there are `1×16`, `1×128`"),
            "{error}"
        );
    }

    #[test]
    fn a_sample_has_the_requested_tokens_and_is_part_of_a_larger_batch() {
        let mut config = config();
        let lengths_of = |config: &EncoderConfig, tokens| {
            let Sample { texts, among_others } = Sample::new(config, tokens);
            assert_eq!(among_others.ids()[..texts.tokens()], *texts.ids());
            assert!(among_others.tokens() > texts.tokens());
            lengths(&texts)
        };
        assert_eq!(lengths_of(&config, usize::MAX), [29, 5, 14]);
        assert_eq!(lengths_of(&config, 16), [9, 2, 4]);
        assert_eq!(lengths_of(&config, 0), [2, 2, 2]);
        config.max_tokens = 10;
        assert_eq!(lengths_of(&config, 48), [10, 5, 10]);
    }
}
