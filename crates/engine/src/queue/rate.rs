//! Throughput of a queue, to estimate when a refused client should try again.

use std::time::Duration;

/// Tokens per second of busy time, over about the last half minute of it.
#[derive(Debug, Default)]
pub(super) struct Rate {
    tokens: f64,
    seconds: f64,
}

/// Age at which work counts half.
const HALF_LIFE_SECONDS: f64 = 15.0;

/// Shortest wait that clients are given, even while nothing has been measured.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// Longest wait that clients are given.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

impl Rate {
    /// Adds `tokens` that ran in `time`.
    pub(super) fn add(&mut self, tokens: usize, time: Duration) {
        let kept = 0.5_f64.powf(time.as_secs_f64() / HALF_LIFE_SECONDS);
        self.tokens = self.tokens * kept + tokens as f64;
        self.seconds = self.seconds * kept + time.as_secs_f64();
    }

    /// Tokens per second; `None` before the first work.
    pub(super) fn tokens_per_second(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.tokens / self.seconds)
    }

    /// Estimated time for `tokens`, clamped to the waits that clients are given.
    pub(super) fn time_for(&self, tokens: usize) -> Duration {
        let seconds = self.tokens_per_second().map_or(0.0, |rate| tokens as f64 / rate.max(1e-3));
        let time = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_WAIT);
        time.clamp(SHORTEST_WAIT, LONGEST_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_work_counts_more_than_old_work() {
        let mut rate = Rate::default();
        assert_eq!(rate.tokens_per_second(), None);
        rate.add(1000, Duration::from_secs(10));
        assert_eq!(rate.tokens_per_second(), Some(100.0));
        for _ in 0..10 {
            rate.add(10_000, Duration::from_secs(10));
        }
        let now = rate.tokens_per_second().expect("measured");
        assert!((950.0..1000.0).contains(&now), "{now}");
    }

    #[test]
    fn waits_follow_the_rate_within_their_bounds() {
        let mut rate = Rate::default();
        assert_eq!(rate.time_for(1_000_000), SHORTEST_WAIT);
        rate.add(1000, Duration::from_secs(10));
        assert_eq!(rate.time_for(1), SHORTEST_WAIT);
        assert_eq!(rate.time_for(500), Duration::from_secs(5));
        assert_eq!(rate.time_for(usize::MAX), LONGEST_WAIT);
        let mut stuck = Rate::default();
        stuck.add(0, Duration::from_secs(10));
        assert_eq!(stuck.time_for(1_000_000), LONGEST_WAIT);
    }
}
