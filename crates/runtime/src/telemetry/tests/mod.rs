//! The log's parts together: real events through a real subscriber into a buffer.

mod lost;
mod repeats;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing::Dispatch;
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

use super::logging::{LogFormat, LogLevel, layer};
use super::one_line::OneLine;
use super::target;
use super::throttle::Throttle;

/// What was written so far. While somebody holds the lock, writing waits.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Each line's target and message, and the line.
    fn lines(&self) -> Vec<(String, String, Value)> {
        let word = |line: &Value, key: &str| line[key].as_str().unwrap().to_string();
        let lines = self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
        lines.into_iter().map(|line| (word(&line, "target"), word(&line, "message"), line)).collect()
    }

    fn count(&self, message: &str) -> usize {
        self.lines().iter().filter(|line| line.1 == message).count()
    }
}

impl Write for Buffer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A log as `logging::init` makes it, but for the threads.
fn log(format: LogFormat, level: &str) -> (Buffer, Throttle, Dispatch) {
    let (buffer, throttle) = (Buffer::default(), Throttle::new());
    let filter = level.parse::<LogLevel>().unwrap().filter().and(throttle.clone());
    let layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = vec![layer(format, OneLine(buffer.clone()))];
    let subscriber = tracing_subscriber::registry().with(layers.with_filter(filter));
    (buffer, throttle, Dispatch::new(subscriber))
}

fn json(level: &str, act: impl FnOnce(&Throttle)) -> Buffer {
    let (buffer, throttle, dispatch) = log(LogFormat::Json, level);
    tracing::dispatcher::with_default(&dispatch, || act(&throttle));
    buffer
}

#[test]
fn a_question_whether_something_is_logged_does_not_swallow_the_next_line() {
    let span = || tracing::debug_span!(target: "elsewhere", "span").metadata().unwrap();
    let elsewhere = tracing::dispatcher::with_default(&log(LogFormat::Json, "debug").2, span);
    let buffer = json("info,kiln=debug", |_| {
        tracing::info!("first");
        // As libraries do that use the `log` crate.
        for _ in 0..3 {
            tracing::dispatcher::get_default(|dispatch| dispatch.enabled(elsewhere));
            tracing::info!("next");
        }
    });
    assert_eq!((buffer.count("first"), buffer.count("next")), (1, 3));
}

#[test]
fn a_request_keeps_its_id_however_little_is_logged() {
    let buffer = json("off,kiln::access=info", |_| {
        let _request = tracing::error_span!(target: target::REQUEST, "request", id = "find-me").entered();
        tracing::info!(target: target::ACCESS, "answered");
        tracing::error!("something else");
    });
    let lines = buffer.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert_eq!(lines[0].2["span"]["id"], "find-me");
}

#[test]
fn no_value_forges_a_line_in_either_format() {
    let attack = "x\n2026-01-01T00:00:00Z  INFO kiln::access: answered\r\u{1b}[2K\u{9b}1A\u{2028}\u{202e}";
    for format in [LogFormat::Text, LogFormat::Json] {
        let (buffer, _, dispatch) = log(format, "info");
        tracing::dispatcher::with_default(&dispatch, || {
            let span = tracing::error_span!("request", shown = %attack, quoted = attack, debugged = ?attack);
            span.in_scope(|| tracing::info!(shown = %attack, quoted = attack, debugged = ?attack, "{attack}"));
            let error = io::Error::other(attack);
            tracing::warn!(error = &error as &dyn std::error::Error, "an error");
        });
        let text = buffer.text();
        assert_eq!(text.lines().count(), 2, "{text}");
        let unseen = |c: &char| *c != '\n' && (c.is_control() || matches!(c, '\u{2028}' | '\u{202e}'));
        assert_eq!(text.chars().find(unseen), None, "{text:?}");
        if format == LogFormat::Json {
            let (_, message, line) = buffer.lines().swap_remove(0);
            assert_eq!((message.as_str(), &line["shown"]), (attack, &attack.into()), "it says what was sent");
        }
    }
}
