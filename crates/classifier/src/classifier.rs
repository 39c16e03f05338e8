//! One model, ready to classify images: admission, preprocessing, batching and ranking, joined for one request.

use std::sync::Arc;

use bytes::Bytes;

use crate::batching::{AdmitError, Admitted, BatchError, Batcher};
use crate::cache::{CacheStatus, Lookup};
use crate::model_cache::{ModelCache, ResponseCache};
use crate::options::RequestOptions;
use crate::prediction::{Class, Classification, ClassifyError, Prediction};
use crate::preprocess::{Preprocessed, Preprocessor, preprocess_spec};
use crate::shadow::Shadow;
use crate::statistics::{PhaseTimer, Statistics, StatisticsSnapshot};
use kiln_feedback::Recorder;
use kiln_image::{self as image, DecodePool, EncodedImage, Limits};
use kiln_inference::model::{Model, Task};
use kiln_inference::{DeviceAssignment, Output, Sample, ScoredClass, sigmoid_top_k, softmax_top_k};
use kiln_runtime::telemetry::metrics::CacheOutcome;
use kiln_runtime::telemetry::{Phase, PhaseTimings, traces};

/// The minimum probability of a class of a multi-label model, if a request sets none.
const MULTI_LABEL_THRESHOLD: f32 = 0.5;

/// The number of classes of a request that sets none, unless the model is a multi-label model.
const DEFAULT_TOP_K: usize = 5;

/// One model, ready to classify. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Classifier {
    model: Model,
    placements: Arc<[DeviceAssignment]>,
    pub(super) preprocessor: Preprocessor,
    batcher: Batcher,
    cache: Option<ModelCache>,
    pub(super) statistics: Arc<Statistics>,
    shadow: Option<Shadow>,
    recorder: Option<Recorder>,
}

impl Classifier {
    /// Creates a classifier for `model`, whose engines run at `placements` and are driven by `batcher`.
    pub fn new(
        model: Model,
        placements: Vec<DeviceAssignment>,
        limits: Arc<Limits>,
        pool: DecodePool,
        batcher: Batcher,
    ) -> Self {
        let preprocessor = Preprocessor { spec: preprocess_spec(&model), limits, pool, max_crop_bytes: None };
        let statistics = Arc::new(Statistics::new(batcher.metrics().clone()));
        Self {
            model,
            placements: placements.into(),
            preprocessor,
            batcher,
            cache: None,
            statistics,
            shadow: None,
            recorder: None,
        }
    }

    /// Uses a response cache.
    pub fn with_cache(self, responses: ResponseCache) -> Self {
        let Preprocessor { spec, pool, .. } = &self.preprocessor;
        let cache = Some(ModelCache::new(responses, &self.model, spec, pool.clone()));
        Self { cache, ..self }
    }

    /// Lets the engines resize images, if the crop that they need has at most `max_crop_bytes` bytes. The decode
    /// threads resize the other images. All engines must support it.
    pub fn with_engine_resize(mut self, max_crop_bytes: usize) -> Self {
        self.preprocessor.max_crop_bytes = Some(max_crop_bytes);
        self
    }

    /// Records the predictions, so that clients can give feedback on them.
    pub fn with_recorder(self, recorder: Recorder) -> Self {
        Self { recorder: Some(recorder), ..self }
    }

    /// Returns a classifier that also compares its predictions with those of `shadow`, another version of the same
    /// model on the same devices, while an engine is idle.
    pub fn with_shadow(&self, shadow: &Self) -> Self {
        let shadow = Shadow::new(shadow.model.clone(), shadow.batcher.clone());
        Self { shadow: Some(shadow), ..self.clone() }
    }

    /// Returns where the engines run.
    pub fn placements(&self) -> &[DeviceAssignment] {
        &self.placements
    }

    /// Returns the model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Returns the maximum number of images in flight.
    pub fn capacity(&self) -> usize {
        self.batcher.capacity()
    }

    /// Returns the counts since the start.
    pub fn statistics(&self) -> StatisticsSnapshot {
        self.statistics.snapshot(self.batcher.batch_statistics())
    }

