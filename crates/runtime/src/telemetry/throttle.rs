//! Holds back warnings and errors that repeat, and tells how many: the policy of `repeats` joined to `tracing`.
//!
//! Repeats are lines of one place in the code, whatever their values: what clients send makes no place. Lines of the
//! access log and all below warnings are none of its business.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

use super::repeats::{Held, Repeats, Verdict};
use super::target;

/// The part of a message that describes its place.
const MESSAGE_BYTES: usize = 200;

/// A filter; its clones share what they know.
#[derive(Clone, Debug)]
pub(super) struct Throttle(Arc<Mutex<Repeats<Place, Description>>>);

/// A call site; all those of the `log` crate are one, so with them goes what they say of their own.
type Place = (Identifier, u64);

#[derive(Debug)]
struct Description {
    level: Level,
    source: String,
    message: String,
}

impl Throttle {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Repeats::none())))
    }

    /// Tells what was held back in windows that are over, or in all of them. Not for use inside of a subscriber.
    pub(super) fn tell(&self, now: Instant, all: bool) {
        // The lock is free again before a line is logged.
        let held = self.repeats().end(now, all);
        held.into_iter().for_each(tell);
    }

    fn is_shown(&self, event: &Event<'_>, now: Instant) -> bool {
        let metadata = event.metadata();
        let origin = Origin::of(event);
        let place = (metadata.callsite(), origin.as_ref().map_or(0, Origin::digest));
        let verdict = self.repeats().judge(place.clone(), now);
        if verdict == Verdict::Describe {
            // Outside of the lock, since values may do what they like when they are shown.
            let mut message = Message(String::new());
            event.record(&mut message);
            let source = origin.map_or_else(|| metadata.target().to_string(), |origin| origin.target);
            let description = Description { level: *metadata.level(), source, message: message.0 };
            self.repeats().describe(&place, description);
        }
        verdict == Verdict::Show
    }

    fn repeats(&self) -> MutexGuard<'_, Repeats<Place, Description>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Filter<S> for Throttle {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    /// Not `always`, for anything: a filter of a layer leaves its answer with the thread, and where `enabled` is not
    /// asked anew, the next line is judged by what was answered for the last one
    /// (<https://github.com/tokio-rs/tracing/issues/2519>).
    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // Levels are the greater the more they let through.
        *metadata.level() > Level::WARN
            || matches!(metadata.target(), target::ACCESS | target::LOG)
            || self.is_shown(event, Instant::now())
    }
}

fn tell(Held { description, lines, over }: Held<Description>) {
    let over_s = (over.as_secs_f64() * 10.0).round() / 10.0;
    let Some(Description { level, source, message }) = description else {
        tracing::warn!(target: target::LOG, lines, over_s, "repeats were held back");
        return;
    };
    // What is asked for by level alone gets the count with the lines that it goes with.
    if level == Level::ERROR {
        tracing::error!(target: target::LOG, lines, over_s, source, like = message, "repeats were held back");
    } else {
        tracing::warn!(target: target::LOG, lines, over_s, source, like = message, "repeats were held back");
    }
}

/// Where a line of the `log` crate comes from.
#[derive(Default)]
struct Origin {
    target: String,
    line: u64,
}

impl Origin {
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

impl Visit for Origin {
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

/// The beginning of an event's message.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
            self.0.truncate(self.0.floor_char_boundary(MESSAGE_BYTES));
        }
    }
}
