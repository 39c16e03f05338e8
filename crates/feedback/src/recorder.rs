//! Takes down what one model answers, without making anybody wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use tokio::sync::mpsc;

use super::choice::Choice;
use super::record::{Answered, Held, ModelFacts, Recorded};
use super::writer::Message;
use kiln_runtime::telemetry::metrics::{self, RecordKind};

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
    pub(super) pictures: Option<Pictures>,
}

/// Which pictures wait for the writer, and how much they take. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Pictures {
    pub(super) choice: Choice,
    pub(super) waiting: WaitingBytes,
}

impl Recorder {
    /// Whether it has a use for pictures.
    pub fn keeps_pictures(&self) -> bool {
        self.pictures.is_some()
    }

    /// Takes down a prediction. Nobody waits: what there is no room for is dropped and counted.
    pub fn record(&self, answered: Answered) {
        let Answered { id, classes, picture } = answered;
        if classes.is_empty() {
            // Nothing was said that could be right or wrong.
            return;
        }
        let picture = picture.zip(self.pictures.as_ref()).and_then(|((bytes, extension), pictures)| {
            if !pictures.choice.takes(&bytes) {
                return None;
            }
            let waiting = Waiting::begin(&pictures.waiting, bytes.len());
            if waiting.is_none() {
                metrics::record_dropped(RecordKind::Image, "queue_full", 1);
            }
            Some(Held { bytes, extension, _waiting: waiting? })
        });
        let recorded = Recorded { id, time: SystemTime::now(), model: Arc::clone(&self.model), classes, picture };
        if let Err(refused) = self.messages.try_send(Message::Prediction(recorded)) {
            let reason = match refused {
                mpsc::error::TrySendError::Full(_) => "queue_full",
                mpsc::error::TrySendError::Closed(_) => "closed",
            };
            metrics::record_dropped(RecordKind::Prediction, reason, 1);
        }
    }
}

impl Waiting {
    /// Room for so many bytes, if there is any.
    pub(super) fn begin(all: &WaitingBytes, bytes: usize) -> Option<Self> {
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
    use std::path::Path;

    use bytes::Bytes;
    use uuid::Uuid;

    use super::super::{Config, tests};
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

    #[test]
    fn pictures_that_are_not_to_be_kept_take_no_room() {
        let (messages, mut received) = mpsc::channel(8);
        let (model, waiting) = (Arc::new(tests::model()), WaitingBytes::default());
        let config = |part: &str| Config { image_sample_percent: part.parse().unwrap(), ..tests::config(Path::new("")) };
        let mut record = |part: &str| {
            let choice = Choice::of(&config(part)).unwrap();
            let pictures = Some(Pictures { choice, waiting: Arc::clone(&waiting) });
            let recorder = Recorder { model: Arc::clone(&model), messages: messages.clone(), pictures };
            let picture = Some((Bytes::from_static(b"picture"), "png"));
            recorder.record(Answered { id: Uuid::now_v7(), classes: vec![(0, 1.0)], picture });
            let Ok(Message::Prediction(recorded)) = received.try_recv() else { panic!("nothing was recorded") };
            (recorded.picture.is_some(), waiting.load(Ordering::Relaxed))
        };
        assert_eq!(record("100"), (true, 7));
        assert_eq!(record("0.000001"), (false, 0));
    }
}
