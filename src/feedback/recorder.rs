//! Takes down what one model answers, without making anybody wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use tokio::sync::mpsc;

use super::record::{Answered, Held, ModelFacts, Recorded};
use super::writer::Message;
use crate::telemetry::metrics::{self, Lost};

/// Bytes of pictures that may wait for the writer. What comes beyond is recorded without its picture.
const WAITING: usize = 64 << 20;

/// Bytes that wait, of all models together.
pub(super) type WaitingBytes = Arc<AtomicUsize>;

/// A picture's part of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    all: WaitingBytes,
    bytes: usize,
}

/// Takes down one model's predictions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    pub(super) model: Arc<ModelFacts>,
    pub(super) messages: mpsc::Sender<Message>,
    /// Absent where no picture is kept.
    pub(super) waiting: Option<WaitingBytes>,
}

impl Recorder {
    /// Whether it has a use for pictures.
    pub fn keeps_pictures(&self) -> bool {
        self.waiting.is_some()
    }

    /// Takes down a prediction. Nobody waits: what there is no room for is dropped and counted.
    pub fn record(&self, answered: Answered) {
        let Answered { id, classes, picture } = answered;
        if classes.is_empty() {
            // Nothing was said that could be right or wrong.
            return;
        }
        let picture = picture.zip(self.waiting.as_ref()).and_then(|((bytes, extension), all)| {
            let waiting = Waiting::begin(all, bytes.len());
            if waiting.is_none() {
                metrics::not_kept(Lost::Picture, "queue_full", 1);
            }
            Some(Held { bytes, extension, _waiting: waiting? })
        });
        let recorded = Recorded { id, time: SystemTime::now(), model: Arc::clone(&self.model), classes, picture };
        if let Err(refused) = self.messages.try_send(Message::Prediction(recorded)) {
            let reason = match refused {
                mpsc::error::TrySendError::Full(_) => "queue_full",
                mpsc::error::TrySendError::Closed(_) => "closed",
            };
            metrics::not_kept(Lost::Prediction, reason, 1);
        }
    }
}

impl Waiting {
    /// Room for so many bytes, if there is any.
    fn begin(all: &WaitingBytes, bytes: usize) -> Option<Self> {
        let fits = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= WAITING);
        all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Self { all: Arc::clone(all), bytes })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_bytes_have_a_bound_and_are_given_back() {
        let all = WaitingBytes::default();
        let first = Waiting::begin(&all, WAITING - 1).unwrap();
        assert!(Waiting::begin(&all, 2).is_none() && Waiting::begin(&all, usize::MAX).is_none());
        let second = Waiting::begin(&all, 1).unwrap();
        drop((first, second));
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }
}
