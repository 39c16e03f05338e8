//! Joins the rooms for one picture: admission, decoding, batching, ranking. It knows no HTTP and no device.
//!
//! | file | responsibility |
//! |---|---|
//! | `answer.rs` | what goes in and what comes out: plain data |
//! | `rows.rs` | several rows at once, for their raw scores |
//! | `statistics.rs` | what a model was asked and has answered |

mod answer;
mod rows;
mod statistics;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

use crate::batching::{Batcher, Permit, Terms};
use crate::image::{self, DecodePool, Limits, PoolError, Recipe};
use crate::inference::{Output, Ranked, Sample, rank};
use crate::model::Model;
use crate::telemetry::metrics;
use statistics::Statistics;

pub use answer::{Class, ImageInfo, Options, Picture, Prediction, Timings};
pub use rows::{Row, Scores};
pub use statistics::Snapshot;
// The types of the rooms below that a caller of this one meets.
pub use crate::batching::{AdmitError, BatchError, Priority, Timed};
pub use crate::image::ImageError;
pub use crate::inference::Placement;

/// Bytes of a picture that are kept for a device to resize: a photo of 1.4 megapixels.
const LARGEST_CUTOUT: usize = 4 << 20;

/// A picture on its way to the engine.
struct Decoded {
    image: ImageInfo,
    sample: Sample,
}

/// One model, ready to classify. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Classifier {
    model: Model,
    placements: Arc<[Placement]>,
    /// Whether the engines resize pictures by themselves.
    resizes: bool,
    recipe: Recipe,
    limits: Arc<Limits>,
    pool: DecodePool,
    batcher: Batcher,
    statistics: Arc<Statistics>,
}

