//! Operations that classify images, and the JSON of their responses.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use poem_openapi::param::{Header, Query};
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi, Tags};

use super::State;
use super::auth::{Authenticated, PredictScope};
use super::error::{ApiError, ErrorBody, ErrorCode};
use super::openapi_errors::{OperationError, PredictErrors};
use super::selection::Selection;
use super::upload::{MultiImageForm, RawImage, SingleImageForm};
use kiln_classifier::{Classifier, ClassifyError, EncodedImage, ImageError, ImageInfo, Prediction, RequestOptions};
use kiln_inference::model::{Model, Task};
use kiln_runtime::telemetry::{Phase, PhaseTimings};

/// `POST /predict`, `POST /predict/raw` and `POST /predict/batch`.
pub(super) struct Predict(pub(super) State);

#[derive(Tags)]
enum Tag {
    /// Classify images.
    Predict,
}

type PredictResult<T> = Result<Json<T>, OperationError<PredictErrors>>;

// The maximum timeout is the largest integer that every JSON reader represents exactly (2^53 - 1).
#[allow(clippy::too_many_arguments, reason = "each is a parameter in the OpenAPI document")]
#[OpenApi(tag = "Tag::Predict")]
impl Predict {
    /// Classify one image in a form
    ///
    /// `curl -H "X-API-Key: $KEY" -F file=@cat.jpg http://localhost:8080/predict`
    ///
    /// If the response cache is enabled, `Cache-Status` reports whether the response came from it, and the request header
    /// `Cache-Control: no-store` bypasses it.
    #[oai(path = "/predict", method = "post", operation_id = "predict")]
    async fn predict(
        &self,
        caller: Authenticated<PredictScope>,
        /// Number of classes to return, most probable first. By default 5; of a multi-label model, all classes above the threshold.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        top_k: Query<Option<u32>>,
        /// Minimum probability of the returned classes, from 0 to 1. By default 0.5 for a multi-label model, and 0 for others.
        #[oai(validator(minimum(value = "0"), maximum(value = "1")))]
        threshold: Query<Option<f32>>,
        /// Model name; the server's default model if absent.
        model: Query<Option<String>>,
        /// Model version, `stable` or `canary`; chosen by the server if absent.
        version: Query<Option<String>>,
        /// Request timeout in milliseconds; at most the server's own, which also applies if the header is absent.
        #[oai(name = "X-Request-Timeout-Ms", validator(minimum(value = "1"), maximum(value = "9007199254740991")))]
        timeout_ms: Header<Option<u64>>,
        form: SingleImageForm,
    ) -> PredictResult<PredictionBody> {
        let selection = (model.as_deref(), version.as_deref());
        let options = self.options(&caller, top_k.0, threshold.0, timeout_ms.0);
        let (classifier, options, image) = self.receive(selection, options, form.read()).await?;
        classify(&caller, &classifier, image, options).await
    }

    /// Classify one image sent as the whole body
    ///
    /// This is the fastest way. `curl -H "X-API-Key: $KEY" --data-binary @cat.jpg http://localhost:8080/predict/raw`
    #[oai(path = "/predict/raw", method = "post", operation_id = "predict_raw")]
    async fn predict_raw(
        &self,
        caller: Authenticated<PredictScope>,
        /// Number of classes to return, most probable first. By default 5; of a multi-label model, all classes above the threshold.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        top_k: Query<Option<u32>>,
        /// Minimum probability of the returned classes, from 0 to 1. By default 0.5 for a multi-label model, and 0 for others.
        #[oai(validator(minimum(value = "0"), maximum(value = "1")))]
        threshold: Query<Option<f32>>,
        /// Model name; the server's default model if absent.
        model: Query<Option<String>>,
        /// Model version, `stable` or `canary`; chosen by the server if absent.
        version: Query<Option<String>>,
        /// Request timeout in milliseconds; at most the server's own, which also applies if the header is absent.
        #[oai(name = "X-Request-Timeout-Ms", validator(minimum(value = "1"), maximum(value = "9007199254740991")))]
        timeout_ms: Header<Option<u64>>,
        body: RawImage,
    ) -> PredictResult<PredictionBody> {
        let selection = (model.as_deref(), version.as_deref());
        let options = self.options(&caller, top_k.0, threshold.0, timeout_ms.0);
        let (classifier, options, image) = self.receive(selection, options, body.read()).await?;
        classify(&caller, &classifier, image, options).await
    }

