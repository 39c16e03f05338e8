//! A request body that does not wait for ever for its next piece. How long it may be in all is
//! not decided here.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::Activity;

/// How the reading of a request's body goes, found in the request's extensions.
///
/// Those who read a body pass its errors on as text. So take a clone before the request is handed on, and ask it when the
/// answer turns out to be an error.
#[derive(Clone, Debug, Default)]
pub struct BodyProgress(Arc<AtomicBool>);

impl BodyProgress {
    /// Whether the client stopped sending in the middle of the body, or sent it too slowly. Its fault; the fitting status is
    /// 408.
    pub fn timed_out(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// How fast a body has to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The longest pause before a piece, and what a client may be late on the whole.
    pub(super) pause: Duration,
    /// Bytes a second, on the whole.
    pub(super) rate: usize,
}

/// An incoming body with a limit on the pause before each piece, and on the time of all pieces together: who sends a byte
/// now and then would stay for ever otherwise. The clock runs only while somebody waits for the piece.
pub(super) struct TimedBody {
    incoming: Incoming,
    pace: Pace,
    pause: Option<Pin<Box<Sleep>>>,
    /// When the first piece was asked for.
    begun: Option<Instant>,
    received: usize,
    progress: BodyProgress,
    activity: Arc<Activity>,
    complete: bool,
}

impl TimedBody {
    pub(super) fn new(incoming: Incoming, pace: Pace, activity: Arc<Activity>) -> Self {
        let progress = BodyProgress::default();
        Self { incoming, pace, pause: None, begun: None, received: 0, progress, activity, complete: false }
    }

    /// When the next piece has to be here.
    fn deadline(&mut self) -> Instant {
        let (now, Pace { pause, rate }) = (Instant::now(), self.pace);
        let begun = *self.begun.get_or_insert(now);
        let all = pause + Duration::from_secs_f64(self.received as f64 / rate as f64);
        (now + pause).min(begun + all)
    }

    pub(super) fn progress(&self) -> BodyProgress {
        self.progress.clone()
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(context) {
            this.pause = None;
            this.complete |= frame.is_none();
            if let Some(Ok(frame)) = &frame {
                this.received += frame.data_ref().map_or(0, Bytes::len);
            }
            return Poll::Ready(frame.map(|result| result.map_err(io::Error::other)));
        }
        if this.pause.is_none() {
            this.pause = Some(Box::pin(sleep_until(this.deadline())));
        }
        if let Some(pause) = &mut this.pause {
            ready!(pause.as_mut().poll(context));
        }
        this.progress.0.store(true, Ordering::Release);
        Poll::Ready(Some(Err(ErrorKind::TimedOut.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for TimedBody {
    fn drop(&mut self) {
        if !self.complete && !self.incoming.is_end_stream() {
            self.activity.body_abandoned();
        }
    }
}
