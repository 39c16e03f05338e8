//! Bounds a request's body, with or without a `Content-Length`. The bound acts on the first read, so a caller
//! without a key is told so first and costs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use poem::http::header::CONTENT_LENGTH;
use poem::{Body, Request};

/// Tells afterwards whether the body was too large.
#[derive(Clone, Debug)]
pub(super) struct BodyLimit {
    exceeded: Arc<AtomicBool>,
    max_bytes: usize,
}

impl BodyLimit {
    /// Whether reading was cut off.
    pub(super) fn exceeded(&self) -> bool {
        self.exceeded.load(Ordering::Acquire)
    }

    /// The bound.
    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }
}

/// Puts a bound of `max_bytes` on the body of `request`.
pub(super) fn apply(request: &mut Request, max_bytes: usize) -> BodyLimit {
    let limit = BodyLimit { exceeded: Arc::default(), max_bytes };
    let announced = request.header(CONTENT_LENGTH).and_then(|value| value.parse::<u64>().ok());
    let too_large = announced.is_some_and(|length| length > max_bytes as u64);
    let body = request.take_body();
    let bounded = if too_large {
        let refusal = limit.clone();
        // Not one byte is asked for, so a client that waits for '100 Continue' never sends.
        Body::from_bytes_stream(stream::once(async move { Err::<Bytes, _>(refuse(&refusal)) }))
    } else if announced.is_some() {
        // HTTP holds the client to the length that it announced.
        body
    } else {
        Body::from_bytes_stream(counted(body, limit.clone()))
    };
    request.set_body(bounded);
    limit
}

fn counted(body: Body, limit: BodyLimit) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send {
    let mut left = limit.max_bytes;
    body.into_bytes_stream().into_stream().map(move |piece| {
        let piece = piece?;
        left = left.checked_sub(piece.len()).ok_or_else(|| refuse(&limit))?;
        Ok(piece)
    })
}

fn refuse(limit: &BodyLimit) -> std::io::Error {
    limit.exceeded.store(true, Ordering::Release);
    std::io::Error::other("the body is too large")
}
