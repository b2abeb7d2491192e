//! Expected values of measures, computed by scipy, scikit-learn and Python:
//! `fixtures/metrics/make_metrics.py`.

use serde_json::Value;
use std::sync::LazyLock;

static VALUES: LazyLock<Value> = LazyLock::new(|| {
    let json = include_str!("../../../fixtures/metrics/metrics.json");
    serde_json::from_str(json).expect("expected values")
});

/// The array called `name`.
pub(crate) fn array(name: &str) -> &'static Vec<Value> {
    VALUES[name].as_array().expect(name)
}

#[track_caller]
pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

#[track_caller]
pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("numbers").iter().map(number).collect()
}
