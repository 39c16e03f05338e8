//! The JSON that goes over the wire, and how the classifier's answers become it.

use poem_openapi::Object;

use crate::classifier::{Placement, Prediction, Timings};
use crate::model::Model;
use crate::registry::Version;

/// What a picture shows.
#[derive(Debug, Object)]
pub(super) struct PredictionBody {
    /// Id of this answer, for feedback and for log lines. Ordered by time.
    pub(super) prediction_id: String,
    /// The model that answered.
    pub(super) model: ModelRef,
    /// The most probable classes, most probable first.
    pub(super) predictions: Vec<ClassBody>,
    /// What the picture turned out to be.
    pub(super) image: ImageBody,
    /// Where the time went, in milliseconds.
    pub(super) timings_ms: TimingsBody,
}

/// A model and its version.
#[derive(Clone, Debug, Object)]
pub(super) struct ModelRef {
    /// Name, as in the `model` parameter.
    pub(super) name: String,
    /// Version, as in the `version` parameter.
    pub(super) version: String,
    /// `sha256:` and the digest of the file that the model was made from, or of that and other weights.
    pub(super) digest: String,
}

/// One class with its probability.
#[derive(Debug, Object)]
pub(super) struct ClassBody {
    /// Name of the class.
    pub(super) label: String,
    /// Index of the class.
    pub(super) class_id: u32,
    /// Softmax probability, from 0 to 1.
    pub(super) probability: f32,
}

/// What a picture turned out to be.
#[derive(Debug, Object)]
pub(super) struct ImageBody {
    /// The format by its magic bytes, whatever the file is called.
    pub(super) format: String,
    /// Width in pixels, as displayed.
    pub(super) width: u32,
    /// Height in pixels, as displayed.
    pub(super) height: u32,
}

/// Where the time went, in milliseconds. The phases have no gaps; one that there was not is 0.
#[derive(Debug, Object)]
pub(super) struct TimingsBody {
    /// From the request's head to the complete upload.
    pub(super) receive: f64,
    /// Waiting for a thread that decodes.
    pub(super) decode_wait: f64,
    /// Bytes to pixels.
    pub(super) decode: f64,
    /// Cropping, resizing and orienting, as far as the device does not do so.
    pub(super) preprocess: f64,
    /// Waiting while every engine was busy.
    pub(super) queue: f64,
    /// Waiting for company in a batch, and for the engine's thread.
    pub(super) batch_wait: f64,
    /// The device's work on the batch that the picture was in.
    pub(super) device: f64,
    /// From scores to classes.
    pub(super) postprocess: f64,
    /// All of it.
    pub(super) total: f64,
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
    pub(super) error: Option<super::error::ErrorBody>,
}

/// The answers to several pictures, in the order in which they were sent.
#[derive(Debug, Object)]
pub(super) struct BatchBody {
    /// One entry a picture.
    pub(super) results: Vec<BatchItem>,
}

/// A model that is served.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct ModelBody {
    /// Name, as in the `model` parameter.
    pub(super) name: String,
    /// The stable version.
    pub(super) version: String,
    /// `sha256:` and the digest of the file that the model was made from, or of that and other weights.
    pub(super) digest: String,
    /// One sentence for a person.
    pub(super) description: String,
    /// Where the weights come from.
    pub(super) source: String,
    /// Licence of the weights.
    pub(super) licence: String,
    /// True for the model of requests that name none.
    pub(super) default: bool,
    /// Width of the network's input, in pixels.
    pub(super) width: u32,
    /// Height of the network's input, in pixels.
    pub(super) height: u32,
    /// Number of classes.
    pub(super) classes: u32,
    /// Where it runs; several share its queue.
    pub(super) devices: Vec<DeviceBody>,
    /// The versions that are loaded, the stable one first.
    pub(super) versions: Vec<VersionBody>,
    /// Class names in index order; only where a single model is asked for.
    pub(super) labels: Option<Vec<String>>,
}

/// A version that is loaded.
#[derive(Debug, Object)]
pub(super) struct VersionBody {
    /// As in the `version` parameter.
    pub(super) version: String,
    /// What tells its graph and weights from all others.
    pub(super) digest: String,
    /// What it is there for: `stable`, `canary`, `shadow`.
    pub(super) labels: Vec<String>,
}

/// Where a model runs.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct DeviceBody {
    /// Product name, or `CPU`.
    pub(super) name: String,
    /// Graphics API or runtime.
    pub(super) api: String,
    /// Driver and version.
    pub(super) driver: Option<String>,
    /// What compiles its kernels.
    pub(super) compiler: String,
    /// `f32`, `f16` or `bf16`.
    pub(super) precision: String,
    /// `fused` (Kiln's own) or `stock` (Burn's).
    pub(super) kernels: String,
}

/// Every model that is served.
#[derive(Debug, Object)]
pub(super) struct ModelsBody {
    /// In the order of their names.
    pub(super) models: Vec<ModelBody>,
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

impl From<Timings> for TimingsBody {
    fn from(timings: Timings) -> Self {
        // Microseconds are as fine as a reader wants it.
        let ms = |duration: std::time::Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
        Self {
            receive: ms(timings.receive),
            decode_wait: ms(timings.decode_wait),
            decode: ms(timings.decode),
            preprocess: ms(timings.preprocess),
            queue: ms(timings.queue),
            batch_wait: ms(timings.batch_wait),
            device: ms(timings.device),
            postprocess: ms(timings.postprocess),
            total: ms(timings.total),
        }
    }
}

impl From<&Placement> for DeviceBody {
    fn from(placement: &Placement) -> Self {
        let Placement { device, precision, kernels } = placement.clone();
        Self {
            name: device.name,
            api: device.api,
            driver: device.driver,
            compiler: device.compiler.to_string(),
            precision,
            kernels,
        }
    }
}

impl From<&Version> for VersionBody {
    fn from(version: &Version) -> Self {
        let model = version.classifier.model();
        let labels = version.labels.iter().map(|label| label.word().to_string());
        Self { version: model.version().to_string(), digest: model.digest(), labels: labels.collect() }
    }
}

impl ModelBody {
    /// By its loaded versions, of which there is at least one.
    pub(super) fn new(versions: &[Version], default: Option<&str>, with_labels: bool) -> Self {
        let stable = &versions[0].classifier;
        let (model, spec) = (stable.model(), stable.model().spec());
        Self {
            name: spec.name.to_string(),
            version: model.version().to_string(),
            digest: model.digest(),
            description: spec.description.to_string(),
            source: spec.source.to_string(),
            licence: spec.licence.to_string(),
            default: default == Some(spec.name),
            width: spec.width,
            height: spec.height,
            classes: spec.labels.len() as u32,
            devices: stable.placements().iter().map(DeviceBody::from).collect(),
            versions: versions.iter().map(VersionBody::from).collect(),
            labels: with_labels.then(|| spec.labels.iter().map(ToString::to_string).collect()),
        }
    }
}
