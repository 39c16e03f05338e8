//! Bounds a request's body, and all bodies together, with what they are when inflated. The bounds act on the first read, so a
//! caller without a key is told so first and costs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use poem::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use poem::http::{Method, Version};
use poem::{Body, Request};

use super::error::Code;
use super::failure::Failure;
use kiln_runtime::telemetry::metrics::InflightBytes;

/// Bytes that all bodies together may have at once.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicUsize,
}

/// The bounds of one request's body. It counts in the budget until the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct BodyLimit(Arc<Limited>);

#[derive(Debug)]
struct Limited {
    max_bytes: usize,
    budget: Arc<Budget>,
    taken: AtomicUsize,
    /// Why reading was cut off; zero if it was not.
    cut: AtomicU8,
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Cut {
    /// It is longer than a body may be.
    TooLarge = 1,
    /// With it, all bodies together would be longer than they may be.
    NoRoom = 2,
    /// HTTP/1 does not tell where it ends.
    NoLength = 3,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(bytes) })
    }

    fn take(&self, bytes: usize) -> bool {
        let take = |left: usize| left.checked_sub(bytes);
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        if taken {
            InflightBytes::Body.add(bytes as u64);
        }
        taken
    }

    fn give(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
        InflightBytes::Body.sub(bytes as u64);
    }
}

impl BodyLimit {
    /// Why reading was cut off, if it was. Extractors pass errors on as text, so the cause is asked for here.
    pub(super) fn failure(&self) -> Option<Failure> {
        let cut = self.0.cut.load(Ordering::Acquire);
        let why = [Cut::TooLarge, Cut::NoRoom, Cut::NoLength].into_iter().find(|why| *why as u8 == cut)?;
        Some(match why {
            Cut::TooLarge => {
                Failure::new(Code::BodyTooLarge, format!("the body is larger than {} bytes", self.max_bytes()))
            }
            Cut::NoRoom => no_room(),
            Cut::NoLength => {
                Failure::new(Code::LengthRequired, "neither its length nor chunks tell where the body ends")
            }
        })
    }

    /// The bound of one body.
    pub(super) fn max_bytes(&self) -> usize {
        self.0.max_bytes
    }

    /// Counts what a body has become longer by now that it is inflated: like what came, until its request is answered.
    pub(super) fn grow(&self, bytes: usize) -> Result<(), Failure> {
        if !self.0.budget.take(bytes) {
            return Err(no_room());
        }
        self.0.taken.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Counts bytes that are about to be held.
    fn take(&self, bytes: usize) -> std::io::Result<()> {
        if self.0.taken.load(Ordering::Relaxed) + bytes > self.0.max_bytes {
            return Err(self.refuse(Cut::TooLarge));
        }
        if !self.0.budget.take(bytes) {
            return Err(self.refuse(Cut::NoRoom));
        }
        self.0.taken.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn refuse(&self, why: Cut) -> std::io::Error {
        self.0.cut.store(why as u8, Ordering::Release);
        std::io::Error::other("the body is not read")
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        self.budget.give(*self.taken.get_mut());
    }
}

/// Puts a bound of `max_bytes` on the body of `request`, within the budget of all.
pub(super) fn apply(request: &mut Request, max_bytes: usize, budget: &Arc<Budget>) -> BodyLimit {
    let (taken, cut) = (AtomicUsize::new(0), AtomicU8::new(0));
    let limit = BodyLimit(Arc::new(Limited { max_bytes, budget: Arc::clone(budget), taken, cut }));
    let announced = announced(request);
    let body = request.take_body();
    let bounded = match announced {
        // HTTP holds the client to the length that it announced. Not one byte is asked for before there is room, so a client
        // that waits for '100 Continue' never sends what is refused.
        Some(length) => whole(body, length, limit.clone()).boxed(),
        None if is_endless(request) => {
            let refusal = limit.clone();
            stream::once(async move { Err(refusal.refuse(Cut::NoLength)) }).boxed()
        }
        None => counted(body, limit.clone()).boxed(),
    };
    request.set_body(Body::from_bytes_stream(bounded));
    limit
}

/// The length that the client tells, if it does.
pub(super) fn announced(request: &Request) -> Option<usize> {
    request.header(CONTENT_LENGTH).and_then(|length| length.parse().ok())
}

fn no_room() -> Failure {
    Failure::new(Code::Overloaded, "the server has as many bytes as it can hold").retry_after(Duration::from_secs(1))
}

/// Whether nothing says that there is a body, where there ought to be one.
fn is_endless(request: &Request) -> bool {
    request.method() == Method::POST
        && request.version() < Version::HTTP_2
        && request.header(TRANSFER_ENCODING).is_none()
}

fn whole(body: Body, length: usize, limit: BodyLimit) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    let room = async move {
        limit.take(length)?;
        Ok::<_, std::io::Error>(body.into_bytes_stream())
    };
    stream::once(room).try_flatten()
}

fn counted(body: Body, limit: BodyLimit) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    body.into_bytes_stream().map(move |piece| {
        let piece = piece?;
        limit.take(piece.len())?;
        Ok(piece)
    })
}
