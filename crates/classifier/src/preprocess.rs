//! Turns encoded images into samples for the engine, on the decode threads.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::batching::Admitted;
use crate::prediction::{ClassifyError, ImageInfo};
use crate::statistics::PhaseTimer;
use kiln_image::{self as image, DecodePool, ImageError, Limits, PreprocessSpec};
use kiln_inference::Sample;
use kiln_inference::model::Model;
use kiln_runtime::telemetry::{Phase, metrics};

/// Decodes and resizes images for one model.
#[derive(Clone, Debug)]
pub(super) struct Preprocessor {
    pub(super) spec: PreprocessSpec,
    pub(super) limits: Arc<Limits>,
    pub(super) pool: DecodePool,
    /// If the engines resize images, the size of the largest crop that they take, in bytes.
    pub(super) max_crop_bytes: Option<usize>,
}

/// An image that is ready for the engine.
pub(super) struct Preprocessed {
    pub(super) admitted: Admitted,
    pub(super) image: ImageInfo,
    pub(super) sample: Sample,
    pub(super) timer: PhaseTimer,
}

impl Preprocessor {
    /// Decodes an image and resizes it, unless the engine resizes it. Returns nothing if the deadline passed while the
    /// image waited for a decode thread or for memory.
    ///
    /// The permit moves to the decode thread: while an image is decoded, it takes memory and its place in the queue,
    /// even if the client disconnects. A thread that waits for memory is free at once if the client disconnects.
    pub(super) async fn run(
        &self,
        admitted: Admitted,
        bytes: Bytes,
        mut timer: PhaseTimer,
        deadline: Option<Instant>,
    ) -> Result<Option<Preprocessed>, ClassifyError> {
        let (spec, limits, max_crop_bytes) = (self.spec.clone(), Arc::clone(&self.limits), self.max_crop_bytes);
        let token = limits.decode_budget.token(deadline.map(Instant::into_std));
        // Dropped with the future of this function, when the client has left.
        let _client = token.drop_guard();
        let work = move || {
            // Decoding is wasted if the deadline passed while other images were decoded.
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                admitted.record_missed_deadline();
                return Ok(None);
            }
            timer.end(Phase::DecodeWait);
            let Some(decoded) = image::decode_while_needed(&bytes, &limits, Some(&spec), Some(&token))? else {
                match token.is_cancelled() {
                    true => metrics::cancelled("decode"),
                    false => admitted.record_missed_deadline(),
                }
                return Ok(None);
            };
            timer.end(Phase::Decode);
            let (width, height) = decoded.displayed_size();
            let image = ImageInfo { format: decoded.format(), width, height, is_truncated: decoded.is_truncated() };
            // A sample takes memory while it waits for the device, so the CPU resizes large images.
            let sample = if max_crop_bytes.is_some_and(|max| image::crop_bytes(&decoded, &spec) <= max) {
                image::crop(&decoded, &spec).into()
            } else {
                image::resize(&decoded, &spec)?.into()
            };
            timer.end(Phase::Preprocess);
            Ok::<_, ImageError>(Some(Preprocessed { admitted, image, sample, timer }))
        };
        Ok(self.pool.run(work).await??)
    }
}

/// Returns the preprocessing of a model in the terms of the image crate, which does not depend on models.
pub fn preprocess_spec(model: &Model) -> PreprocessSpec {
    let spec = model.spec();
    PreprocessSpec {
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
