//! Records the predictions of one model without blocking, and samples the images to store.

use std::sync::Arc;
use std::time::SystemTime;

use kiln_runtime::telemetry::metrics::{self, RecordKind};
use tokio::sync::mpsc;

use crate::config::Config;
use crate::queue::{Message, QueuedBytes, QueuedImage, QueuedPrediction};
use crate::record::{ModelIdentity, PredictionRecord};

/// Records the predictions of one model. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    pub(crate) model: Arc<ModelIdentity>,
    pub(crate) messages: mpsc::Sender<Message>,
    /// Absent if no images are stored.
    pub(crate) images: Option<ImageQueue>,
}

/// Decides which images are queued for the writer, and bounds their bytes. Clones share the bound.
#[derive(Clone, Debug)]
pub(crate) struct ImageQueue {
    sampler: ImageSampler,
    queued_bytes: QueuedBytes,
}

impl ImageQueue {
    /// Creates the queue of images. If no images are stored, returns nothing.
    pub(crate) fn new(config: &Config) -> Option<Self> {
        let sampler = ImageSampler::new(config)?;
        Some(Self { sampler, queued_bytes: QueuedBytes::default() })
    }
}

impl Recorder {
    /// Returns whether the recorder stores images.
    pub fn stores_images(&self) -> bool {
        self.images.is_some()
    }

    /// Queues a prediction and returns at once. If the queue is full, the record is dropped and counted.
    pub fn record(&self, record: PredictionRecord) {
        let PredictionRecord { id, classes, image } = record;
        if classes.is_empty() {
            // Nobody can give feedback on a prediction without classes.
            return;
        }
        let image = image.zip(self.images.as_ref()).and_then(|((bytes, extension), images)| {
            if !images.sampler.accepts(&bytes) {
                return None;
            }
            let reservation = images.queued_bytes.reserve(bytes.len());
            if reservation.is_none() {
                metrics::record_dropped(RecordKind::Image, "queue_full", 1);
            }
            Some(QueuedImage { bytes, extension, _reservation: reservation? })
        });
        let queued = QueuedPrediction { id, time: SystemTime::now(), model: Arc::clone(&self.model), classes, image };
        if let Err(refused) = self.messages.try_send(Message::Prediction(queued)) {
            let reason = match refused {
                mpsc::error::TrySendError::Full(_) => "queue_full",
                mpsc::error::TrySendError::Closed(_) => "closed",
            };
            metrics::record_dropped(RecordKind::Prediction, reason, 1);
        }
    }
}

/// Number of chunks of an image that are hashed, and the number of bytes hashed of each. Smaller images are hashed in full.
const CHUNKS: usize = 8;
const HASHED_BYTES_PER_CHUNK: usize = 16 << 10;

/// Selects a fraction of the images by a hash of their content, so that the decision for an image is always the same. It runs on
/// a thread that serves requests, so it hashes only parts of a large image.
#[derive(Clone, Copy, Debug)]
struct ImageSampler {
    fraction: f64,
    /// Maximum total size of the stored images: a larger image would evict all others, and then be evicted itself.
    max_bytes: u64,
}

impl ImageSampler {
    /// Creates the sampler. If no images are stored, returns nothing.
    fn new(config: &Config) -> Option<Self> {
        let sampler =
            Self { fraction: config.image_sample_percent.fraction(), max_bytes: config.image_retention_bytes };
        (sampler.fraction > 0.0).then_some(sampler)
    }

    /// Returns whether the image with these bytes is stored.
    fn accepts(self, bytes: &[u8]) -> bool {
        // The hash is uniformly distributed, so it is below the threshold for this fraction of the images.
        bytes.len() as u64 <= self.max_bytes && (self.fraction >= 1.0 || hash(bytes) < self.fraction * 2_f64.powi(32))
    }
}

/// Hashes an image to a number from 0 to 2^32.
fn hash(bytes: &[u8]) -> f64 {
    let mut digest = blake3::Hasher::new();
    digest.update(&(bytes.len() as u64).to_le_bytes());
    for chunk in bytes.chunks(bytes.len().div_ceil(CHUNKS).max(HASHED_BYTES_PER_CHUNK)) {
        digest.update(&chunk[..chunk.len().min(HASHED_BYTES_PER_CHUNK)]);
    }
    let [a, b, c, d, ..] = *digest.finalize().as_bytes();
    f64::from(u32::from_be_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;
    use crate::tests;

    #[test]
    fn image_outside_the_sample_reserves_no_bytes() {
        let (messages, mut received) = mpsc::channel(8);
        let (model, queued_bytes) = (Arc::new(tests::model()), QueuedBytes::default());
        let config =
            |percent: &str| Config { image_sample_percent: percent.parse().unwrap(), ..tests::config(Path::new("")) };
        let mut record = |percent: &str| {
            let sampler = ImageSampler::new(&config(percent)).unwrap();
            let images = Some(ImageQueue { sampler, queued_bytes: queued_bytes.clone() });
            let recorder = Recorder { model: Arc::clone(&model), messages: messages.clone(), images };
            let image = Some((Bytes::from_static(b"picture"), "png"));
            recorder.record(PredictionRecord { id: Uuid::now_v7(), classes: vec![(0, 1.0)], image });
            let Ok(Message::Prediction(queued)) = received.try_recv() else { panic!("nothing was recorded") };
            (queued.image.is_some(), queued_bytes.reserved())
        };
        assert_eq!(record("100"), (true, 7));
        assert_eq!(record("0.000001"), (false, 0));
    }

    #[test]
    fn sample_has_the_requested_size_and_is_deterministic() {
        let sampled = |fraction: f64| {
            let sampler = ImageSampler { fraction, max_bytes: 1 << 20 };
            (0..2000_u32).filter(|number| sampler.accepts(&number.to_le_bytes())).collect::<Vec<_>>()
        };
        assert_eq!((sampled(0.0).len(), sampled(1.0).len()), (0, 2000));
        let quarter = sampled(0.25);
        assert!((400..600).contains(&quarter.len()), "{}", quarter.len());
        // A larger sample contains each smaller one.
        assert!(quarter.iter().all(|number| sampled(0.5).contains(number)));
    }

    #[test]
    fn hash_of_a_large_image_depends_on_every_chunk() {
        let image = vec![0; 1 << 20];
        for at in [0, image.len() / 2, image.len() * 7 / 8] {
            let mut other = image.clone();
            other[at] = 1;
            assert!(hash(&image) != hash(&other), "{at}");
        }
        assert!(hash(&image) != hash(&image[1..]));
    }

    #[test]
    fn image_larger_than_the_store_is_not_sampled() {
        let sampler = ImageSampler { fraction: 1.0, max_bytes: 4 };
        assert!(sampler.accepts(b"four") && !sampler.accepts(b"five!"));
    }
}