    /// Classifies one image.
    ///
    /// The file name is checked before the image is admitted, and the image is admitted before it is decoded. So
    /// neither a wrong extension nor a full queue costs a decode.
    ///
    /// # Errors
    ///
    /// Returns a [`ClassifyError`]. Each variant says whether the client, the load or the server is the cause.
    pub async fn classify(&self, image: EncodedImage, options: RequestOptions) -> Result<Prediction, ClassifyError> {
        let EncodedImage { bytes, file_name } = image;
        let tracker = self.statistics.begin(1);
        let stored_image = self.recorder.as_ref().is_some_and(Recorder::stores_images).then(|| bytes.clone());
        let mut outcome = self.predict(bytes, file_name.as_deref(), &options).await;
        tracker.finish(outcome.as_ref().map(|prediction| prediction.timings));
        // The cache holds all of the `top_k` classes, whatever the threshold.
        if let Ok(prediction) = &mut outcome {
            let threshold = options.threshold.unwrap_or_else(|| self.default_threshold());
            let above = prediction.classes.iter().take_while(|class| class.probability >= threshold).count();
            // A record has the classes of the response, and those that would be in one of the default size.
            prediction.classes.truncate(above.max(options.top_k.unwrap_or(DEFAULT_TOP_K)));
            if let Some(recorder) = &self.recorder {
                recorder.record(prediction.to_record(stored_image));
            }
            prediction.classes.truncate(above);
        }
        if let Err(ClassifyError::Image(error)) = &outcome {
            // The client chose the name; unsanitised it could forge log lines.
            let file = file_name.as_deref().map(image::sanitise_file_name);
            tracing::debug!(file, %error, "image rejected");
        }
        outcome
    }

    async fn predict(
        &self,
        bytes: Bytes,
        file_name: Option<&str>,
        options: &RequestOptions,
    ) -> Result<Prediction, ClassifyError> {
        let timer = PhaseTimer::start(options.arrived);
        image::check_file_name(file_name, &bytes, &self.preprocessor.limits.formats)?;
        let (classification, timer, status) = match &self.cache {
            Some(cache) if !options.bypass_cache => {
                let (classification, timer, status) = self.run_cached(cache, bytes, options, timer).await?;
                (classification, timer, Some(status))
            }
            cache => {
                let bypassed = cache.as_ref().map(|_| CacheOutcome::Bypassed);
                bypassed.into_iter().for_each(|outcome| self.batcher.metrics().cache_lookup(outcome));
                let (classification, timer) = self.run(bytes, options, timer).await?;
                (classification, timer, bypassed.map(CacheStatus::from))
            }
        };
        Ok(Prediction::new(classification, status, self.finish(timer)))
    }

    /// Returns a classification from the response cache, or computes it.
    async fn run_cached(
        &self,
        cache: &ModelCache,
        bytes: Bytes,
        options: &RequestOptions,
        mut timer: PhaseTimer,
    ) -> Result<(Classification, PhaseTimer, CacheStatus), ClassifyError> {
        let compute = |bytes| async move {
            let (classification, timer) = self.run(bytes, options, timer).await?;
            Ok((Arc::new(classification), timer))
        };
        let count = |outcome| self.batcher.metrics().cache_lookup(outcome);
        match cache.get_or_compute(bytes, self.batcher.engine_failures(), options, compute, count).await {
            Lookup::Found(classification, status) => {
                if status.outcome == CacheOutcome::Coalesced {
                    timer.end(Phase::Queue);
                }
                Ok((Arc::unwrap_or_clone(classification), timer, status))
            }
            Lookup::Computed(classification, timer, status) => {
                Ok((Arc::unwrap_or_clone(classification), timer, status))
            }
            Lookup::Failed(error) => Err(error),
            Lookup::DeadlinePassed => Err(self.deadline_passed(&timer)),
        }
    }

    /// Classifies an image without the cache: admits it, preprocesses it and runs it in a batch.
    async fn run(
        &self,
        bytes: Bytes,
        options: &RequestOptions,
        timer: PhaseTimer,
    ) -> Result<(Classification, PhaseTimer), ClassifyError> {
        let admitted = self.admit(options)?;
        let preprocessed = self.preprocess(admitted, bytes, options, timer).await?;
        let Preprocessed { admitted, image, sample, mut timer } = preprocessed;
        let comparison = self.shadow.as_ref().and_then(|shadow| shadow.reserve(&sample));
        let output = self.infer_sample(admitted, sample, options, &mut timer).await?;
        let top_k = options.top_k.unwrap_or(usize::MAX);
        let classes: Vec<Class> = match output {
            Output::Logits(logits) => self.classes(&logits, top_k),
            // Another image of the batch may have requested more classes.
            Output::TopK(ranked) => ranked.into_iter().take(top_k).map(|ranked| self.class(ranked)).collect(),
        };
        if let (Some(comparison), Some(top), true) = (comparison, classes.first(), self.batcher.is_idle()) {
            comparison.start(top.class_id);
        }
        Ok((Classification { classes, image }, timer))
    }

