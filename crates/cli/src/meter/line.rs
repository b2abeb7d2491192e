//! Progress in words and as a bar, in the columns that there are.

use super::estimate::spoken;
use std::time::Duration;
use unicode_width::UnicodeWidthStr;

/// Columns of the longest bar, and of the shortest that is worth drawing.
const LONGEST_BAR: usize = 30;
const SHORTEST_BAR: usize = 10;

/// The progress at one moment.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    /// The share that is done, from 0 to 1, if the whole is known.
    pub(super) share: Option<f64>,
    /// Facts, the most important first.
    pub(super) facts: Vec<String>,
    pub(super) elapsed: Duration,
    /// The time that the rest will take, if it can be estimated.
    pub(super) left: Option<Duration>,
}

impl Snapshot {
    /// A bar, the share in percent, facts and the remaining time in at most `width` columns. What
    /// does not fit is left out: first the bar, then facts from the last.
    pub(super) fn line(&self, width: usize, blocks: bool) -> String {
        let mut facts = self.facts.as_slice();
        let text = loop {
            let text = self.words(facts);
            match facts.split_last() {
                Some((_, fewer)) if text.width() > width => facts = fewer,
                _ => break text,
            }
        };
        let room = width.saturating_sub(text.width() + 2).min(LONGEST_BAR);
        match self.share {
            Some(share) if room >= SHORTEST_BAR => {
                format!("{}  {text}", bar(share, room, blocks))
            }
            _ => text,
        }
    }

    /// The same in words.
    pub(super) fn text(&self) -> String {
        self.words(&self.facts)
    }

    fn words(&self, facts: &[String]) -> String {
        let percent = self.share.map(|share| format!("{:.0} %", (share * 100.0).floor()));
        let time = match (self.left, self.share) {
            (Some(left), _) => Some(format!("{} left", spoken(left))),
            // Without a share, the time shows that something is going on.
            (None, None) => Some(spoken(self.elapsed)),
            (None, Some(_)) => None,
        };
        let words = percent.into_iter().chain(facts.iter().cloned()).chain(time);
        words.collect::<Vec<_>>().join(", ")
    }
}

fn bar(share: f64, width: usize, blocks: bool) -> String {
    let filled = ((share * width as f64) as usize).min(width);
    let (done, rest) = if blocks { ("█", "░") } else { ("#", "-") };
    done.repeat(filled) + &rest.repeat(width - filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot {
            share: Some(0.456),
            facts: vec!["1234 documents".to_owned(), "812 tokens/s".to_owned()],
            elapsed: Duration::from_secs(60),
            left: Some(Duration::from_secs(200)),
        }
    }

    #[test]
    fn a_line_leaves_out_what_does_not_fit() {
        let line = |width| snapshot().line(width, false);
        let all = "45 %, 1234 documents, 812 tokens/s, 3 min left";
        assert_eq!(line(100), format!("{}{}  {all}", "#".repeat(13), "-".repeat(17)));
        assert_eq!(line(60), format!("#####-------  {all}"));
        assert_eq!(line(50), all);
        assert_eq!(line(39), "45 %, 1234 documents, 3 min left");
        assert_eq!(line(30), "#####-------  45 %, 3 min left");
        for width in 20..200 {
            assert!(snapshot().line(width, true).width() <= width, "{width}");
        }
        assert_eq!(snapshot().text(), all);
    }

    #[test]
    fn work_of_unknown_size_shows_the_time_so_far() {
        let unknown = Snapshot { share: None, left: None, ..snapshot() };
        assert_eq!(unknown.line(80, true), "1234 documents, 812 tokens/s, 60 s");
    }
}