    /// Classify several images in a form
    ///
    /// Returns one result or one error per image, in order. An image with an error does not affect the others.
    #[oai(path = "/predict/batch", method = "post", operation_id = "predict_batch")]
    async fn predict_batch(
        &self,
        caller: Authenticated<PredictScope>,
        /// Number of classes to return, most probable first. By default 5; of a multi-label model, all classes above the threshold.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        top_k: Query<Option<u32>>,
        /// Minimum probability of the returned classes, from 0 to 1. By default 0.5 for a multi-label model, and 0 for others.
        #[oai(validator(minimum(value = "0"), maximum(value = "1")))]
        threshold: Query<Option<f32>>,
        /// Model name; the server's default model if absent.
        model: Query<Option<String>>,
        /// Model version, `stable` or `canary`; chosen by the server if absent.
        version: Query<Option<String>>,
        /// Request timeout in milliseconds; at most the server's own, which also applies if the header is absent.
        #[oai(name = "X-Request-Timeout-Ms", validator(minimum(value = "1"), maximum(value = "9007199254740991")))]
        timeout_ms: Header<Option<u64>>,
        form: MultiImageForm,
    ) -> PredictResult<BatchBody> {
        let selection = (model.as_deref(), version.as_deref());
        let options = self.options(&caller, top_k.0, threshold.0, timeout_ms.0);
        let images = form.read(self.0.config.max_batch_files);
        let (classifier, options, images) = self.receive(selection, options, images).await?;
        let outcomes = join_all(images.into_iter().map(|image| classifier.classify(image, options.clone()))).await;
        let timings = outcomes.iter().flatten().map(|prediction| prediction.timings);
        if let Some(slowest) = timings.max_by_key(PhaseTimings::total) {
            caller.report_timings(slowest);
        }
        let lookup = |outcome: &Result<Prediction, ClassifyError>| match outcome {
            Ok(prediction) => prediction.cache,
            // The file name was refused before the cache lookup.
            Err(ClassifyError::Image(ImageError::ExtensionNotAccepted { .. })) => None,
            Err(_) => classifier.cache_status_of_failure(&options),
        };
        caller.report_cache_lookups(outcomes.iter().filter_map(lookup));
        let item = |(index, outcome)| BatchItem::new(index, &classifier, outcome, caller.request_id());
        Ok(Json(BatchBody { results: outcomes.into_iter().enumerate().map(item).collect() }))
    }
}

impl Predict {
    /// Checks what the head of a request suffices for, and reads the body. Returns the classifier and the options with its default
    /// number of classes. A model that returns embeddings has no classes.
    async fn receive<T>(
        &self,
        (model, version): (Option<&str>, Option<&str>),
        mut options: RequestOptions,
        body: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<(Arc<Classifier>, RequestOptions, T), ApiError> {
        let selection = Selection { registry: &self.0.registry, model, version };
        let check = |classifier: &Classifier| {
            if classifier.model().spec().task == Task::Embedding {
                let message = format!("the model '{}' returns embeddings, not classes", classifier.model().name());
                return Err(ApiError::new(ErrorCode::ModelEmbeds, message));
            }
            Ok(classifier.check_classification(&options)?)
        };
        let (classifier, body) = selection.receive(check, body).await?;
        options.top_k = options.top_k.or_else(|| classifier.default_top_k());
        Ok((classifier, options, body))
    }

    fn options(
        &self,
        caller: &Authenticated<PredictScope>,
        top_k: Option<u32>,
        threshold: Option<f32>,
        timeout_ms: Option<u64>,
    ) -> RequestOptions {
        let timeout = self.0.config.timeout(timeout_ms);
        RequestOptions { threshold, ..caller.options(top_k.map(|top_k| top_k as usize), timeout, None) }
    }
}

async fn classify(
    caller: &Authenticated<PredictScope>,
    classifier: &Classifier,
    image: EncodedImage,
    options: RequestOptions,
) -> PredictResult<PredictionBody> {
    let prediction = classifier.classify(image, options).await?;
    caller.report_timings(prediction.timings);
    caller.report_cache_lookups(prediction.cache);
    Ok(Json(PredictionBody::new(classifier.model(), prediction)))
}

/// The prediction for an image.
#[derive(Debug, Object)]
struct PredictionBody {
    /// Prediction id, for feedback and for the log. Ids are ordered by time.
    prediction_id: String,
    /// The model that made the prediction.
    model: ModelRef,
    /// The most probable classes, most probable first. Empty if no class reaches the threshold.
    predictions: Vec<ClassBody>,
    /// Properties of the image.
    image: ImageBody,
    /// Durations of the phases in milliseconds.
    timings_ms: TimingsBody,
}

/// A model and its version.
#[derive(Debug, Object)]
pub(super) struct ModelRef {
    /// Name, as in the `model` parameter.
    name: String,
    /// Version, as in the `version` parameter.
    version: String,
    /// `sha256:` and the digest of the model file, or of the model file and replaced weights.
    digest: String,
}

/// A class and its probability.
#[derive(Debug, Object)]
struct ClassBody {
    /// Class name.
    label: String,
    /// Class index.
    class_id: u32,
    /// Softmax probability, from 0 to 1. Of a multi-label model it is the sigmoid probability, independent of other classes.
    probability: f32,
}

/// Properties of an image.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct ImageBody {
    /// The format, detected from the magic bytes and not from the file name.
    format: String,
    /// Width in pixels, as displayed.
    width: u32,
    /// Height in pixels, as displayed.
    height: u32,
    /// `true` if the file is truncated or damaged: the missing pixels are black or grey, in some TIFF and BMP files another colour. Absent otherwise. Without `--truncated
    /// accept`, such a file gets 422.
    truncated: Option<bool>,
}