/// Why a picture has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClassifyError {
    /// The picture is at fault.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Too much to do, or the end is near.
    #[error(transparent)]
    Admit(#[from] AdmitError),
    /// It was admitted, but not answered.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The decoder broke.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl Classifier {
    /// A classifier for `model`, whose engines run at `placements` and are driven by `batcher`.
    pub fn new(
        model: Model,
        placements: Vec<Placement>,
        limits: Arc<Limits>,
        pool: DecodePool,
        batcher: Batcher,
    ) -> Self {
        let recipe = recipe(&model);
        let placements = placements.into();
        Self { model, placements, resizes: false, recipe, limits, pool, batcher, statistics: Arc::default() }
    }

    /// The same for engines that all resize pictures by themselves, so that the decode threads need not.
    pub fn resizing(self) -> Self {
        Self { resizes: true, ..self }
    }

    /// Where the model runs.
    pub fn placements(&self) -> &[Placement] {
        &self.placements
    }

    /// The model that answers.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Classifies one picture.
    ///
    /// The file name is looked at first and a permit taken second, so that neither a wrong extension nor a full
    /// queue costs a decode.
    ///
    /// # Errors
    ///
    /// See [`ClassifyError`]; each variant says whose fault it is.
    pub async fn classify(&self, picture: Picture, options: Options) -> Result<Prediction, ClassifyError> {
        let Picture { bytes, file_name } = picture;
        let started = Instant::now();
        let outcome = self.answer(bytes, file_name.as_deref(), options, started).await;
        self.statistics.record(started, outcome.as_ref().ok().map(|prediction| prediction.timings), 1);
        if let Err(ClassifyError::Image(error)) = &outcome {
            // The client wrote the name; as it came it could forge lines of the log.
            let file = file_name.as_deref().map(image::sanitise_file_name);
            tracing::debug!(file, %error, "a picture was refused");
        }
        outcome
    }

    async fn answer(
        &self,
        bytes: Bytes,
        file_name: Option<&str>,
        options: Options,
        started: Instant,
    ) -> Result<Prediction, ClassifyError> {
        image::check_file_name(file_name, &self.limits.formats)?;
        let permit = self.batcher.admit()?;
        let (permit, decoded, decode) = self.decode(permit, bytes, started, options.deadline).await?;
        let Decoded { image, sample } = decoded;
        let top_k = Some(options.top_k);
        let (output, timings) = self.run(permit, sample, &options, top_k, started, Some(decode)).await?;
        let classes = match output {
            Output::Logits(logits) => self.classes(&logits, options.top_k),
            // Others of the batch may have asked for more.
            Output::Ranked(ranked) => ranked.into_iter().take(options.top_k).map(|ranked| self.class(ranked)).collect(),
        };
        Ok(Prediction { id: Uuid::now_v7(), classes, image, timings })
    }

    /// The `top_k` most probable classes by their raw scores, most probable first.
    pub fn classes(&self, logits: &[f32], top_k: usize) -> Vec<Class> {
        rank(logits, top_k).into_iter().map(|ranked| self.class(ranked)).collect()
    }

    fn class(&self, ranked: Ranked) -> Class {
        let Ranked { class_id, probability } = ranked;
        Class { label: self.model.label(class_id), class_id, probability }
    }

    /// The permit goes with the work: a decode that its caller has left still takes memory, and room.
    async fn decode(
        &self,
        permit: Permit,
        bytes: Bytes,
        arrived: Instant,
        deadline: Option<Instant>,
    ) -> Result<(Permit, Decoded, Duration), ClassifyError> {
        let (recipe, limits, resizes) = (self.recipe.clone(), Arc::clone(&self.limits), self.resizes);
        let retry_after = self.batcher.retry_after();
        let timed = move || {
            let started = Instant::now();
            // Others were decoded first; an answer that nobody waits for any more is not worth the work.
            if deadline.is_some_and(|deadline| deadline <= started) {
                return Err(BatchError::DeadlinePassed { queued: started - arrived, retry_after }.into());
            }
            let raster = image::decode(&bytes, &limits)?;
            let (width, height) = raster.displayed_size();
            let image = ImageInfo { format: raster.format(), width, height };
            // What waits for a device takes memory: of a large picture the CPU makes a small one.
            let sample = if resizes && image::cut_bytes(&raster, &recipe) <= LARGEST_CUTOUT {
                image::cut(&raster, &recipe).into()
            } else {
                image::resize(&raster, &recipe)?.into()
            };
            Ok::<_, ClassifyError>((permit, Decoded { image, sample }, started.elapsed()))
        };
        self.pool.run(timed).await?
    }

    /// One sample through a batch. `top_k` tells that no more classes are of interest.
    async fn run(
        &self,
        permit: Permit,
        sample: Sample,
        options: &Options,
        top_k: Option<usize>,
        started: Instant,
        decode: Option<Duration>,
    ) -> Result<(Output, Timings), ClassifyError> {
        let deadline = options.deadline.map(tokio::time::Instant::from_std);
        let terms = Terms { priority: options.priority, deadline, top_k };
        let answer = self.batcher.submit_as(permit, sample, terms).await?;
        let (queue, inference, total) = (answer.queue, answer.inference, started.elapsed());
        metrics::classified(decode, queue, inference, total);
        tracing::debug!(batch_size = answer.batch_size, ?decode, ?queue, ?inference, "classified");
        Ok((answer.output, Timings { decode: decode.unwrap_or_default(), queue, inference, total }))
    }

    /// What has been asked and answered since the start.
    pub fn statistics(&self) -> Snapshot {
        self.statistics.snapshot(self.batcher.runs())
    }
}

/// The image room's recipe for a model. The two rooms do not know each other, so the words are translated here.
pub fn recipe(model: &Model) -> Recipe {
    let spec = model.spec();
    Recipe {
        width: spec.width,
        height: spec.height,
        filter: match spec.filter {
            model_import::Filter::Bilinear => image::Filter::Bilinear,
            model_import::Filter::Bicubic => image::Filter::Bicubic,
            model_import::Filter::Lanczos => image::Filter::Lanczos3,
        },
        crop: match spec.crop {
            model_import::Crop::None => image::Crop::None,
            model_import::Crop::CentralPadded { padding } => image::Crop::CentralPadded { padding },
        },
    }
}
