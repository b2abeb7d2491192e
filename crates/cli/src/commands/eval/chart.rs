//! Charts of shares by dimensions, as SVG in a page whose colours they take.

use super::figures::shown;
use maud::{Markup, html};

/// Pixels of the area of a line chart, and of the labels around it.
const AREA: (f64, f64) = (520.0, 260.0);
const MARGIN: f64 = 46.0;
const LABELS: f64 = 260.0;
/// Pixels between two labels of lines, at least.
const LABEL_GAP: f64 = 17.0;
/// Degrees between the hues of two lines: the golden angle, so that any number differ.
const HUE_STEP: f64 = 137.5;

/// A line through the shares of several numbers of dimensions.
pub(super) struct Line {
    pub(super) label: String,
    pub(super) points: Vec<(usize, f64)>,
}

/// Lines over the logarithm of the dimensions.
pub(super) fn lines(lines: &[Line]) -> Markup {
    let points = || lines.iter().flat_map(|line| &line.points);
    let Some(scale) = Scale::of(points()) else { return html! {} };
    let mut columns: Vec<usize> = points().map(|(dimensions, _)| *dimensions).collect();
    columns.sort_unstable();
    columns.dedup();
    let labels = label_positions(lines, &scale);
    let lowest = labels.iter().copied().fold(0.0, f64::max);
    let (width, height) =
        (MARGIN + AREA.0 + LABELS, (AREA.1 + 2.0 * MARGIN).max(lowest + LABEL_GAP));
    html! {
        div.scroll {
            svg role="img" width="100%" viewBox=(format!("0 0 {width} {height}")) {
                @for value in scale.ticks() {
                    @let y = pixels(scale.y(value));
                    line class="axis" x1=(MARGIN) x2=(MARGIN + AREA.0) y1=(y) y2=(y) {}
                    text.soft x=(MARGIN - 8.0) y=(pixels(scale.y(value) + 4.0)) text-anchor="end" {
                        (format!("{:.0}", 100.0 * value))
                    }
                }
                @for dimensions in columns {
                    text.soft x=(pixels(scale.x(dimensions))) y=(AREA.1 + MARGIN + 20.0)
                        text-anchor="middle" { (dimensions) }
                }
                @for (number, y) in labels.into_iter().enumerate() {
                    (drawn(&lines[number], number, y, &scale))
                }
            }
        }
    }
}

fn drawn(line: &Line, number: usize, label: f64, scale: &Scale) -> Markup {
    let hue = pixels(number as f64 * HUE_STEP % 360.0 + 215.0);
    let colour = format!("hsl({hue} 60% var(--l))");
    let at = |(dimensions, share): &(usize, f64)| {
        (pixels(scale.x(*dimensions)), pixels(scale.y(*share)))
    };
    let path: Vec<String> = line
        .points
        .iter()
        .map(|point| {
            let (x, y) = at(point);
            format!("{x},{y}")
        })
        .collect();
    html! {
        polyline class="line" stroke=(colour) points=(path.join(" ")) {}
        @for point in &line.points {
            @let (x, y) = at(point);
            circle cx=(x) cy=(y) r="3.5" fill=(colour) {
                title { (line.label) ", " (point.0) ": " (shown(point.1)) }
            }
        }
        circle cx=(MARGIN + AREA.0 + 18.0) cy=(pixels(label - 4.0)) r="4" fill=(colour) {}
        text x=(MARGIN + AREA.0 + 28.0) y=(pixels(label)) { (line.label) }
    }
}

/// Where the label of each line is: beside its point with the most dimensions, but below the label
/// above.
fn label_positions(lines: &[Line], scale: &Scale) -> Vec<f64> {
    let wanted = |line: &Line| {
        let end = line.points.iter().max_by_key(|(dimensions, _)| *dimensions);
        end.map_or(MARGIN, |point| scale.y(point.1) + 4.0)
    };
    let wanted: Vec<f64> = lines.iter().map(wanted).collect();
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    let mut positions = vec![0.0; lines.len()];
    let mut above = f64::NEG_INFINITY;
    for number in order {
        above = wanted[number].max(above + LABEL_GAP);
        positions[number] = above;
    }
    positions
}

/// The shares and dimensions that a chart covers.
struct Scale {
    /// From the lowest share, rounded down to a tick, to the highest, rounded up.
    shares: (f64, f64),
    tick: f64,
    /// Logarithms.
    dimensions: (f64, f64),
}

impl Scale {
    /// The scale of `points`; `None` if there are none.
    fn of<'a>(points: impl Iterator<Item = &'a (usize, f64)>) -> Option<Self> {
        let mut shares = (f64::INFINITY, f64::NEG_INFINITY);
        let mut dimensions = shares;
        for (count, share) in points {
            let log = (*count as f64).ln();
            shares = (shares.0.min(*share), shares.1.max(*share));
            dimensions = (dimensions.0.min(log), dimensions.1.max(log));
        }
        let tick = if shares.1 - shares.0 > 0.3 { 0.1 } else { 0.05 };
        let round = |share: f64, up: f64| ((share / tick).floor() + up) * tick;
        let shares = (round(shares.0, 0.0), round(shares.1, 1.0));
        shares.0.is_finite().then_some(Self { shares, tick, dimensions })
    }

    fn ticks(&self) -> Vec<f64> {
        let count = ((self.shares.1 - self.shares.0) / self.tick).round() as usize;
        (0..=count).map(|step| self.shares.0 + step as f64 * self.tick).collect()
    }

    fn x(&self, dimensions: usize) -> f64 {
        let (low, high) = self.dimensions;
        // A single number of dimensions is at the right end.
        let at = if high > low { ((dimensions as f64).ln() - low) / (high - low) } else { 1.0 };
        MARGIN + 20.0 + at * (AREA.0 - 40.0)
    }

    fn y(&self, share: f64) -> f64 {
        let (low, high) = self.shares;
        MARGIN + (high - share) / (high - low) * AREA.1
    }
}

/// A length without needless digits.
fn pixels(length: f64) -> String {
    format!("{length:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_points_of_a_chart_are_within_its_area() {
        let points = [(32, 0.381), (384, 0.885), (64, 0.66)];
        let scale = Scale::of(points.iter()).expect("a scale");
        let ticks = scale.ticks();
        assert_eq!(ticks.len(), 7);
        assert!((ticks[0] - 0.3).abs() < 1e-9 && (ticks[6] - 0.9).abs() < 1e-9, "{ticks:?}");
        for (dimensions, share) in points {
            let (x, y) = (scale.x(dimensions), scale.y(share));
            assert!((MARGIN..=MARGIN + AREA.0).contains(&x), "{x}");
            assert!((MARGIN..=MARGIN + AREA.1).contains(&y), "{y}");
        }
        assert!(scale.x(64) < scale.x(384) && scale.y(0.66) > scale.y(0.885));
        assert!(Scale::of([].iter()).is_none());
        assert!(Scale::of([(8, 1.0)].iter()).is_some_and(|scale| scale.y(1.0).is_finite()));
    }

    #[test]
    fn labels_of_lines_do_not_cover_each_other() {
        let line = |share| Line { label: String::new(), points: vec![(32, 0.1), (64, share)] };
        let lines = [line(0.5), line(0.501), line(0.9), line(0.5)];
        let scale = Scale::of(lines.iter().flat_map(|line| &line.points)).expect("a scale");
        let mut positions = label_positions(&lines, &scale);
        assert!(positions[2] < positions[1]);
        positions.sort_by(f64::total_cmp);
        assert!(positions.windows(2).all(|pair| pair[1] - pair[0] >= LABEL_GAP - 1e-9));
    }
}
