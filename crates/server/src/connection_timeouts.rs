//! The state of one connection, and how long it may last.
//!
//! ```text
//!              ┌────────────── first byte of the next request ──────────────┐
//!              ▼                                                            │
//! Handshake ─► ReadingHead ─► ReadingBody ─► Handling ─► Writing ─► Idle ───┘
//!  (TLS only)  │                                         │          │
//!              └──── timeout or server shutdown ─► Closing ◄────────┘
//! ```
//!
//! | state | limit | enforced by |
//! |---|---|---|
//! | Handshake | [`Config::header_read_timeout`] | `tls` |
//! | ReadingHead | [`Config::header_read_timeout`], for the first request since the handshake | this module |
//! | ReadingBody | [`Config::body_timeout`] and [`Config::min_body_rate`] | `timed_body` |
//! | Handling | none: the endpoint applies the request's own deadline | the endpoint |
//! | Writing | [`Config::idle_timeout`] since the last byte written | this module |
//! | Idle | [`Config::idle_timeout`] | this module |
//! | Closing | [`CLOSE_GRACE`], [`PARTIAL_REQUEST_GRACE`] or [`IDLE_GRACE`] | this module |
//!
//! [`ConnectionState`] stores three of these states. ReadingBody and Handling are the time in which the endpoint has a request, and
//! are stored as the number of those requests, since HTTP/2 has several at once. Writing is stored as Idle, whose clock each written
//! byte restarts. The handshake is over before the state exists.
//!
//! hyper's own header timeout also closes idle connections, does not cover the time before the HTTP version is known, and does not
//! apply to idle HTTP/2 connections. One clock here covers all three cases: the socket and the service report events, and
//! [`ConnectionTracker::deadline`] returns the time limit. This module closes no connection itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use poem::http::Version;
use tokio::time::Instant;

use crate::config::Config;

/// Time for a client to close its connection after the server asked it to.
const CLOSE_GRACE: Duration = Duration::from_secs(5);
/// Time for the rest of a request head, or of a TLS handshake, when the server closes.
pub(super) const PARTIAL_REQUEST_GRACE: Duration = Duration::from_secs(1);
/// Time for a next request on an idle connection when the server closes. A client that reuses its connection may just be sending a
/// request, and over HTTP/1 it could not know whether the request was served.
const IDLE_GRACE: Duration = Duration::from_millis(500);

/// The time limit that a connection has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeLimit {
    /// A request head was not complete in time.
    ReadingHead,
    /// The connection was idle for too long.
    Idle,
    /// The client did not close the connection in time.
    Closing,
}

/// The state of a connection while the endpoint has no request of it.
#[derive(Clone, Copy, Debug)]
enum ConnectionState {
    /// The server waits for the rest of a request head.
    ReadingHead { since: Instant },
    /// No request is in progress. Bytes of a response may still be written; `since` is the time of the last one.
    Idle { since: Instant },
    /// The server has asked the client to close the connection.
    Closing { since: Instant, grace: Duration },
}

/// What is known of a connection. The state keeps its value while `requests` is above 0, but does not expire.
#[derive(Debug)]
struct Inner {
    state: ConnectionState,
    /// Number of requests in the endpoint.
    requests: usize,
    is_http2: bool,
    /// The last request was answered before the end of its body.
    has_unread_body: bool,
    /// The server is closing, so the shutdown grace bounds every wait.
    server_is_closing: bool,
}

/// Tracks the state of one connection. The connection, its socket and its request bodies share it.
#[derive(Debug)]
pub(super) struct ConnectionTracker {
    header_read_timeout: Duration,
    idle_timeout: Duration,
    inner: Mutex<Inner>,
}

/// A request in the endpoint, from its head until its response, a panic or its cancellation.
#[derive(Debug)]
pub(super) struct RequestGuard(Arc<ConnectionTracker>);

