//! The log's parts together: real events through a real subscriber into a buffer.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tracing::Dispatch;
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

use super::logging::{LogFormat, layer};
use super::lost::{Output, Teller};
use super::one_line::OneLine;
use super::throttle::Throttle;
use super::{repeats, target};

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
    let filter = level.parse::<super::logging::LogLevel>().unwrap().filter().and(throttle.clone());
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
fn warnings_that_repeat_are_held_back_and_told_once_and_nothing_else_is() {
    let buffer = json("info", |throttle| {
        for number in 0..20 {
            tracing::warn!(number, "it failed");
            // At once after one that was held back.
            tracing::info!("it goes on");
            tracing::warn!(target: target::ACCESS, status = 500, "answered");
        }
        tracing::warn!("another one");
        // The window is not over yet.
        throttle.tell(Instant::now(), false);
        throttle.tell(Instant::now() + repeats::WINDOW, false);
        throttle.tell(Instant::now() + repeats::WINDOW, true);
    });
    let counts = ["it failed", "it goes on", "answered", "another one"].map(|message| buffer.count(message));
    assert_eq!(counts, [5, 20, 20, 1]);
    let told: Vec<_> = buffer.lines().into_iter().filter(|line| line.0 == target::LOG).collect();
    let [(_, message, line)] = &told[..] else { panic!("{told:#?}") };
    assert_eq!((message.as_str(), &line["level"]), ("repeats were held back", &"WARN".into()));
    assert_eq!((&line["lines"], &line["like"]), (&15.into(), &"it failed".into()));
    assert_eq!(line["source"], module_path!());
    assert!((10.0..11.0).contains(&line["over_s"].as_f64().unwrap()), "{line}");
}

#[test]
fn who_sees_the_repeats_of_a_place_sees_how_many_were_held_back() {
    let fails = |throttle: &Throttle| {
        (0..9).for_each(|_| tracing::error!(target: "part", "it failed"));
        throttle.tell(Instant::now(), true);
    };
    for (level, told) in [("error", 1), ("off,part=error", 1), ("off", 0), ("error,kiln::log=off", 0)] {
        assert_eq!(json(level, fails).count("repeats were held back"), told, "{level}");
    }
}

#[test]
fn lines_of_the_log_crate_repeat_by_where_they_come_from() {
    // As `tracing-log` hands them on: all of one level are one call site.
    let relayed = |origin: &str| {
        tracing::warn!(target: "log", { log.target = origin, log.line = 7u64 }, "relayed");
    };
    let buffer = json("info", |throttle| {
        ["one", "other", "one"].iter().cycle().take(27).for_each(|origin| relayed(origin));
        throttle.tell(Instant::now(), true);
    });
    let mut told: Vec<_> = buffer.lines().into_iter().filter(|line| line.0 == target::LOG).map(|line| line.2).collect();
    told.sort_by_key(|line| line["lines"].as_u64());
    let told: Vec<_> =
        told.iter().map(|line| (line["source"].as_str().unwrap(), line["lines"].as_u64().unwrap())).collect();
    assert_eq!((buffer.count("relayed"), &told[..]), (10, &[("other", 4), ("one", 13)][..]));
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

#[test]
fn lines_that_find_no_room_or_cannot_be_written_are_told_once_there_is_room() {
    let buffer = Buffer::default();
    let full = Full { left: 1_000_000, buffer: buffer.clone() };
    let disk = Arc::new(Mutex::new(full));
    let (output, lines, guard) = Output::begin("file", Disk(Arc::clone(&disk)), 4);
    let layers = vec![layer(LogFormat::Json, OneLine(lines))];
    let filter = "info".parse::<super::logging::LogLevel>().unwrap().filter();
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layers.with_filter(filter)));
    let mut teller = Teller::of(vec![output.clone()]);
    let start = Instant::now();
    tracing::dispatcher::with_default(&dispatch, || {
        let stuck = buffer.0.lock().unwrap();
        (0..20).for_each(|_| tracing::info!("a line"));
        // One may be in the writer's hands, and four wait.
        let lost = output.lost();
        assert!((15..=16).contains(&lost), "{lost}");
        teller.tell(start, false);
        assert_eq!(output.lost(), lost + 1, "the line that tells of it found no room either");
        drop(stuck);
        until(|| buffer.count("a line") as u64 == 20 - lost);
        teller.tell(start + Duration::from_secs(9), false);
        teller.tell(start + Duration::from_secs(10), false);
        until(|| buffer.count("lines of the log were lost") == 1);
        teller.tell(start + Duration::from_secs(99), false);
        let told = buffer.lines().pop().unwrap().2;
        assert_eq!((&told["output"], &told["lines"]), (&"file".into(), &(lost + 1).into()), "{told}");
        disk.lock().unwrap().left = 0;
        tracing::info!("on a full disk");
        until(|| output.lost() == lost + 2);
        disk.lock().unwrap().left = 1_000_000;
        teller.tell(start + Duration::from_secs(99), true);
    });
    drop(guard);
    let told = buffer.lines().pop().unwrap().2;
    assert_eq!((buffer.count("on a full disk"), &told["lines"]), (0, &1.into()), "{told}");
}

/// A disk with so many bytes left.
struct Full {
    left: usize,
    buffer: Buffer,
}

struct Disk(Arc<Mutex<Full>>);

impl Write for Disk {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.lock().unwrap();
        disk.left = disk.left.checked_sub(line.len()).ok_or(io::ErrorKind::StorageFull)?;
        disk.buffer.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[track_caller]
fn until(happened: impl Fn() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < Duration::from_secs(30), "it did not happen");
        std::thread::yield_now();
    }
}