    /// Returns how many classes the response to a request has that sets no number: of a multi-label model all above the
    /// threshold, since an image may have any number of them.
    pub fn default_top_k(&self) -> Option<usize> {
        match self.model.spec().task {
            Task::MultiLabel => None,
            Task::SingleLabel | Task::Embedding => Some(DEFAULT_TOP_K),
        }
    }

    fn default_threshold(&self) -> f32 {
        match self.model.spec().task {
            Task::MultiLabel => MULTI_LABEL_THRESHOLD,
            Task::SingleLabel | Task::Embedding => 0.0,
        }
    }

    /// Returns the `top_k` most probable classes of the logits, most probable first.
    pub fn classes(&self, logits: &[f32], top_k: usize) -> Vec<Class> {
        let ranked = match self.model.spec().task {
            Task::MultiLabel => sigmoid_top_k(logits, top_k),
            Task::SingleLabel | Task::Embedding => softmax_top_k(logits, top_k),
        };
        ranked.into_iter().map(|ranked| self.class(ranked)).collect()
    }

    fn class(&self, ranked: ScoredClass) -> Class {
        let ScoredClass { class_id, probability } = ranked;
        Class { label: self.model.label(class_id), class_id, probability }
    }

    pub(super) fn admit(&self, options: &RequestOptions) -> Result<Admitted, AdmitError> {
        self.batcher.admit(options)
    }

    /// Checks whether the queue has a place for an image that arrives now, and whether it is expected to meet its deadline. No
    /// place is taken, so the image may still be rejected later. Call it before the image is received, so that a request that
    /// would be rejected costs no upload. A rejected request is counted as [`Self::infer`] counts it.
    ///
    /// # Errors
    ///
    /// Returns the error of the admission.
    pub fn check_admission(&self, options: &RequestOptions) -> Result<(), ClassifyError> {
        let checked = self.batcher.check_admission(options).map_err(ClassifyError::from);
        if let Err(error) = &checked {
            self.statistics.begin(1).finish(Err(error));
        }
        checked
    }

    /// Does the same as [`Self::check_admission`] before [`Self::classify`]. If the response may be cached, nothing is rejected,
    /// because a cached response needs no place in the queue.
    ///
    /// # Errors
    ///
    /// Returns the error of the admission.
    pub fn check_classification(&self, options: &RequestOptions) -> Result<(), ClassifyError> {
        if self.cache.is_some() && !options.bypass_cache {
            return Ok(());
        }
        self.check_admission(options).inspect_err(|_| {
            if self.cache.is_some() {
                self.batcher.metrics().cache_lookup(CacheOutcome::Bypassed);
            }
        })
    }

    /// Decodes and resizes an image. Returns an error if its deadline passes before it is decoded.
    pub(super) async fn preprocess(
        &self,
        admitted: Admitted,
        bytes: Bytes,
        options: &RequestOptions,
        timer: PhaseTimer,
    ) -> Result<Preprocessed, ClassifyError> {
        let preprocessed = self.preprocessor.run(admitted, bytes, timer, options.deadline).await?;
        preprocessed.ok_or_else(|| self.deadline_passed(&timer))
    }

    /// Runs one sample in a batch.
    pub(super) async fn infer_sample(
        &self,
        admitted: Admitted,
        sample: Sample,
        options: &RequestOptions,
        timer: &mut PhaseTimer,
    ) -> Result<Output, ClassifyError> {
        // The way back from the decode thread counts as waiting.
        timer.end(Phase::Queue);
        let result = self.batcher.submit(admitted, sample, options).await?;
        timer.add(Phase::Queue, result.queue);
        timer.add(Phase::BatchWait, result.batch_wait);
        timer.add(Phase::Device, result.inference);
        tracing::debug!(batch_size = result.batch_size, "image classified");
        Ok(result.output)
    }

    /// Ends the last phase, and records all phases in metrics and traces.
    pub(super) fn finish(&self, timer: PhaseTimer) -> PhaseTimings {
        let (started, timings) = (timer.started(), timer.finish());
        self.batcher.metrics().phases(&timings);
        traces::record_phases(started, &timings);
        timings
    }

    /// Returns the error of an image whose deadline passed before it was submitted.
    fn deadline_passed(&self, timer: &PhaseTimer) -> ClassifyError {
        let (queued, retry_after) = (timer.started().elapsed(), self.batcher.retry_after());
        BatchError::DeadlinePassed { queued, retry_after }.into()
    }

    /// Returns what the response cache did for an image whose classification failed. Returns nothing without a cache.
    pub fn cache_status_of_failure(&self, options: &RequestOptions) -> Option<CacheStatus> {
        let outcome = if options.bypass_cache { CacheOutcome::Bypassed } else { CacheOutcome::Miss };
        self.cache.as_ref().map(|_| outcome.into())
    }
}
