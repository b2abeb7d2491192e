//! The time that the rest of some work will take.

use std::time::Duration;

/// Shortest time constant of the average, in seconds, and its share of the time so far: a block of
/// a few seconds must not sway it.
const SHORTEST: f64 = 10.0;
const SHARE: f64 = 0.5;
/// Time of work before there is an estimate: the first texts tell little.
const WARM_UP: Duration = Duration::from_secs(3);

/// An exponentially weighted average of the speed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Estimate {
    /// When the first progress was reported, and the last, with what was done.
    first: Option<(Duration, u64)>,
    last: Option<(Duration, u64)>,
    /// Work per second.
    speed: f64,
}

impl Estimate {
    /// Reports that `done` is done at the time `now`.
    pub(super) fn set_done(&mut self, done: u64, now: Duration) {
        let Some((before, had)) = self.last.filter(|(_, had)| *had <= done) else {
            *self = Self { first: Some((now, done)), last: Some((now, done)), speed: 0.0 };
            return;
        };
        let seconds = (now - before).as_secs_f64();
        if done == had || seconds < 0.1 {
            return;
        }
        let current = (done - had) as f64 / seconds;
        let age = self.first.map_or(0.0, |(first, _)| (now - first).as_secs_f64());
        let weight = match self.speed > 0.0 {
            true => 1.0 - (-seconds / (age * SHARE).max(SHORTEST)).exp(),
            false => 1.0,
        };
        self.speed += weight * (current - self.speed);
        self.last = Some((now, done));
    }

    /// The time that `rest` will take, once there is enough to tell by.
    pub(super) fn left(&self, rest: u64) -> Option<Duration> {
        let ((first, _), (last, _)) = (self.first?, self.last?);
        let seconds = rest as f64 / self.speed;
        let is_known = last - first >= WARM_UP && seconds.is_finite();
        is_known.then(|| Duration::from_secs_f64(seconds.min(1e9)))
    }
}

/// A time as people say it: `40 s`, `3 min`, `1 h 20 min`, `2 d 3 h`.
pub(super) fn spoken(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours) = ((seconds + 30) / 60, (seconds + 1800) / 3600);
    match seconds {
        0..90 => format!("{seconds} s"),
        90..3570 => format!("{minutes} min"),
        3570..86_400 => format!("{} h {} min", minutes / 60, minutes % 60),
        _ => format!("{} d {} h", hours / 24, hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_steady_although_work_comes_in_blocks() {
        // Blocks of 7 s, of which every third is twice as slow; the first is a hundred times as
        // slow, as if the model were still being read.
        let (total, mut done, mut now) = (100_000, 0, 0.0);
        let mut estimate = Estimate::default();
        let mut estimates = Vec::new();
        estimate.set_done(0, Duration::ZERO);
        for block in 0.. {
            let speed = if block == 0 { 10.0 } else { [100.0, 200.0, 200.0][block % 3] };
            for _ in 0..7 {
                (now, done) = (now + 1.0, done + speed as u64);
                estimate.set_done(done, Duration::from_secs_f64(now));
            }
            if done >= total {
                break;
            }
            estimates.push((now, estimate.left(total - done)));
        }
        for (at, left) in estimates.iter().skip(5) {
            let (left, truth) = (left.expect("an estimate").as_secs_f64(), now - at);
            assert!((0.6..1.7).contains(&(left / truth)) || truth < 20.0, "{left} {truth} at {at}");
        }
    }

    #[test]
    fn nothing_is_estimated_before_there_is_something_to_tell_by() {
        let mut estimate = Estimate::default();
        assert_eq!(estimate.left(100), None);
        estimate.set_done(0, Duration::ZERO);
        estimate.set_done(1, Duration::from_secs(2));
        assert_eq!(estimate.left(100), None);
        estimate.set_done(2, Duration::from_secs(4));
        assert_eq!(estimate.left(100), Some(Duration::from_secs(200)));
    }

    #[test]
    fn times_are_spoken_in_two_units_at_most() {
        let times = [0, 89, 90, 3569, 3570, 4800, 100_000].map(Duration::from_secs).map(spoken);
        assert_eq!(times, ["0 s", "89 s", "2 min", "59 min", "1 h 0 min", "1 h 20 min", "1 d 4 h"]);
    }
}
