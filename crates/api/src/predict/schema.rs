//! The JSON of the answers.

use std::time::Duration;

use poem_openapi::Object;

use crate::error::ErrorBody;
use kiln_classifier::Prediction;
use kiln_inference::model::Model;
use kiln_runtime::telemetry::{Phase, PhaseTimings};

/// What a picture shows.
#[derive(Debug, Object)]
pub(super) struct PredictionBody {
    /// Id of this answer, for feedback and for log lines. Ordered by time.
    prediction_id: String,
    /// The model that answered.
    model: ModelRef,
    /// The most probable classes, most probable first.
    predictions: Vec<ClassBody>,
    /// What the picture turned out to be.
    image: ImageBody,
    /// Where the time went, in milliseconds.
    timings_ms: TimingsBody,
}

/// A model and its version.
#[derive(Debug, Object)]
struct ModelRef {
    /// Name, as in the `model` parameter.
    name: String,
    /// Version, as in the `version` parameter.
    version: String,
    /// `sha256:` and the digest of the file that the model was made from, or of that and other weights.
    digest: String,
}

/// One class with its probability.
#[derive(Debug, Object)]
struct ClassBody {
    /// Name of the class.
    label: String,
    /// Index of the class.
    class_id: u32,
    /// Softmax probability, from 0 to 1.
    probability: f32,
}

/// What a picture turned out to be.
#[derive(Debug, Object)]
struct ImageBody {
    /// The format by its magic bytes, whatever the file is called.
    format: String,
    /// Width in pixels, as displayed.
    width: u32,
    /// Height in pixels, as displayed.
    height: u32,
}

/// Where the time went, in milliseconds. The phases have no gaps; one that there was not is 0.
#[derive(Debug, Object)]
struct TimingsBody {
    /// From the request's head to the complete upload.
    receive: f64,
    /// Waiting for a thread that decodes.
    decode_wait: f64,
    /// Bytes to pixels.
    decode: f64,
    /// Cropping, resizing and orienting, as far as the device does not do so.
    preprocess: f64,
    /// Waiting while every engine was busy.
    queue: f64,
    /// Waiting for company in a batch, and for the engine's thread.
    batch_wait: f64,
    /// The device's work on the batch that the picture was in.
    device: f64,
    /// From scores to classes.
    postprocess: f64,
    /// All of it.
    total: f64,
}

/// One of several pictures: either `result` or `error`.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct BatchItem {
    /// Position among the files that were sent, from 0.
    pub(super) index: u32,
    /// The answer.
    pub(super) result: Option<PredictionBody>,
    /// Why there is none.
    pub(super) error: Option<ErrorBody>,
}

/// The answers to several pictures, in the order in which they were sent.
#[derive(Debug, Object)]
pub(super) struct BatchBody {
    /// One entry a picture.
    pub(super) results: Vec<BatchItem>,
}

impl PredictionBody {
    pub(super) fn new(model: &Model, prediction: Prediction) -> Self {
        let classes = prediction.classes.into_iter().map(|class| ClassBody {
            label: class.label.to_string(),
            class_id: class.class_id as u32,
            probability: class.probability,
        });
        Self {
            prediction_id: prediction.id.to_string(),
            model: ModelRef {
                name: model.spec().name.to_string(),
                version: model.version().to_string(),
                digest: model.digest(),
            },
            predictions: classes.collect(),
            image: ImageBody {
                format: prediction.image.format.to_string(),
                width: prediction.image.width,
                height: prediction.image.height,
            },
            timings_ms: TimingsBody::from(prediction.timings),
        }
    }
}

impl From<PhaseTimings> for TimingsBody {
    fn from(timings: PhaseTimings) -> Self {
        // Microseconds are as fine as a reader wants it.
        let ms = |duration: Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
        let phase = |phase| ms(timings[phase]);
        Self {
            receive: phase(Phase::Receive),
            decode_wait: phase(Phase::DecodeWait),
            decode: phase(Phase::Decode),
            preprocess: phase(Phase::Preprocess),
            queue: phase(Phase::Queue),
            batch_wait: phase(Phase::BatchWait),
            device: phase(Phase::Device),
            postprocess: phase(Phase::Postprocess),
            total: ms(timings.total()),
        }
    }
}
