//! OpenTelemetry: one span per request, exported to a collector as OTLP over HTTP with JSON.
//!
//! A separate thread exports spans. If the collector is slow or unreachable, spans are dropped and
//! requests are not affected.

use axum::http::HeaderMap;
use serde_json::{Value, json};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use ureq::Agent;

/// Maximum number of spans that wait for the collector; further ones are dropped.
const MAX_WAITING: usize = 4096;
/// Maximum number of spans in a message.
const MAX_BATCH: usize = 512;
/// How long a message waits for further spans.
const BATCH_DELAY: Duration = Duration::from_secs(1);
/// Maximum time for exporting a message.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// The position of a request in a trace (W3C Trace Context).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraceContext {
    trace_id: String,
    span_id: String,
    parent_id: Option<String>,
    sampled: bool,
}

/// An answered request.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) context: TraceContext,
    /// Method and route.
    pub(crate) name: String,
    pub(crate) started: SystemTime,
    pub(crate) ended: SystemTime,
    pub(crate) status: u16,
    /// Further attributes: names and values.
    pub(crate) attributes: Vec<(&'static str, String)>,
}

/// Exports spans. When it is dropped, it exports the waiting spans first.
#[derive(Debug)]
pub(crate) struct Traces {
    sender: Option<SyncSender<Span>>,
    thread: Option<JoinHandle<()>>,
    ids: RandomState,
}

impl Traces {
    /// Exports to the collector at `endpoint`, such as `http://localhost:4318`.
    pub(crate) fn start(endpoint: &str) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(MAX_WAITING);
        let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        let thread = std::thread::Builder::new().name("kokeshi-traces".to_owned());
        let thread = thread.spawn(move || export(&receiver, &url))?;
        Ok(Self { sender: Some(sender), thread: Some(thread), ids: RandomState::new() })
    }

    /// The context of a request: a new span, in the client's trace or in a new one.
    pub(crate) fn context(&self, headers: &HeaderMap, request_id: &str) -> TraceContext {
        let id =
            |salt: u8| format!("{:016x}", self.ids.hash_one((request_id, Instant::now(), salt)));
        let sent = headers.get("traceparent").and_then(|value| parse_parent(value.to_str().ok()?));
        let (trace_id, parent_id, sampled) = match sent {
            Some((trace_id, parent_id, sampled)) => (trace_id, Some(parent_id), sampled),
            None => (id(0) + &id(1), None, true),
        };
        TraceContext { trace_id, span_id: id(2), parent_id, sampled }
    }

    /// Queues a span for export, unless the client's trace is not sampled.
    pub(crate) fn record(&self, span: Span) {
        let Some(sender) = self.sender.as_ref().filter(|_| span.context.sampled) else { return };
        if let Err(TrySendError::Full(_)) = sender.try_send(span) {
            tracing::debug!("dropped a span: the collector is slow");
        }
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            // The thread exports the waiting spans and ends. Its panic must not spread to this
            // thread.
            let _ = thread.join();
        }
    }
}

/// The trace id, span id and sampled flag of a `traceparent` header.
fn parse_parent(header: &str) -> Option<(String, String, bool)> {
    let mut parts = header.split('-');
    let (_version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
    let is_id = |id: &str, digits: usize| {
        let hexadecimal = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        id.len() == digits && id.bytes().all(hexadecimal) && id.bytes().any(|b| b != b'0')
    };
    let valid = is_id(trace, 32) && is_id(span, 16);
    valid.then(|| (trace.to_owned(), span.to_owned(), flags & 1 == 1))
}

fn export(spans: &Receiver<Span>, url: &str) {
    let agent: Agent = Agent::config_builder().timeout_global(Some(EXPORT_TIMEOUT)).build().into();
    while let Ok(first) = spans.recv() {
        let mut batch = vec![first];
        let end = Instant::now() + BATCH_DELAY;
        while batch.len() < MAX_BATCH {
            match spans.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(span) => batch.push(span),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        let body = otlp_message(&batch).to_string();
        let sent = agent.post(url).header("Content-Type", "application/json").send(body);
        if let Err(error) = sent {
            tracing::warn!(%error, spans = batch.len(), "the collector did not accept spans");
        }
    }
}

/// An `ExportTraceServiceRequest` in OTLP's JSON.
fn otlp_message(spans: &[Span]) -> Value {
    let resource = json!({"attributes": [
        attribute("service.name", "kokeshi"),
        attribute("service.version", env!("CARGO_PKG_VERSION")),
    ]});
    let spans: Vec<Value> = spans.iter().map(otlp_span).collect();
    let scope = json!({"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")});
    json!({"resourceSpans": [{
        "resource": resource,
        "scopeSpans": [{"scope": scope, "spans": spans}],
    }]})
}

fn otlp_span(span: &Span) -> Value {
    let texts = span.attributes.iter().map(|(name, value)| attribute(name, value));
    let status = json!({
        "key": "http.response.status_code",
        "value": {"intValue": span.status.to_string()},
    });
    let attributes: Vec<Value> = texts.chain([status]).collect();
    let code = if span.status >= 500 { 2 } else { 0 };
    json!({
        "traceId": span.context.trace_id,
        "spanId": span.context.span_id,
        "parentSpanId": span.context.parent_id.as_deref().unwrap_or(""),
        "name": span.name,
        // SPAN_KIND_SERVER.
        "kind": 2,
        "startTimeUnixNano": nanoseconds(span.started),
        "endTimeUnixNano": nanoseconds(span.ended),
        "attributes": attributes,
        "status": {"code": code},
    })
}

fn attribute(name: &str, value: &str) -> Value {
    json!({"key": name, "value": {"stringValue": value}})
}

/// Nanoseconds since 1970 as a string: a JSON number would lose digits.
fn nanoseconds(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_traceparent_is_read_and_an_invalid_one_ignored() {
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let read = |flags: &str| parse_parent(&format!("00-{trace}-{span}-{flags}"));
        assert_eq!(read("01"), Some((trace.to_owned(), span.to_owned(), true)));
        assert_eq!(read("00"), Some((trace.to_owned(), span.to_owned(), false)));
        let zeros = format!("00-{}-{span}-01", "0".repeat(32));
        for wrong in ["", "00", "00-x-y-01", zeros.as_str(), "00-4bf9-00f0-01"] {
            assert_eq!(parse_parent(wrong), None, "{wrong}");
        }
    }
}
