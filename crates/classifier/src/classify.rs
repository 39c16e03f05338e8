//! One picture's way: a permit, then pixels, then a batch, then classes. Rows of several go parts of the same way.

use bytes::Bytes;
use uuid::Uuid;

use super::answer::Answer;
use super::decode::Decoded;
use super::timings::PhaseTimer;
use super::{AdmitError, Class, Classifier, ClassifyError, Options, Picture, Prediction};
use crate::batching::{Ask, Permit, Terms};
use kiln_feedback::Recorder;
use kiln_image as image;
use kiln_inference::{Output, Ranked, Sample, rank};
use kiln_runtime::telemetry::{Phase, PhaseTimings, traces};

impl Classifier {
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
        let to_keep = self.recorder.as_ref().is_some_and(Recorder::stores_images).then(|| bytes.clone());
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
        let timer = PhaseTimer::start(options.arrived);
        image::check_file_name(file_name, &self.limits.formats)?;
        let (answer, timer, cache) = match &self.kept {
            Some(kept) => {
                let (answer, timer, outcome) = self.kept_or_run(kept, bytes, &options, timer).await?;
                (answer, timer, Some(outcome))
            }
            None => {
                let (answer, timer) = self.run_picture(bytes, &options, timer).await?;
                (answer, timer, None)
            }
        };
        let Answer { classes, image } = answer;
        Ok(Prediction { id: Uuid::now_v7(), classes, image, cache, timings: self.finish(timer) })
    }

    /// From the bytes to the classes: a permit, then pixels, then a batch.
    pub(super) async fn run_picture(
        &self,
        bytes: Bytes,
        options: &Options,
        timer: PhaseTimer,
    ) -> Result<(Answer, PhaseTimer), ClassifyError> {
        let permit = self.admit(options)?;
        let Decoded { permit, image, sample, mut timer } = self.decode(permit, bytes, timer, options.deadline).await?;
        let seen = self.shadow.as_ref().and_then(|shadow| shadow.see(&sample));
        let output = self.run(permit, sample, options, Some(options.top_k), &mut timer).await?;
        let classes: Vec<Class> = match output {
            Output::Logits(logits) => self.classes(&logits, options.top_k),
            // Others of the batch may have asked for more.
            Output::Ranked(ranked) => ranked.into_iter().take(options.top_k).map(|ranked| self.class(ranked)).collect(),
        };
        if let Some(seen) = seen {
            seen.compare(&self.batcher, classes.first());
        }
        Ok((Answer { classes, image }, timer))
    }

    /// The `top_k` most probable classes by their raw scores, most probable first.
    pub fn classes(&self, logits: &[f32], top_k: usize) -> Vec<Class> {
        rank(logits, top_k).into_iter().map(|ranked| self.class(ranked)).collect()
    }

    fn class(&self, ranked: Ranked) -> Class {
        let Ranked { class_id, probability } = ranked;
        Class { label: self.model.label(class_id), class_id, probability }
    }

    pub(super) fn admit(&self, options: &Options) -> Result<Permit, AdmitError> {
        let deadline = options.deadline.map(tokio::time::Instant::from_std);
        self.batcher.admit(&Ask { deadline, priority: options.priority, share: options.share.clone() })
    }

    /// One sample through a batch. `top_k` tells that no more classes are of interest.
    pub(super) async fn run(
        &self,
        permit: Permit,
        sample: Sample,
        options: &Options,
        top_k: Option<usize>,
        timer: &mut PhaseTimer,
    ) -> Result<Output, ClassifyError> {
        let deadline = options.deadline.map(tokio::time::Instant::from_std);
        let terms = Terms { priority: options.priority, deadline, top_k };
        // The way back from the decode thread is waiting too.
        timer.end(Phase::Queue);
        let answer = self.batcher.submit(permit, sample, terms).await?;
        timer.add(Phase::Queue, answer.queue);
        timer.add(Phase::BatchWait, answer.batch_wait);
        timer.add(Phase::Device, answer.inference);
        tracing::debug!(batch_size = answer.batch_size, "classified");
        Ok(answer.output)
    }

    /// Ends the last phase and records all of them.
    pub(super) fn finish(&self, timer: PhaseTimer) -> PhaseTimings {
        let (started, timings) = (timer.started(), timer.finish());
        self.batcher.metrics().phases(&timings);
        traces::record_phases(started, &timings);
        timings
    }
}
