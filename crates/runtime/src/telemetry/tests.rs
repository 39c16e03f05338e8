//! The log pipeline as a whole: real events through a real subscriber into a buffer.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tracing::Dispatch;
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

use super::dropped_lines::{DroppedLinesReporter, LogOutput};
use super::escaping_writer::EscapingWriter;
use super::logging::{LogFormat, LogLevel, layer};
use super::rate_limit::{self, RateLimitFilter};
use super::target;

/// The bytes written so far. While a test holds the lock, writers wait.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Target, message and all fields of each line.
    fn lines(&self) -> Vec<(String, String, Value)> {
        let field = |line: &Value, key: &str| line[key].as_str().unwrap().to_string();
        let lines = self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
        lines.into_iter().map(|line| (field(&line, "target"), field(&line, "message"), line)).collect()
    }

    /// The number of lines with this message.
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

/// A disk of limited capacity.
struct Disk {
    bytes_left: usize,
    buffer: Buffer,
}

struct DiskWriter(Arc<Mutex<Disk>>);

impl Write for DiskWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.lock().unwrap();
        disk.bytes_left = disk.bytes_left.checked_sub(line.len()).ok_or(io::ErrorKind::StorageFull)?;
        disk.buffer.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Builds the same log as `logging::init`, but without threads.
fn log(format: LogFormat, level: &str) -> (Buffer, RateLimitFilter, Dispatch) {
    let (buffer, rate_limit) = (Buffer::default(), RateLimitFilter::new());
    let filter = level.parse::<LogLevel>().unwrap().filter().and(rate_limit.clone());
    let layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = vec![layer(format, EscapingWriter(buffer.clone()))];
    let subscriber = tracing_subscriber::registry().with(layers.with_filter(filter));
    (buffer, rate_limit, Dispatch::new(subscriber))
}

/// Returns what `act` logs as JSON.
fn json(level: &str, act: impl FnOnce(&RateLimitFilter)) -> Buffer {
    let (buffer, rate_limit, dispatch) = log(LogFormat::Json, level);
    tracing::dispatcher::with_default(&dispatch, || act(&rate_limit));
    buffer
}

#[track_caller]
fn wait_until(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(30), "the condition did not become true");
        std::thread::yield_now();
    }
}

