//! A request body with limits on its pauses and its average rate. Its size is limited elsewhere.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

/// Limits on the speed of a request body.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimits {
    /// Maximum pause before a piece, and the time that precedes the minimum rate.
    pub(super) pause: Duration,
    /// Minimum average rate in bytes per second.
    pub(super) rate: usize,
}

/// An incoming body with a limit on the pause before each piece and on the time of all pieces together. With the first limit alone,
/// a client could hold the connection forever with a byte now and then. The clock runs only while a reader waits for a piece.
///
/// If a limit is exceeded, the body ends with an error of the kind [`ErrorKind::TimedOut`]; the matching status is 408. Other errors
/// have other kinds.
pub(super) struct TimedBody {
    /// There until this value is dropped.
    incoming: Option<Incoming>,
    limits: BodyLimits,
    timer: Option<Pin<Box<Sleep>>>,
    /// Time at which a reader first waited for a piece.
    started: Option<Instant>,
    received: usize,
    rest: BodyRest,
    complete: bool,
}

impl TimedBody {
    /// Creates a body that leaves what nobody reads of it in `rest`.
    pub(super) fn new(incoming: Incoming, limits: BodyLimits, rest: BodyRest) -> Self {
        Self { incoming: Some(incoming), limits, timer: None, started: None, received: 0, rest, complete: false }
    }

    fn incoming(&mut self) -> &mut Incoming {
        self.incoming.as_mut().expect("the body is there until it is dropped")
    }

    /// Returns the deadline of the next piece.
    fn deadline(&mut self) -> Instant {
        let (now, BodyLimits { pause, rate }) = (Instant::now(), self.limits);
        let started = *self.started.get_or_insert(now);
        let total = pause + Duration::from_secs_f64(self.received as f64 / rate as f64);
        (now + pause).min(started + total)
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(this.incoming()).poll_frame(context) {
            this.timer = None;
            this.complete |= frame.is_none();
            if let Some(Ok(frame)) = &frame {
                this.received += frame.data_ref().map_or(0, Bytes::len);
            }
            return Poll::Ready(frame.map(|result| result.map_err(io::Error::other)));
        }
        if this.timer.is_none() {
            this.timer = Some(Box::pin(sleep_until(this.deadline())));
        }
        if let Some(timer) = &mut this.timer {
            ready!(timer.as_mut().poll(context));
        }
        Poll::Ready(Some(Err(ErrorKind::TimedOut.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for TimedBody {
    fn drop(&mut self) {
        if let Some(incoming) = self.incoming.take().filter(|incoming| !self.complete && !incoming.is_end_stream()) {
            *self.rest.lock() = Some(incoming);
        }
    }
}

/// What the endpoint left of a body. Clones share it.
#[derive(Clone, Default)]
pub(super) struct BodyRest(Arc<Mutex<Option<Incoming>>>);

/// The most bytes of a body that are read although nothing needs them, as in Go's `net/http`. The connection of HTTP/1 stays usable
/// then, which costs less than a new one.
const MAX_DISCARDED: u64 = 256 << 10;
/// The time for it. A client that has sent a request sends its body at once.
const DISCARD_TIME: Duration = Duration::from_secs(1);

impl BodyRest {
    fn lock(&self) -> MutexGuard<'_, Option<Incoming>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the rest of the body and discards it, if there is one and it is small. Returns whether nothing is left.
    pub(super) async fn discard(&self) -> bool {
        let Some(mut incoming) = self.lock().take() else { return true };
        if incoming.size_hint().lower() > MAX_DISCARDED {
            return false;
        }
        let read = async {
            let mut received = 0;
            while let Some(frame) = incoming.frame().await {
                received += frame.ok()?.data_ref().map_or(0, Bytes::len) as u64;
                (received <= MAX_DISCARDED).then_some(())?;
            }
            Some(())
        };
        timeout(DISCARD_TIME, read).await.is_ok_and(|read| read.is_some())
    }

    /// Returns whether the endpoint left a part of the body.
    pub(super) fn is_some(&self) -> bool {
        self.lock().is_some()
    }
}
