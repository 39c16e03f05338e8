//! The queue to the writer thread: its messages, and the bound on the bytes of queued images.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::error::FeedbackError;
use crate::record::{Feedback, ModelIdentity, Receipt};

/// Maximum number of bytes of queued images, over all models. Beyond this, a prediction is recorded without its image.
const MAX_QUEUED_BYTES: usize = 64 << 20;

/// A message to the writer thread.
#[derive(Debug)]
pub(crate) enum Message {
    /// The server starts to serve a model.
    Model(Arc<ModelIdentity>),
    /// A prediction to be recorded.
    Prediction(QueuedPrediction),
    /// Feedback to be stored. The client waits for the reply.
    Feedback(Feedback, Reply),
    /// Makes the writer look for expired predictions and images.
    Tick,
    /// Ends the thread. Messages that are already queued are written first.
    Close,
}

/// Receives the result of storing feedback.
pub(crate) type Reply = oneshot::Sender<Result<Receipt, FeedbackError>>;

/// A prediction in the queue.
#[derive(Debug)]
pub(crate) struct QueuedPrediction {
    pub(crate) id: Uuid,
    pub(crate) time: SystemTime,
    pub(crate) model: Arc<ModelIdentity>,
    pub(crate) classes: Vec<(u32, f32)>,
    pub(crate) image: Option<QueuedImage>,
}

/// An image in the queue. Its bytes count towards the bound until it is dropped.
#[derive(Debug)]
pub(crate) struct QueuedImage {
    pub(crate) bytes: Bytes,
    pub(crate) extension: &'static str,
    pub(crate) _reservation: ByteReservation,
}

/// Counts the bytes of queued images. Clones share the counter.
#[derive(Clone, Debug, Default)]
pub(crate) struct QueuedBytes(Arc<AtomicUsize>);

/// Bytes reserved in [`QueuedBytes`], released on drop.
#[derive(Debug)]
pub(crate) struct ByteReservation {
    total: QueuedBytes,
    bytes: usize,
}

impl QueuedBytes {
    /// Reserves `bytes`. If the bound would be exceeded, returns nothing.
    pub(crate) fn reserve(&self, bytes: usize) -> Option<ByteReservation> {
        let add = |queued: usize| queued.checked_add(bytes).filter(|sum| *sum <= MAX_QUEUED_BYTES);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok()?;
        Some(ByteReservation { total: self.clone(), bytes })
    }

    /// Returns the number of reserved bytes.
    #[cfg(test)]
    pub(crate) fn reserved(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for ByteReservation {
    fn drop(&mut self) {
        self.total.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queued_bytes_are_bounded_and_released_on_drop() {
        let total = QueuedBytes::default();
        let first = total.reserve(MAX_QUEUED_BYTES - 1).unwrap();
        assert!(total.reserve(2).is_none() && total.reserve(usize::MAX).is_none());
        let second = total.reserve(1).unwrap();
        drop((first, second));
        assert_eq!(total.reserved(), 0);
    }
}
