//! Joins the rooms for one picture: admission, decoding, batching, ranking. It knows no HTTP and no device.
//!
//! | file | responsibility |
//! |---|---|
//! | `picture.rs`, `answer.rs` | what goes in and what comes out: plain data |
//! | `decode.rs` | bytes to what the engine takes |
//! | `kept.rs` | whether it was answered before |
//! | `rows.rs` | several rows at once, for their raw scores |
//! | `shadow.rs` | another version that is compared |
//! | `timings.rs` | where the time went |
//! | `statistics.rs` | what a model was asked and has answered |

mod answer;
mod decode;
mod kept;
mod picture;
mod rows;
mod shadow;
mod statistics;
#[cfg(test)]
pub(crate) mod tests;
mod timings;

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::batching::{Ask, Batcher, Permit, Terms};
use crate::feedback::Recorder;
use crate::image::{self, DecodePool, Limits, PoolError, Recipe};
use crate::inference::{Output, Ranked, Sample, rank};
use crate::model::Model;
use crate::telemetry::traces;
use answer::Answer;
use decode::Decoded;
use kept::Kept;
use shadow::Shadow;
use statistics::Statistics;
use timings::Clock;

pub use answer::{Class, ImageInfo, Options, Prediction};
pub use decode::recipe;
pub use kept::Answers;
pub use picture::Picture;
pub use rows::{Row, Scores, slowest};
pub use statistics::Snapshot;
pub use timings::Timings;
// The types of the rooms below that a caller of this one meets.
pub use crate::batching::{AdmitError, BatchError, Priority, Share, Timed};
pub use crate::cache::{LookUp, Outcome};
pub use crate::image::ImageError;
pub use crate::inference::Placement;

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
        let asked = self.statistics.begin(1);
        let to_keep = self.recorder.as_ref().is_some_and(Recorder::keeps_pictures).then(|| bytes.clone());
        let outcome = self.answer(bytes, file_name.as_deref(), options).await;
        asked.end(outcome.as_ref().map(|prediction| prediction.timings));
        if let (Some(recorder), Ok(prediction)) = (&self.recorder, &outcome) {
            recorder.record(prediction.to_record(to_keep));
        }
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
        let clock = Clock::start(options.arrived);
        image::check_file_name(file_name, &self.limits.formats)?;
        let (answer, clock, cache) = match &self.kept {
            Some(kept) => {
                let (answer, clock, outcome) = self.kept_or_run(kept, bytes, &options, clock).await?;
                (answer, clock, Some(outcome))
            }
            None => {
                let (answer, clock) = self.run_picture(bytes, &options, clock).await?;
                (answer, clock, None)
            }
        };
        let Answer { classes, image } = answer;
        Ok(Prediction { id: Uuid::now_v7(), classes, image, cache, timings: self.finish(clock) })
    }

    /// From the bytes to the classes: a permit, then pixels, then a batch.
    async fn run_picture(
        &self,
        bytes: Bytes,
        options: &Options,
        clock: Clock,
    ) -> Result<(Answer, Clock), ClassifyError> {
        let permit = self.admit(options)?;
        let Decoded { permit, image, sample, mut clock } = self.decode(permit, bytes, clock, options.deadline).await?;
        let seen = self.shadow.as_ref().and_then(|shadow| shadow.see(&sample));
        let output = self.run(permit, sample, options, Some(options.top_k), &mut clock).await?;
        let classes: Vec<Class> = match output {
            Output::Logits(logits) => self.classes(&logits, options.top_k),
            // Others of the batch may have asked for more.
            Output::Ranked(ranked) => ranked.into_iter().take(options.top_k).map(|ranked| self.class(ranked)).collect(),
        };
        if let Some(seen) = seen {
            seen.compare(&self.batcher, classes.first());
        }
        Ok((Answer { classes, image }, clock))
    }

    /// The `top_k` most probable classes by their raw scores, most probable first.
    pub fn classes(&self, logits: &[f32], top_k: usize) -> Vec<Class> {
        rank(logits, top_k).into_iter().map(|ranked| self.class(ranked)).collect()
    }

    fn class(&self, ranked: Ranked) -> Class {
        let Ranked { class_id, probability } = ranked;
        Class { label: self.model.label(class_id), class_id, probability }
    }

    fn admit(&self, options: &Options) -> Result<Permit, AdmitError> {
        let deadline = options.deadline.map(tokio::time::Instant::from_std);
        self.batcher.admit(&Ask { deadline, priority: options.priority, share: options.share.clone() })
    }

    /// One sample through a batch. `top_k` tells that no more classes are of interest.
    async fn run(
        &self,
        permit: Permit,
        sample: Sample,
        options: &Options,
        top_k: Option<usize>,
        clock: &mut Clock,
    ) -> Result<Output, ClassifyError> {
        let deadline = options.deadline.map(tokio::time::Instant::from_std);
        let terms = Terms { priority: options.priority, deadline, top_k };
        clock.submitted();
        let answer = self.batcher.submit(permit, sample, terms).await?;
        clock.ran(answer.queue, answer.batch_wait, answer.inference);
        tracing::debug!(batch_size = answer.batch_size, "classified");
        Ok(answer.output)
    }

    /// The picture is answered.
    fn finish(&self, clock: Clock) -> Timings {
        let (timings, metrics) = (clock.finish(), self.batcher.metrics());
        // A tensor is not decoded, and a file on this machine not received.
        timings.phases().into_iter().filter(|(_, took)| !took.is_zero()).for_each(|(name, took)| {
            metrics.phase(name, took);
        });
        metrics.phase("total", timings.total);
        traces::phases(clock.began(), timings.phases());
        timings
    }

    /// What has been asked and answered since the start.
    pub fn statistics(&self) -> Snapshot {
        self.statistics.snapshot(self.batcher.runs())
    }
}
