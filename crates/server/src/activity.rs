//! What one connection is doing, and how long it may go on doing it. Closes nothing itself.
//!
//! hyper has a header time-out that also cuts idle connections, none before it knows the HTTP
//! version and none for idle HTTP/2 connections, so one clock here covers all three: the socket
//! and the service report what happens, and [`Activity::deadline`] says how long it may last.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use poem::http::Version;
use tokio::time::Instant;

use super::Config;

/// How long a connection that was told to go may take to do so.
const FAREWELL: Duration = Duration::from_secs(5);
/// The same where at most half a request has come: time for one that is on its way.
pub(super) const SHORT_FAREWELL: Duration = Duration::from_secs(1);
/// The same where nothing has come since the last answer. A client that keeps its connection may be sending the next request
/// just now, and over HTTP/1 it would not know whether that was served.
const LAST_CALL: Duration = Duration::from_millis(500);

/// Which limit a connection has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// A request header did not arrive in time.
    Header,
    /// Nothing went on for too long.
    Idle,
    /// It was told to go and did not.
    Farewell,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// A request header is expected in full, since the given moment.
    Header(Instant),
    /// Nothing but answers already made may be moving; the moment is that of the last movement.
    Idle(Instant),
    /// As `Idle`, and the connection has been told to go, at the given moment, within the given time.
    Leaving(Instant, Duration),
}

#[derive(Debug)]
struct State {
    /// Requests inside the endpoint. While there are any, the phase does not count.
    handling: usize,
    phase: Phase,
    http2: bool,
    /// The last request body was given up with bytes of it still to come.
    unread_body: bool,
    /// The server closes, which bounds everything by its grace.
    closing: bool,
}

/// Shared by everything that belongs to one connection.
#[derive(Debug)]
pub(super) struct Activity {
    header_read_timeout: Duration,
    idle_timeout: Duration,
    state: Mutex<State>,
}

impl Activity {
    /// A connection accepted right now.
    pub(super) fn new(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            header_read_timeout: config.header_read_timeout,
            idle_timeout: config.idle_timeout,
            state: Mutex::new(State {
                handling: 0,
                phase: Phase::Header(Instant::now()),
                http2: false,
                unread_body: false,
                closing: false,
            }),
        })
    }

    /// Nothing is called under the lock, so a poisoned one still holds a whole state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request goes to the endpoint; it stays there until the guard is dropped.
    pub(super) fn handle(self: &Arc<Self>, version: Version) -> Handling {
        let mut state = self.state();
        state.handling += 1;
        state.http2 = version == Version::HTTP_2;
        state.unread_body = false;
        drop(state);
        Handling(Arc::clone(self))
    }

    /// Bytes came in. On HTTP/1, between two requests, they are the start of the next header; on
    /// HTTP/2 they may be anything, and a ping every minute does not make a connection a used one.
    pub(super) fn received(&self) {
        let mut state = self.state();
        if let (0, Phase::Idle(_), false) = (state.handling, state.phase, state.http2) {
            state.phase = Phase::Header(Instant::now());
        }
    }

    /// Bytes went out: on HTTP/1 those of an answer, on HTTP/2 perhaps of a ping's echo, which does not count.
    pub(super) fn sent(&self) {
        let mut state = self.state();
        match state.phase {
            Phase::Idle(_) if !state.http2 => state.phase = Phase::Idle(Instant::now()),
            // An answer that is on its way is not cut off, however slowly it is read.
            Phase::Leaving(_, within) if state.closing => state.phase = Phase::Leaving(Instant::now(), within),
            _ => {}
        }
    }

    /// A request body was dropped before its end.
    pub(super) fn body_abandoned(&self) {
        self.state().unread_body = true;
    }

    /// The connection has been told to go.
    pub(super) fn leave(&self) {
        self.state().phase = Phase::Leaving(Instant::now(), FAREWELL);
    }

    /// The server closes. A request that is on its way is still waited for, but not as long as it might be otherwise.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closing = true;
        let within = match state.phase {
            Phase::Header(_) => SHORT_FAREWELL,
            Phase::Idle(_) => LAST_CALL,
            Phase::Leaving(..) => return,
        };
        if state.handling == 0 {
            state.phase = Phase::Leaving(Instant::now(), within);
        }
    }

    /// Whether requests came over HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.state().http2
    }

    /// Whether the client may still be sending something that nobody is going to read.
    pub(super) fn may_be_sending(&self) -> bool {
        let state = self.state();
        state.unread_body || matches!(state.phase, Phase::Header(_))
    }

    /// How long the connection may stay as it is; none while the endpoint is at work.
    pub(super) fn deadline(&self) -> Option<(Instant, Limit)> {
        let state = self.state();
        if state.handling > 0 {
            return None;
        }
        Some(match state.phase {
            Phase::Header(since) => (since + self.header_read_timeout, Limit::Header),
            Phase::Idle(since) => (since + self.idle_timeout, Limit::Idle),
            Phase::Leaving(since, within) => (since + within, Limit::Farewell),
        })
    }

    /// The longest that a look at [`deadline`](Self::deadline) needs to be put off.
    pub(super) fn longest_wait(&self) -> Duration {
        self.idle_timeout
    }
}

/// One request inside the endpoint, from its header to its answer, a panic or its cancellation.
#[derive(Debug)]
pub(super) struct Handling(Arc<Activity>);

impl Drop for Handling {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.handling -= 1;
        if state.handling == 0 {
            state.phase = match state.phase {
                Phase::Leaving(..) => Phase::Leaving(Instant::now(), FAREWELL),
                Phase::Header(_) | Phase::Idle(_) => Phase::Idle(Instant::now()),
            };
        }
    }
}
