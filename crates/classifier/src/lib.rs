//! Joins the rooms for one picture: admission, decoding, batching, ranking. It knows no HTTP and no device.
//!
//! | file | responsibility |
//! |---|---|
//! | `picture.rs`, `answer.rs` | what goes in and what comes out: plain data |
//! | `classify.rs` | the way of one picture |
//! | `rows.rs` | several rows at once, for their raw scores |
//! | `decode.rs` | bytes to what the engine takes |
//! | `kept.rs` | whether it was answered before |
//! | `shadow.rs` | another version that is compared |
//! | `timings.rs` | where the time went |
//! | `statistics.rs` | what a model was asked and has answered |
#![forbid(unsafe_code)]

mod answer;
pub mod batching;
pub mod cache;
mod classify;
mod decode;
mod kept;
mod picture;
pub mod registry;
mod rows;
mod shadow;
mod statistics;
#[doc(hidden)]
pub mod test_support;
#[cfg(test)]
pub(crate) mod tests;
mod timings;

use std::sync::Arc;

use crate::batching::Batcher;
use kept::Kept;
use kiln_feedback::Recorder;
use kiln_image::{DecodePool, Limits, PoolError, Recipe};
use kiln_inference::model::Model;
use shadow::Shadow;
use statistics::Statistics;

pub use answer::{Class, ImageInfo, Options, Prediction};
pub use decode::recipe;
pub use kept::Answers;
pub use picture::Picture;
pub use rows::{Row, Scores, slowest};
pub use statistics::Snapshot;
// The types of the rooms below that a caller of this one meets.
pub use crate::batching::{AdmitError, BatchError, Priority, QueueShare, Timed};
pub use crate::cache::{LookUp, Outcome};
pub use kiln_image::ImageError;
pub use kiln_inference::Placement;

/// One model, ready to classify. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Classifier {
    model: Model,
    placements: Arc<[Placement]>,
    /// The largest cut-out that the engines resize by themselves, in bytes, if they do.
    largest_cutout: Option<usize>,
    recipe: Recipe,
    limits: Arc<Limits>,
    pool: DecodePool,
    batcher: Batcher,
    /// What was answered before, if that is kept.
    kept: Option<Kept>,
    statistics: Arc<Statistics>,
    shadow: Option<Shadow>,
    /// What takes its predictions down, if anything does.
    recorder: Option<Recorder>,
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
        let statistics = Arc::new(Statistics::new(batcher.metrics().clone()));
        Self {
            model,
            placements,
            largest_cutout: None,
            recipe,
            limits,
            pool,
            batcher,
            kept: None,
            statistics,
            shadow: None,
            recorder: None,
        }
    }

    /// The same, keeping its answers there and giving those that are there already.
    pub fn keeping(self, answers: Answers) -> Self {
        let kept = Some(Kept::new(answers, &self.model, &self.recipe));
        Self { kept, ..self }
    }

    /// The same for engines that all resize pictures by themselves, as long as what is needed of them has no more than so
    /// many bytes. The decode threads resize the others.
    pub fn resizing(self, largest_cutout: usize) -> Self {
        Self { largest_cutout: Some(largest_cutout), ..self }
    }

    /// The same, and what it answers is recorded, so that feedback on it can be given.
    pub fn recording(self, recorder: Recorder) -> Self {
        Self { recorder: Some(recorder), ..self }
    }

    /// Where the model runs.
    pub fn placements(&self) -> &[Placement] {
        &self.placements
    }

    /// The model that answers.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What has been asked and answered since the start.
    pub fn statistics(&self) -> Snapshot {
        self.statistics.snapshot(self.batcher.runs())
    }
}