impl ConnectionTracker {
    /// Creates the tracker of a connection that was just opened.
    pub(super) fn new(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            header_read_timeout: config.header_read_timeout,
            idle_timeout: config.idle_timeout,
            inner: Mutex::new(Inner {
                state: ConnectionState::ReadingHead { since: Instant::now() },
                requests: 0,
                is_http2: false,
                has_unread_body: false,
                server_is_closing: false,
            }),
        })
    }

    /// A poisoned lock still holds consistent data: no code that can panic runs while it is held.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a request enters the endpoint. It leaves when the guard is dropped.
    pub(super) fn begin_request(self: &Arc<Self>, version: Version) -> RequestGuard {
        let mut inner = self.lock();
        inner.requests += 1;
        inner.is_http2 = version == Version::HTTP_2;
        inner.has_unread_body = false;
        drop(inner);
        RequestGuard(Arc::clone(self))
    }

    /// Records that bytes were read. Between two requests of HTTP/1 they begin the next request head. On HTTP/2 they may be
    /// anything, and a regular ping must not keep an unused connection open.
    pub(super) fn record_read(&self) {
        let mut inner = self.lock();
        if let (0, ConnectionState::Idle { .. }, false) = (inner.requests, inner.state, inner.is_http2) {
            inner.state = ConnectionState::ReadingHead { since: Instant::now() };
        }
    }

    /// Records that bytes were written. On HTTP/1 they belong to a response. On HTTP/2 they may acknowledge a ping, which does not
    /// extend the idle time.
    pub(super) fn record_write(&self) {
        let mut inner = self.lock();
        match inner.state {
            ConnectionState::Idle { .. } if !inner.is_http2 => {
                inner.state = ConnectionState::Idle { since: Instant::now() };
            }
            // A response in transit is not cut off, however slowly the client reads it.
            ConnectionState::Closing { grace, .. } if inner.server_is_closing => {
                inner.state = ConnectionState::Closing { since: Instant::now(), grace };
            }
            _ => {}
        }
    }

    /// Records that a request was answered before the end of its body, which nobody reads.
    pub(super) fn record_unread_body(&self) {
        self.lock().has_unread_body = true;
    }

    /// Records that the server has asked the client to close the connection.
    pub(super) fn begin_closing(&self) {
        self.lock().state = ConnectionState::Closing { since: Instant::now(), grace: CLOSE_GRACE };
    }

    /// Records that the server closes. A request that is on its way is still served, but the wait for it is short.
    pub(super) fn begin_server_closing(&self) {
        let mut inner = self.lock();
        inner.server_is_closing = true;
        let grace = match inner.state {
            ConnectionState::ReadingHead { .. } => PARTIAL_REQUEST_GRACE,
            ConnectionState::Idle { .. } => IDLE_GRACE,
            ConnectionState::Closing { .. } => return,
        };
        if inner.requests == 0 {
            inner.state = ConnectionState::Closing { since: Instant::now(), grace };
        }
    }

    /// Returns whether the last request came over HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.lock().is_http2
    }

    /// Returns whether the client may still be sending bytes that the server will not process.
    pub(super) fn may_have_unread_input(&self) -> bool {
        let inner = self.lock();
        inner.has_unread_body || matches!(inner.state, ConnectionState::ReadingHead { .. })
    }

    /// Returns when the current state expires, or `None` while the endpoint has a request.
    pub(super) fn deadline(&self) -> Option<(Instant, TimeLimit)> {
        let inner = self.lock();
        if inner.requests > 0 {
            return None;
        }
        Some(match inner.state {
            ConnectionState::ReadingHead { since } => (since + self.header_read_timeout, TimeLimit::ReadingHead),
            ConnectionState::Idle { since } => (since + self.idle_timeout, TimeLimit::Idle),
            ConnectionState::Closing { since, grace } => (since + grace, TimeLimit::Closing),
        })
    }

    /// Returns the maximum time between two checks of [`deadline`](Self::deadline).
    pub(super) fn max_check_interval(&self) -> Duration {
        self.idle_timeout
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.requests -= 1;
        if inner.requests == 0 {
            let since = Instant::now();
            inner.state = match inner.state {
                ConnectionState::Closing { .. } => ConnectionState::Closing { since, grace: CLOSE_GRACE },
                ConnectionState::ReadingHead { .. } | ConnectionState::Idle { .. } => ConnectionState::Idle { since },
            };
        }
    }
}
