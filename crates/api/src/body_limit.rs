//! Reads request bodies within two bounds: the size of one body, and the total size of all bodies in memory.
//!
//! The bounds apply when a handler reads the body. So a request that is refused by its head alone, such as one without a key, is
//! refused before its body costs anything.

use std::io::{Error as IoError, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use poem::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use poem::http::{Method, Version};
use poem::{Body, Request, RequestBody};

use super::error::{ApiError, ErrorCode};
use kiln_runtime::telemetry::metrics::InflightBytes;

/// Maximum buffer size, in bytes, that a `Content-Length` alone allocates. Most photos are smaller.
const MAX_PREALLOCATION: usize = 256 << 10;

/// The bytes that all bodies together may hold.
#[derive(Debug)]
pub(super) struct BodyBudget {
    available: AtomicUsize,
}

impl BodyBudget {
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { available: AtomicUsize::new(bytes) })
    }

    fn acquire(&self, bytes: usize) -> Result<(), ApiError> {
        let subtract = |available: usize| available.checked_sub(bytes);
        self.available.fetch_update(Ordering::Relaxed, Ordering::Relaxed, subtract).map_err(|_| {
            ApiError::new(ErrorCode::Overloaded, "the server already holds its maximum of request body bytes")
                .with_retry_after(Duration::from_secs(1))
        })?;
        InflightBytes::Body.add(bytes as u64);
        Ok(())
    }

    fn release(&self, bytes: usize) {
        self.available.fetch_add(bytes, Ordering::Relaxed);
        InflightBytes::Body.sub(bytes as u64);
    }
}

/// The bounds of one request's body, found in the request's extensions. The body's bytes count in the budget until the last
/// clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct BodyLimit(Arc<Reservation>);

#[derive(Debug)]
struct Reservation {
    max_bytes: usize,
    budget: Arc<BodyBudget>,
    reserved: AtomicUsize,
}

impl BodyLimit {
    pub(super) fn new(max_bytes: usize, budget: &Arc<BodyBudget>) -> Self {
        Self(Arc::new(Reservation { max_bytes, budget: Arc::clone(budget), reserved: AtomicUsize::new(0) }))
    }

    /// Returns the maximum size of the body in bytes.
    pub(super) fn max_bytes(&self) -> usize {
        self.0.max_bytes
    }

    /// Reserves the bytes by which a body grows when it is inflated.
    pub(super) fn reserve_inflated(&self, bytes: usize) -> Result<(), ApiError> {
        self.0.budget.acquire(bytes)?;
        self.0.reserved.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Reserves bytes of the body before they are read.
    fn reserve(&self, bytes: usize) -> Result<(), ApiError> {
        let max_bytes = self.0.max_bytes;
        if self.0.reserved.load(Ordering::Relaxed) + bytes > max_bytes {
            return Err(ApiError::new(ErrorCode::BodyTooLarge, format!("the body is larger than {max_bytes} bytes")));
        }
        self.reserve_inflated(bytes)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.release(*self.reserved.get_mut());
    }
}

/// The body of a request, before it is read. Dropping it refuses the body: a client that waits for '100 Continue' does not send
/// it, and behind a large body the server closes the connection.
#[derive(Debug)]
pub(super) struct UnreadBody {
    body: Body,
    limit: BodyLimit,
    /// The `Content-Length`.
    declared: Option<usize>,
    /// Nothing tells where the body ends.
    lacks_length: bool,
}

impl UnreadBody {
    /// Takes the body of a request.
    ///
    /// # Errors
    ///
    /// Another extractor has taken the body, or the request has no [`BodyLimit`].
    pub(super) fn take(request: &Request, body: &mut RequestBody) -> Result<Self, ApiError> {
        let limit = request.data::<BodyLimit>().cloned().ok_or_else(ApiError::internal)?;
        let body = body.take().map_err(|_| ApiError::internal())?;
        let declared = content_length(request);
        Ok(Self { body, limit, declared, lacks_length: declared.is_none() && lacks_length(request) })
    }

    /// Returns the bounds of the body, in which its bytes count.
    pub(super) fn limit(&self) -> BodyLimit {
        self.limit.clone()
    }

    /// Reads the whole body within its [`BodyLimit`].
    ///
    /// # Errors
    ///
    /// The body has no length, exceeds a bound, does not arrive in time, or cannot be read.
    pub(super) async fn read(self) -> Result<Bytes, ApiError> {
        self.read_while(|_| true).await
    }

    /// Reads the body until it is complete, or until `continues` returns false for the bytes that have arrived so far.
    pub(super) async fn read_while(self, continues: impl FnMut(&[u8]) -> bool) -> Result<Bytes, ApiError> {
        self.collect(usize::MAX, ErrorCode::BodyTooLarge, continues).await
    }

    /// Reads the whole body. A body of more than `max_bytes` is an error with the code `too_large`.
    pub(super) async fn read_up_to(self, max_bytes: usize, too_large: ErrorCode) -> Result<Bytes, ApiError> {
        self.collect(max_bytes, too_large, |_| true).await
    }

    async fn collect(
        self,
        max_bytes: usize,
        too_large: ErrorCode,
        mut continues: impl FnMut(&[u8]) -> bool,
    ) -> Result<Bytes, ApiError> {
        if let Some(length) = self.declared {
            // HTTP holds the client to the length that it declares. No byte is read before the length is reserved, so a client
            // that waits for '100 Continue' never sends a body that is refused.
            self.limit.reserve(length)?;
        } else if self.lacks_length {
            let message = "the request has neither a Content-Length header nor chunked transfer encoding";
            return Err(ApiError::new(ErrorCode::LengthRequired, message));
        }
        let mut pieces = self.body.into_bytes_stream();
        // The pieces are copied into one buffer, because tiny pieces take many times their size. A Content-Length costs the
        // client nothing, so it allocates only a bounded buffer.
        let mut bytes = BytesMut::with_capacity(self.declared.unwrap_or(0).min(MAX_PREALLOCATION).min(max_bytes));
        while let Some(piece) = pieces.try_next().await.map_err(read_error)? {
            if self.declared.is_none() {
                self.limit.reserve(piece.len())?;
            }
            if piece.len() > max_bytes - bytes.len() {
                return Err(ApiError::new(too_large, format!("the body is larger than {max_bytes} bytes")));
            }
            bytes.extend_from_slice(&piece);
            if !continues(&bytes) {
                break;
            }
        }
        Ok(bytes.freeze())
    }
}

fn read_error(error: IoError) -> ApiError {
    match error.kind() {
        // The server's body reports this kind if the client stops sending or sends too slowly.
        ErrorKind::TimedOut => ApiError::new(ErrorCode::RequestTimeout, "the request body did not arrive in time"),
        _ => ApiError::malformed(format!("the request body cannot be read: {error}")),
    }
}

fn content_length(request: &Request) -> Option<usize> {
    request.header(CONTENT_LENGTH).and_then(|length| length.parse().ok())
}

/// Returns whether a request of HTTP/1 declares no body.
pub(super) fn has_no_body(request: &Request) -> bool {
    request.version() < Version::HTTP_2
        && request.header(TRANSFER_ENCODING).is_none()
        && request.header(CONTENT_LENGTH).is_none()
}

/// Returns whether nothing tells where the body of a request that has one ends.
fn lacks_length(request: &Request) -> bool {
    request.method() == Method::POST
        && request.version() < Version::HTTP_2
        && request.header(TRANSFER_ENCODING).is_none()
}
