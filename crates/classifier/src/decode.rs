//! Bytes to what the engine takes, on a thread that may decode. Whether it is resized there or by the engine is decided here.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::timings::PhaseTimer;
use super::{Classifier, ClassifyError, ImageError, ImageInfo};
use crate::batching::{BatchError, Permit};
use kiln_image::{self as image, Recipe};
use kiln_inference::Sample;
use kiln_inference::model::Model;
use kiln_runtime::telemetry::Phase;

/// A picture on its way to the engine.
pub(super) struct Decoded {
    pub(super) permit: Permit,
    pub(super) image: ImageInfo,
    pub(super) sample: Sample,
    pub(super) timer: PhaseTimer,
}

impl Classifier {
    /// The permit goes with the work: a decode that its caller has left still takes memory, and room.
    pub(super) async fn decode(
        &self,
        permit: Permit,
        bytes: Bytes,
        mut timer: PhaseTimer,
        deadline: Option<Instant>,
    ) -> Result<Decoded, ClassifyError> {
        let (recipe, limits, largest) = (self.recipe.clone(), Arc::clone(&self.limits), self.largest_cutout);
        let timed = move || {
            // Others were decoded first; an answer that nobody waits for any more is not worth the work.
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                permit.was_late();
                return Ok(None);
            }
            timer.end(Phase::DecodeWait);
            let raster = image::decode(&bytes, &limits)?;
            timer.end(Phase::Decode);
            let (width, height) = raster.displayed_size();
            let image = ImageInfo { format: raster.format(), width, height };
            // What waits for a device takes memory: of a large picture the CPU makes a small one.
            let sample = if largest.is_some_and(|most| image::cut_bytes(&raster, &recipe) <= most) {
                image::cut(&raster, &recipe).into()
            } else {
                image::resize(&raster, &recipe)?.into()
            };
            timer.end(Phase::Preprocess);
            Ok::<_, ImageError>(Some(Decoded { permit, image, sample, timer }))
        };
        self.pool.run(timed).await??.ok_or_else(|| self.late(&timer))
    }

    /// The deadline of a picture passed before it was submitted.
    pub(super) fn late(&self, timer: &PhaseTimer) -> ClassifyError {
        let (queued, retry_after) = (timer.started().elapsed(), self.batcher.retry_after());
        BatchError::DeadlinePassed { queued, retry_after }.into()
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
