//! Suppresses warnings and errors that repeat, and logs how many were suppressed.
//!
//! Lines repeat if they come from the same call site in the code, whatever their values, so client input cannot create
//! new ones. Per window of [`WINDOW`], the first [`LINES_PER_WINDOW`] lines of a call site are logged; the others are
//! counted until the window ends. Access log lines and lines below warnings are never suppressed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

use super::target;

/// The number of lines of one call site that a window logs.
const LINES_PER_WINDOW: u64 = 5;
/// How long the lines of one call site are counted together. [`RepeatCounter::end_windows`] ends the window, thus a
/// little later.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// The maximum number of call sites counted at once. Lines of further call sites are logged. Kiln and its dependencies
/// have fewer.
const MAX_SITES: usize = 1024;
/// The maximum length of the message in a report, in bytes.
const MESSAGE_BYTES: usize = 200;

/// The decision on one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// The line is logged.
    Log,
    /// The line is suppressed as the first of its window. The caller then adds a description of the call site.
    SuppressFirst,
    /// The line is suppressed.
    Suppress,
}

/// The suppressed lines of one call site and window.
#[derive(Debug, PartialEq, Eq)]
struct SuppressedLines<D> {
    /// `None` if the description was not added yet.
    description: Option<D>,
    lines: u64,
    duration: Duration,
}

/// Counts the lines of each call site. It has no clock and knows no log lines: `S` identifies a call site, `D` describes it.
#[derive(Debug)]
struct RepeatCounter<S, D>(HashMap<S, SiteWindow<D>>);

#[derive(Debug)]
struct SiteWindow<D> {
    started: Instant,
    lines: u64,
    description: Option<D>,
}

impl<S: Eq + Hash, D> RepeatCounter<S, D> {
    fn new() -> Self {
        Self(HashMap::new())
    }

    /// Counts a line of `site` and decides on it.
    fn count(&mut self, site: S, now: Instant) -> Decision {
        if self.0.len() >= MAX_SITES && !self.0.contains_key(&site) {
            return Decision::Log;
        }
        let window = self.0.entry(site).or_insert(SiteWindow { started: now, lines: 0, description: None });
        window.lines += 1;
        match window.lines - 1 {
            before if before < LINES_PER_WINDOW => Decision::Log,
            LINES_PER_WINDOW => Decision::SuppressFirst,
            _ => Decision::Suppress,
        }
    }

    /// Adds the description of `site`.
    fn describe(&mut self, site: &S, description: D) {
        if let Some(window) = self.0.get_mut(site) {
            window.description = Some(description);
        }
    }

    /// Ends all windows that are over, or every window if `all`. Returns those that suppressed lines.
    fn end_windows(&mut self, now: Instant, all: bool) -> Vec<SuppressedLines<D>> {
        let is_over = |window: &mut SiteWindow<D>| all || now.saturating_duration_since(window.started) >= WINDOW;
        let ended = self.0.extract_if(|_, window| is_over(window)).map(|(_, window)| window);
        let suppressed = ended.filter(|window| window.lines > LINES_PER_WINDOW).map(|window| SuppressedLines {
            description: window.description,
            lines: window.lines - LINES_PER_WINDOW,
            duration: now.saturating_duration_since(window.started),
        });
        suppressed.collect()
    }
}

/// A `tracing` filter that suppresses repeats. Clones share their state.
#[derive(Clone, Debug)]
pub(super) struct RateLimitFilter(Arc<Mutex<RepeatCounter<CallSite, Description>>>);

/// A call site, and the digest of a [`LogCrateOrigin`]: all lines of the `log` crate have one call site per level.
type CallSite = (Identifier, u64);

#[derive(Debug)]
struct Description {
    level: Level,
    source: String,
    message: String,
}

impl RateLimitFilter {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(RepeatCounter::new())))
    }

    /// Logs the number of lines suppressed in windows that are over, or in every window if `all`. Must not be called
    /// from within a subscriber.
    pub(super) fn report(&self, now: Instant, all: bool) {
        // The lock is released before a line is logged.
        let suppressed = self.counter().end_windows(now, all);
        suppressed.into_iter().for_each(report);
    }

    fn is_logged(&self, event: &Event<'_>, now: Instant) -> bool {
        let metadata = event.metadata();
        let origin = LogCrateOrigin::of(event);
        let site = (metadata.callsite(), origin.as_ref().map_or(0, LogCrateOrigin::digest));
        let decision = self.counter().count(site.clone(), now);
        if decision == Decision::SuppressFirst {
            // Without the lock, since formatting a value runs code of its type.
            let mut message = MessagePrefix(String::new());
            event.record(&mut message);
            let source = origin.map_or_else(|| metadata.target().to_string(), |origin| origin.target);
            let description = Description { level: *metadata.level(), source, message: message.0 };
            self.counter().describe(&site, description);
        }
        decision == Decision::Log
    }

    fn counter(&self) -> MutexGuard<'_, RepeatCounter<CallSite, Description>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Filter<S> for RateLimitFilter {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    /// Returns `sometimes` for every call site. A layer's filter stores its decision per thread. For a call site that is
    /// `always` enabled, `enabled` is not called again, and the stored decision on the previous line would apply to the next
    /// one (<https://github.com/tokio-rs/tracing/issues/2519>).
    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // A more verbose level is greater.
        *metadata.level() > Level::WARN
            || matches!(metadata.target(), target::ACCESS | target::LOG)
            || self.is_logged(event, Instant::now())
    }
}

