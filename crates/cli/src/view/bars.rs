//! Bar charts of web pages, as text that wraps: in a narrow window, labels are above the bars.

use maud::{Markup, html};

/// The style that a page with [`bars`] needs.
pub(crate) const STYLE: &str = "
.bars { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .2rem .8rem; max-width: 46rem; }
.bars div { display: flex; align-items: center; gap: .5rem; white-space: nowrap; }
.bars i { height: 1rem; border-radius: 2px; background: var(--new); min-width: 1px;
  width: calc(var(--share) * (100% - 6rem)); }
.bars i.other { background: var(--old); }
@media (max-width: 34rem) { .bars { grid-template-columns: 1fr; } }
";

/// A bar of a chart.
pub(crate) struct Bar {
    pub(crate) label: String,
    /// Its length, from 0 to 1; outside, it ends there.
    pub(crate) share: f64,
    /// The text after it.
    pub(crate) value: String,
    /// Whether it has the second colour.
    pub(crate) is_other: bool,
}

pub(crate) fn bars(bars: &[Bar]) -> Markup {
    html! {
        div.bars {
            @for bar in bars {
                @let share = bar.share.clamp(0.0, 1.0);
                span { (bar.label) }
                div { i.other[bar.is_other] style=(format!("--share:{share:.4}")) {} (bar.value) }
            }
        }
    }
}
