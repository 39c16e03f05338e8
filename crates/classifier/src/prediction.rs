//! The result of classifying an image: plain data, and the errors.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::batching::{AdmitError, BatchError};
use crate::cache::CacheStatus;
use kiln_feedback::PredictionRecord;
use kiln_image::{Format, ImageError, PoolError};
use kiln_runtime::telemetry::PhaseTimings;

/// Why an image was not classified.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClassifyError {
    /// The image is invalid or not accepted.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The server is overloaded or shutting down.
    #[error(transparent)]
    Admit(#[from] AdmitError),
    /// The image was admitted, but has no result.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The decoder panicked.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

/// The prediction for one image.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// A new UUID of version 7, so that ids are ordered by time.
    pub id: Uuid,
    /// The most probable classes, most probable first.
    pub classes: Vec<Class>,
    /// The format and the size of the image.
    pub image: ImageInfo,
    /// What the response cache did, if there is one.
    pub cache: Option<CacheStatus>,
    /// How long each phase took.
    pub timings: PhaseTimings,
}

/// The part of a prediction that the response cache stores.
#[derive(Clone, Debug)]
pub struct Classification {
    /// The most probable classes, most probable first.
    pub(super) classes: Vec<Class>,
    /// The format and the size of the image.
    pub(super) image: ImageInfo,
}

impl Prediction {
    /// Creates a prediction with a new id.
    pub(super) fn new(classification: Classification, cache: Option<CacheStatus>, timings: PhaseTimings) -> Self {
        let Classification { classes, image } = classification;
        Self { id: Uuid::now_v7(), classes, image, cache, timings }
    }

    /// Creates the record for feedback. `image` is the image file, if it may be stored.
    pub(super) fn to_record(&self, image: Option<Bytes>) -> PredictionRecord {
        PredictionRecord {
            id: self.id,
            classes: self.classes.iter().map(|class| (class.class_id as u32, class.probability)).collect(),
            image: image.map(|bytes| (bytes, self.image.format.extension())),
        }
    }
}

/// One class with its probability.
#[derive(Clone, Debug)]
pub struct Class {
    /// The class's name.
    pub label: Arc<str>,
    /// The class's index.
    pub class_id: usize,
    /// Softmax probability, from 0 to 1; of a multi-label model the sigmoid probability.
    pub probability: f32,
}

/// The embedding of one image.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// The output of the network, not normalised.
    pub values: Box<[f32]>,
    /// The format and the size of the image.
    pub image: ImageInfo,
    /// How long each phase took.
    pub timings: PhaseTimings,
}

/// The format and the size of an image.
#[derive(Clone, Copy, Debug)]
pub struct ImageInfo {
    /// The format, according to the magic bytes.
    pub format: Format,
    /// In pixels, as displayed.
    pub width: u32,
    /// In pixels, as displayed.
    pub height: u32,
    /// Whether the file is truncated or damaged, and some pixels are missing.
    pub is_truncated: bool,
}
