//! Metrics for Prometheus, served at `/metrics`.

use crate::running_model::RunningModel;
use kokeshi::Observer;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    TextEncoder,
};
use std::sync::Arc;
use std::time::Duration;

/// Buckets in seconds, from a tenth of a millisecond to minutes, by factors of about three.
const SECONDS: [f64; 13] =
    [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];
/// Buckets in tokens of a batch.
const TOKENS: [f64; 11] =
    [16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0];

/// All series of a server. The values of labels are bounded: paths of routes, served models, and
/// the tasks of a model.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: prometheus::Registry,
    pub(crate) requests: IntCounterVec,
    pub(crate) request_seconds: HistogramVec,
    pub(crate) in_flight: IntGauge,
    pub(crate) errors: IntCounterVec,
    pub(crate) tokens: IntCounterVec,
    pub(crate) texts: IntCounterVec,
    queue_wait: HistogramVec,
    batch_tokens: HistogramVec,
    forward: HistogramVec,
    queue_tokens: IntGaugeVec,
    queue_requests: IntGaugeVec,
    model_bytes: IntGaugeVec,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = prometheus::Registry::new();
        let counter = |name, help, labels: &[&str]| {
            register(&registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let gauge = |name, help, labels: &[&str]| {
            register(&registry, IntGaugeVec::new(Opts::new(name, help), labels))
        };
        let histogram = |name, help, labels: &[&str], buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            register(&registry, HistogramVec::new(options, labels))
        };
        let (model, work) = (&["model"][..], &["model", "task"][..]);
        Self {
            requests: counter("kokeshi_requests_total", "Answered requests", &["path", "status"]),
            request_seconds: histogram(
                "kokeshi_request_seconds",
                "Time from a request's headers to its answer",
                &["path"],
                &SECONDS,
            ),
            in_flight: register(
                &registry,
                IntGauge::new("kokeshi_requests_in_flight", "Requests being answered"),
            ),
            errors: counter("kokeshi_errors_total", "Refused requests", &["code"]),
            tokens: counter("kokeshi_tokens_total", "Tokens of answered requests", work),
            texts: counter("kokeshi_texts_total", "Texts of answered requests", work),
            queue_wait: histogram(
                "kokeshi_queue_wait_seconds",
                "Time from submission to the first forward pass",
                model,
                &SECONDS,
            ),
            batch_tokens: histogram("kokeshi_batch_tokens", "Tokens of a batch", model, &TOKENS),
            forward: histogram(
                "kokeshi_forward_seconds",
                "Time of a batch's forward pass, including interruptions",
                model,
                &SECONDS,
            ),
            queue_tokens: gauge("kokeshi_queue_tokens", "Tokens waiting or running", model),
            queue_requests: gauge("kokeshi_queue_requests", "Requests waiting or running", model),
            model_bytes: gauge("kokeshi_model_bytes", "Bytes of a loaded model's weights", model),
            registry,
        }
    }
}

/// Registers a metric. Its name and labels are constants of this file, and an error in them fails
/// every test that creates a server.
fn register<M: prometheus::core::Collector + Clone + 'static>(
    registry: &prometheus::Registry,
    metric: prometheus::Result<M>,
) -> M {
    #[expect(
        clippy::expect_used,
        reason = "the names are constants, and every test of a server creates all metrics"
    )]
    let metric = metric.expect("a valid metric");
    let registered = registry.register(Box::new(metric.clone()));
    debug_assert!(registered.is_ok(), "two metrics have the same name");
    metric
}

impl Metrics {
    /// All series in the text format of Prometheus.
    pub(crate) fn render(&self, running: &[Arc<RunningModel>]) -> Vec<u8> {
        for gauge in [&self.queue_tokens, &self.queue_requests, &self.model_bytes] {
            gauge.reset();
        }
        for running in running {
            let (stats, label) = (running.stats(), [running.name.as_str()]);
            self.queue_tokens.with_label_values(&label).set(stats.tokens as i64);
            self.queue_requests.with_label_values(&label).set(stats.requests as i64);
            self.model_bytes.with_label_values(&label).set(running.model.len_bytes() as i64);
        }
        let mut text = Vec::new();
        let written = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        debug_assert!(written.is_ok(), "writing to memory succeeds");
        text
    }

    /// Records the events of the queue of `model`.
    pub(crate) fn observer(&self, model: &str) -> Arc<dyn Observer> {
        Arc::new(QueueObserver {
            wait: self.queue_wait.with_label_values(&[model]),
            batch_tokens: self.batch_tokens.with_label_values(&[model]),
            forward: self.forward.with_label_values(&[model]),
        })
    }
}

#[derive(Debug)]
struct QueueObserver {
    wait: Histogram,
    batch_tokens: Histogram,
    forward: Histogram,
}

impl Observer for QueueObserver {
    fn waited(&self, wait: Duration) {
        self.wait.observe(wait.as_secs_f64());
    }

    fn ran(&self, tokens: usize, _sequences: usize, time: Duration) {
        self.batch_tokens.observe(tokens as f64);
        self.forward.observe(time.as_secs_f64());
    }
}