#[test]
fn enabled_query_does_not_suppress_the_next_line() {
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
fn lines_have_the_request_id_at_every_level() {
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
fn values_cannot_forge_lines_in_either_format() {
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
        let is_control = |c: &char| *c != '\n' && (c.is_control() || matches!(c, '\u{2028}' | '\u{202e}'));
        assert_eq!(text.chars().find(is_control), None, "{text:?}");
        if format == LogFormat::Json {
            let (_, message, line) = buffer.lines().swap_remove(0);
            assert_eq!((message.as_str(), &line["shown"]), (attack, &attack.into()), "JSON preserves the value");
        }
    }
}

#[test]
fn only_repeated_warnings_are_suppressed_and_each_window_is_reported_once() {
    let buffer = json("info", |rate_limit| {
        for number in 0..20 {
            tracing::warn!(number, "it failed");
            // Directly after a line that was suppressed.
            tracing::info!("it goes on");
            tracing::warn!(target: target::ACCESS, status = 500, "answered");
        }
        tracing::warn!("another one");
        // The window is not over yet.
        rate_limit.report(Instant::now(), false);
        rate_limit.report(Instant::now() + rate_limit::WINDOW, false);
        rate_limit.report(Instant::now() + rate_limit::WINDOW, true);
    });
    let counts = ["it failed", "it goes on", "answered", "another one"].map(|message| buffer.count(message));
    assert_eq!(counts, [5, 20, 20, 1]);
    let reports: Vec<_> = buffer.lines().into_iter().filter(|line| line.0 == target::LOG).collect();
    let [(_, message, line)] = &reports[..] else { panic!("{reports:#?}") };
    assert_eq!((message.as_str(), &line["level"]), ("repeated lines suppressed", &"WARN".into()));
    assert_eq!((&line["lines"], &line["like"]), (&15.into(), &"it failed".into()));
    assert_eq!(line["source"], module_path!());
    assert!((10.0..11.0).contains(&line["over_s"].as_f64().unwrap()), "{line}");
}

#[test]
fn filter_that_shows_the_repeats_shows_the_report() {
    let fails = |rate_limit: &RateLimitFilter| {
        (0..9).for_each(|_| tracing::error!(target: "part", "it failed"));
        rate_limit.report(Instant::now(), true);
    };
    for (level, reports) in [("error", 1), ("off,part=error", 1), ("off", 0), ("error,kiln::log=off", 0)] {
        assert_eq!(json(level, fails).count("repeated lines suppressed"), reports, "{level}");
    }
}

#[test]
fn lines_of_the_log_crate_repeat_by_their_origin() {
    // As `tracing-log` forwards them: all lines of one level have one call site.
    let forward = |origin: &str| {
        tracing::warn!(target: "log", { log.target = origin, log.line = 7u64 }, "relayed");
    };
    let buffer = json("info", |rate_limit| {
        ["one", "other", "one"].iter().cycle().take(27).for_each(|origin| forward(origin));
        rate_limit.report(Instant::now(), true);
    });
    let mut reports: Vec<_> =
        buffer.lines().into_iter().filter(|line| line.0 == target::LOG).map(|line| line.2).collect();
    reports.sort_by_key(|line| line["lines"].as_u64());
    let reports: Vec<_> =
        reports.iter().map(|line| (line["source"].as_str().unwrap(), line["lines"].as_u64().unwrap())).collect();
    assert_eq!((buffer.count("relayed"), &reports[..]), (10, &[("other", 4), ("one", 13)][..]));
}

#[test]
fn lines_dropped_by_a_full_queue_or_a_full_disk_are_reported() {
    let buffer = Buffer::default();
    let disk = Arc::new(Mutex::new(Disk { bytes_left: 1_000_000, buffer: buffer.clone() }));
    let (output, lines, guard) = LogOutput::start("file", DiskWriter(Arc::clone(&disk)), 4);
    let layers = vec![layer(LogFormat::Json, EscapingWriter(lines))];
    let filter = "info".parse::<LogLevel>().unwrap().filter();
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layers.with_filter(filter)));
    let mut reporter = DroppedLinesReporter::new(vec![output.clone()]);
    let start = Instant::now();
    tracing::dispatcher::with_default(&dispatch, || {
        let blocked = buffer.0.lock().unwrap();
        (0..20).for_each(|_| tracing::info!("a line"));
        // The writer may hold one line, and four wait.
        let dropped = output.dropped();
        assert!((15..=16).contains(&dropped), "{dropped}");
        reporter.report(start, false);
        assert_eq!(output.dropped(), dropped + 1, "the report was dropped, too");
        drop(blocked);
        wait_until(|| buffer.count("a line") as u64 == 20 - dropped);
        reporter.report(start + Duration::from_secs(9), false);
        reporter.report(start + Duration::from_secs(10), false);
        wait_until(|| buffer.count("log lines dropped") == 1);
        reporter.report(start + Duration::from_secs(99), false);
        let report = buffer.lines().pop().unwrap().2;
        assert_eq!((&report["output"], &report["lines"]), (&"file".into(), &(dropped + 1).into()), "{report}");
        disk.lock().unwrap().bytes_left = 0;
        tracing::info!("on a full disk");
        wait_until(|| output.dropped() == dropped + 2);
        disk.lock().unwrap().bytes_left = 1_000_000;
        reporter.report(start + Duration::from_secs(99), true);
    });
    drop(guard);
    let report = buffer.lines().pop().unwrap().2;
    assert_eq!((buffer.count("on a full disk"), &report["lines"]), (0, &1.into()), "{report}");
}
