//! What is asked of the classifier besides a picture, and what comes out: plain data.

use std::time::Instant;

use bytes::Bytes;
use uuid::Uuid;

use crate::batching::{Priority, QueueShare};
use crate::cache::LookUp;
use kiln_feedback::PredictionRecord;
use kiln_image::Format;
use kiln_runtime::telemetry::PhaseTimings;

/// What the caller wants.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How many classes to tell, most probable first.
    pub top_k: usize,
    /// When the answer is of no use any more; a picture still in the queue then is not run.
    pub deadline: Option<Instant>,
    /// Whether it goes before others in the queue.
    pub priority: Priority,
    /// The part of the queue that the caller may fill, if it is not all.
    pub share: Option<QueueShare>,
    /// Whether it has to be an answer of its own, neither one that was kept nor one that will be.
    pub fresh: bool,
    /// When the request began, if its time began before the classifier was asked.
    pub arrived: Option<Instant>,
}

/// A picture's answer.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// A fresh id, ordered by time.
    pub id: Uuid,
    /// The most probable classes, most probable first.
    pub classes: Vec<Class>,
    /// What the picture turned out to be.
    pub image: ImageInfo,
    /// What came of looking for the answer, where answers are kept.
    pub cache: Option<LookUp>,
    /// Where the time went.
    pub timings: PhaseTimings,
}

/// What of a prediction is the same whenever the picture is asked again.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The most probable classes, most probable first.
    pub(super) classes: Vec<Class>,
    /// What the picture turned out to be.
    pub(super) image: ImageInfo,
}

impl Prediction {
    /// What is recorded of it, with the picture's file if that may be kept.
    pub(super) fn to_record(&self, picture: Option<Bytes>) -> PredictionRecord {
        PredictionRecord {
            id: self.id,
            classes: self.classes.iter().map(|class| (class.class_id as u32, class.probability)).collect(),
            image: picture.map(|bytes| (bytes, self.image.format.extension())),
        }
    }
}

/// One class with its probability.
#[derive(Clone, Debug)]
pub struct Class {
    /// The class's name.
    pub label: &'static str,
    /// The class's index.
    pub class_id: usize,
    /// Softmax probability, in 0..=1.
    pub probability: f32,
}

/// What a picture turned out to be.
#[derive(Clone, Copy, Debug)]
pub struct ImageInfo {
    /// By its magic bytes.
    pub format: Format,
    /// In pixels, as displayed.
    pub width: u32,
    /// In pixels, as displayed.
    pub height: u32,
}