fn report(SuppressedLines { description, lines, duration }: SuppressedLines<Description>) {
    let over_s = (duration.as_secs_f64() * 10.0).round() / 10.0;
    let Some(Description { level, source, message }) = description else {
        tracing::warn!(target: target::LOG, lines, over_s, "repeated lines suppressed");
        return;
    };
    // The report has the level of its lines, so that a filter by level shows both or neither.
    if level == Level::ERROR {
        tracing::error!(target: target::LOG, lines, over_s, source, like = message, "repeated lines suppressed");
    } else {
        tracing::warn!(target: target::LOG, lines, over_s, source, like = message, "repeated lines suppressed");
    }
}

/// The place where a line of the `log` crate was logged.
#[derive(Default)]
struct LogCrateOrigin {
    target: String,
    line: u64,
}

impl LogCrateOrigin {
    /// Returns `None` if the event does not come from the `log` crate.
    fn of(event: &Event<'_>) -> Option<Self> {
        (event.metadata().target() == "log").then(|| {
            let mut origin = Self::default();
            event.record(&mut origin);
            origin
        })
    }

    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.target, self.line).hash(&mut hasher);
        hasher.finish()
    }
}

impl Visit for LogCrateOrigin {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "log.target" {
            self.target = value.to_string();
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "log.line" {
            self.line = value;
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// The first bytes of an event's message.
struct MessagePrefix(String);

impl Visit for MessagePrefix {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
            self.0.truncate(self.0.floor_char_boundary(MESSAGE_BYTES));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(counter: &mut RepeatCounter<usize, &str>, site: usize, lines: usize, now: Instant) -> usize {
        (0..lines).filter(|_| counter.count(site, now) == Decision::Log).count()
    }

    #[test]
    fn first_lines_of_a_window_are_logged_and_the_others_counted() {
        let (mut counter, start) = (RepeatCounter::new(), Instant::now());
        assert_eq!(logged(&mut counter, 1, 5, start), 5);
        assert_eq!(counter.count(1, start), Decision::SuppressFirst);
        counter.describe(&1, "one");
        assert_eq!(counter.count(1, start + WINDOW), Decision::Suppress, "nothing ended the window yet");
        assert_eq!(logged(&mut counter, 2, 9, start + WINDOW / 2), 5, "another call site has its own window");
        assert_eq!(counter.end_windows(start + WINDOW - Duration::from_millis(1), false), []);
        let suppressed = SuppressedLines { description: Some("one"), lines: 2, duration: WINDOW };
        assert_eq!(counter.end_windows(start + WINDOW, false), [suppressed]);
        assert_eq!(logged(&mut counter, 1, 9, start + WINDOW), 5, "the next window logs as many");
    }

    #[test]
    fn window_without_suppressed_lines_is_not_reported() {
        let (mut counter, start) = (RepeatCounter::new(), Instant::now());
        assert_eq!(logged(&mut counter, 1, 5, start), 5);
        assert_eq!(counter.end_windows(start + WINDOW, false), []);
        assert!(counter.0.is_empty());
    }

    #[test]
    fn all_windows_can_be_ended_early() {
        let (mut counter, start) = (RepeatCounter::new(), Instant::now());
        logged(&mut counter, 1, 7, start);
        let suppressed = SuppressedLines { description: None, lines: 2, duration: Duration::ZERO };
        assert_eq!(counter.end_windows(start, true), [suppressed]);
    }

    #[test]
    fn number_of_call_sites_is_bounded_and_further_lines_are_logged() {
        let (mut counter, start) = (RepeatCounter::new(), Instant::now());
        assert!((0..MAX_SITES * 2).all(|site| counter.count(site, start) == Decision::Log));
        assert_eq!(counter.0.len(), MAX_SITES);
        assert_eq!(logged(&mut counter, 0, 9, start), 4);
    }
}