/// Durations of the phases in milliseconds. The phases have no gaps. A phase that did not happen is 0.
#[derive(Debug, Object)]
pub(super) struct TimingsBody {
    /// From the request's head to the complete upload.
    receive: f64,
    /// Waiting for a decode thread.
    decode_wait: f64,
    /// Decoding to pixels.
    decode: f64,
    /// Cropping, resizing and orienting, unless the device does it.
    preprocess: f64,
    /// Waiting while every engine is busy.
    queue: f64,
    /// Waiting for other images of the batch and for the engine's thread.
    batch_wait: f64,
    /// Running the whole batch on the device.
    device: f64,
    /// From scores to classes.
    postprocess: f64,
    /// Sum of all phases.
    total: f64,
}

/// The outcome for one of several images: either `result` or `error`.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct BatchItem {
    /// Index of the file in the form, from 0.
    index: u32,
    /// The prediction.
    result: Option<PredictionBody>,
    /// The error, if there is no prediction.
    error: Option<ErrorBody>,
}

/// The outcomes for several images, in the order of the form.
#[derive(Debug, Object)]
struct BatchBody {
    /// One entry per image.
    results: Vec<BatchItem>,
}

impl BatchItem {
    fn new(
        index: usize,
        classifier: &Classifier,
        outcome: Result<Prediction, ClassifyError>,
        request_id: &str,
    ) -> Self {
        let (result, error) = match outcome {
            Ok(prediction) => (Some(PredictionBody::new(classifier.model(), prediction)), None),
            Err(error) => (None, Some(ApiError::from(error).body(request_id))),
        };
        Self { index: index as u32, result, error }
    }
}

impl PredictionBody {
    fn new(model: &Model, prediction: Prediction) -> Self {
        let classes = prediction.classes.into_iter().map(|class| ClassBody {
            label: class.label.to_string(),
            class_id: class.class_id as u32,
            probability: class.probability,
        });
        Self {
            prediction_id: prediction.id.to_string(),
            model: ModelRef::from(model),
            predictions: classes.collect(),
            image: ImageBody::from(prediction.image),
            timings_ms: TimingsBody::from(prediction.timings),
        }
    }
}

impl From<&Model> for ModelRef {
    fn from(model: &Model) -> Self {
        Self { name: model.name().to_string(), version: model.version().to_string(), digest: model.digest() }
    }
}

impl From<ImageInfo> for ImageBody {
    fn from(image: ImageInfo) -> Self {
        let truncated = image.is_truncated.then_some(true);
        Self { format: image.format.to_string(), width: image.width, height: image.height, truncated }
    }
}

impl From<PhaseTimings> for TimingsBody {
    fn from(timings: PhaseTimings) -> Self {
        // Rounded to microseconds.
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
