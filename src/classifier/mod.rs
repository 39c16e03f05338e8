//! Joins the rooms for one picture: admission, decoding, batching, ranking. It knows no HTTP and no tensors.

mod answer;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

use crate::batching::{Batcher, Permit};
use crate::image::{self, DecodePool, Decoded, Limits, PoolError, Recipe};
use crate::inference::rank;
use crate::model::Model;
use crate::telemetry::metrics;

pub use answer::{Class, ImageInfo, Options, Picture, Prediction, Timings};
// The types of the rooms below that a caller of this one meets.
pub use crate::batching::{AdmitError, BatchError};
pub use crate::image::ImageError;
pub use crate::inference::DeviceInfo;

/// One model, ready to classify. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Classifier {
    model: Model,
    device: DeviceInfo,
    recipe: Recipe,
    limits: Arc<Limits>,
    pool: DecodePool,
    batcher: Batcher,
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
    /// A classifier for `model`, whose engine runs on `device` and is driven by `batcher`.
    pub fn new(model: Model, device: DeviceInfo, limits: Arc<Limits>, pool: DecodePool, batcher: Batcher) -> Self {
        let recipe = recipe(&model);
        Self { model, device, recipe, limits, pool, batcher }
    }

    /// Where the model runs.
    pub fn device(&self) -> &DeviceInfo {
        &self.device
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
        let outcome = self.answer(bytes, file_name.as_deref(), options).await;
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
    ) -> Result<Prediction, ClassifyError> {
        let started = Instant::now();
        image::check_file_name(file_name, &self.limits.formats)?;
        let permit = self.batcher.admit()?;
        let (permit, decoded, decode) = self.decode(permit, bytes, started, options.deadline).await?;
        let image = ImageInfo { format: decoded.format, width: decoded.width, height: decoded.height };
        self.run(permit, decoded, options, started, decode).await.map(|(classes, timings)| Prediction {
            id: Uuid::now_v7(),
            classes,
            image,
            timings,
        })
    }

    /// The permit goes with the work: a decode that its caller has left still takes memory, and room.
    async fn decode(
        &self,
        permit: Permit,
        bytes: Bytes,
        arrived: Instant,
        deadline: Option<Instant>,
    ) -> Result<(Permit, Decoded, Duration), ClassifyError> {
        let (recipe, limits) = (self.recipe.clone(), Arc::clone(&self.limits));
        let retry_after = self.batcher.retry_after();
        let timed = move || {
            let started = Instant::now();
            // Others were decoded first; an answer that nobody waits for any more is not worth the work.
            if deadline.is_some_and(|deadline| deadline <= started) {
                return Err(BatchError::DeadlinePassed { queued: started - arrived, retry_after }.into());
            }
            let decoded = image::prepare(&bytes, &recipe, &limits)?;
            Ok::<_, ClassifyError>((permit, decoded, started.elapsed()))
        };
        self.pool.run(timed).await?
    }

    async fn run(
        &self,
        permit: Permit,
        decoded: Decoded,
        options: Options,
        started: Instant,
        decode: Duration,
    ) -> Result<(Vec<Class>, Timings), ClassifyError> {
        let deadline = options.deadline.map(tokio::time::Instant::from_std);
        let answer = self.batcher.submit(permit, decoded.image, deadline).await?;
        let classes = rank(&answer.logits, options.top_k)
            .into_iter()
            .map(|ranked| Class {
                label: self.model.label(ranked.class_id),
                class_id: ranked.class_id,
                probability: ranked.probability,
            })
            .collect();
        let (queue, inference, total) = (answer.queue, answer.inference, started.elapsed());
        metrics::classified(decode, queue, inference, total);
        tracing::debug!(batch_size = answer.batch_size, ?decode, ?queue, ?inference, "classified");
        Ok((classes, Timings { decode, queue, inference, total }))
    }
}

/// The image room's recipe for a model. The two rooms do not know each other, so the words are translated here.
fn recipe(model: &Model) -> Recipe {
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
