//! The inference operations: parse the request, score its rows, encode the response. Parsing and encoding may take milliseconds,
//! so they run on blocking threads.

use std::sync::Arc;

use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Path};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::Tag;
use super::payload::{InferBody, InferResponse, ReceivedBody};
use crate::auth::{Authenticated, PredictScope};
use crate::body_limit::BodyLimit;
use crate::error::{ApiError, ErrorCode};
use crate::openapi_errors::{InferErrors, OperationError};
use crate::selection::Selection;
use crate::{Config, State};
use kiln_classifier::{Class, Classifier, Priority, Row, Scores, slowest};
use kiln_inference::model::Task;
use kiln_oip::{
    InferRequest, NonFiniteOutput, RequestedOutput, Tensor, TensorData, classification_element, encode_response,
    parse_request,
};

/// `POST /v2/models/{name}/infer` and `POST /v2/models/{name}/versions/{version}/infer`.
pub(crate) struct Inference {
    state: State,
    /// Bounds the blocking work to one task per core, and with it the memory of tensors that are being parsed or encoded.
    blocking_slots: Arc<Semaphore>,
}

#[OpenApi(tag = "Tag::Protocol", prefix_path = "/v2/models")]
impl Inference {
    /// Score images or tensors
    ///
    /// Each element of a `BYTES` input is an encoded image; the server preprocesses it as `/predict` does. An `FP32` or `FP16` input
    /// is already preprocessed by the client: `[N, 3, height, width]`, normalised. `BYTES` and `FP16` tensors cannot be sent as JSON;
    /// send them as binary tensors.
    ///
    /// `curl -H "X-API-Key: $KEY" -H "Inference-Header-Content-Length: 0" --data-binary @cat.jpg http://localhost:8080/v2/models/NAME/infer`
    #[oai(path = "/:name/infer", method = "post", operation_id = "oip_infer")]
    async fn infer(
        &self,
        caller: Authenticated<PredictScope>,
        name: Path<String>,
        /// Length of the JSON, if binary tensors follow it in the body; 0 if the body is one image.
        #[oai(name = "Inference-Header-Content-Length")]
        header_length: Header<Option<u64>>,
        body: InferBody,
    ) -> Result<InferResponse, OperationError<InferErrors>> {
        Ok(self.run(&caller, &name, None, header_length.0, body).await?)
    }

    /// Score images or tensors with a version of a model
    #[oai(path = "/:name/versions/:version/infer", method = "post", operation_id = "oip_infer_version")]
    async fn infer_version(
        &self,
        caller: Authenticated<PredictScope>,
        name: Path<String>,
        version: Path<String>,
        /// Length of the JSON, if binary tensors follow it in the body; 0 if the body is one image.
        #[oai(name = "Inference-Header-Content-Length")]
        header_length: Header<Option<u64>>,
        body: InferBody,
    ) -> Result<InferResponse, OperationError<InferErrors>> {
        Ok(self.run(&caller, &name, Some(&version), header_length.0, body).await?)
    }
}

impl Inference {
    pub(crate) fn new(state: State) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { state, blocking_slots: Arc::new(Semaphore::new(cores)) }
    }

    async fn run(
        &self,
        caller: &Authenticated<PredictScope>,
        name: &str,
        version: Option<&str>,
        header_length: Option<u64>,
        body: InferBody,
    ) -> Result<InferResponse, ApiError> {
        let config = &self.state.config;
        let selection = Selection { registry: &self.state.registry, model: Some(name), version };
        // The body may ask for a shorter timeout and a lower priority, but not for better ones.
        let best = caller.options(None, config.request_timeout, None);
        let accepted = body.accepted;
        let (classifier, body) =
            selection.receive(|classifier| Ok(classifier.check_admission(&best)?), body.read()).await?;
        let (model, max_rows) = (Arc::clone(&classifier), max_rows(config, &classifier));
        let limit = caller.body_limit().clone();
        let (rows, id, output, priority, timeout) = self
            .run_blocking(move || {
                let InferRequest { id, input, output, priority, timeout } = parse(body, header_length, &limit)?;
                let rows = into_rows(input, &model, max_rows)?;
                Ok::<_, ApiError>((rows, id, output, priority, timeout))
            })
            .await??;
        if output.classes.is_some() && classifier.model().spec().task == Task::Embedding {
            let message = format!("the model '{name}' returns embeddings, so 'classification' has no meaning");
            return Err(ApiError::new(ErrorCode::ModelEmbeds, message));
        }
        let timeout = timeout.unwrap_or(config.request_timeout).min(config.request_timeout);
        let priority = priority.map(|priority| match priority {
            1 => Priority::High,
            2 => Priority::Normal,
            _ => Priority::Low,
        });
        let scores = classifier.infer(rows, caller.options(None, timeout, priority)).await?;
        caller.report_timings(slowest(&scores));
        self.run_blocking(move || {
            let model = classifier.model();
            let encoded = to_output(&classifier, &scores, output)
                .and_then(|tensor| {
                    encode_response((model.name(), model.version()), id.as_deref(), &tensor, output.binary)
                })
                .map_err(|error| ApiError::new(ErrorCode::NonFiniteOutput, error.to_string()))?;
            Ok(InferResponse::new(encoded, accepted))
        })
        .await?
    }

    /// Runs `work` on a blocking thread, as soon as a slot is free.
    async fn run_blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
        // The semaphore is never closed. The work holds the slot, because it continues if the client disconnects.
        let slot = Arc::clone(&self.blocking_slots).acquire_owned().await;
        let work_with_slot = move || (work(), drop(slot)).0;
        spawn_blocking(work_with_slot).await.map_err(|cause| {
            tracing::error!(%cause, "failed to parse or encode a tensor");
            ApiError::internal()
        })
    }
}

/// Inflates and parses a request.
fn parse(body: ReceivedBody, header_length: Option<u64>, limit: &BodyLimit) -> Result<InferRequest, ApiError> {
    let bytes = body.inflate(limit)?;
    let header_length = header_length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    parse_request(bytes, header_length).map_err(|error| ApiError::malformed(error.to_string()))
}

/// Returns the maximum number of rows in one request. More rows than the queue has places could never be served.
pub(super) fn max_rows(config: &Config, classifier: &Classifier) -> usize {
    config.max_batch_files.min(classifier.capacity())
}

/// Splits a request's tensor into rows for the classifier.
fn into_rows(input: Tensor, classifier: &Classifier, max_rows: usize) -> Result<Vec<Row>, ApiError> {
    let spec = classifier.model().spec();
    let (height, width) = (spec.height as usize, spec.width as usize);
    let count = input.shape.first().copied().unwrap_or_default();
    if count > max_rows {
        return Err(ApiError::too_many("rows", count, max_rows));
    }
    match input.data {
        TensorData::Floats(numbers) => {
            if count == 0 || input.shape[1..] != [3, height, width] {
                let shape = input.shape;
                return Err(ApiError::malformed(format!(
                    "the tensor has the shape {shape:?}; the model requires [N, 3, {height}, {width}] with N >= 1"
                )));
            }
            Ok(numbers.chunks_exact(3 * height * width).map(|row| Row::Tensor(row.into())).collect())
        }
        TensorData::Bytes(elements) => {
            // Some clients add an axis of length one to each row.
            if count == 0 || !matches!(input.shape[1..], [] | [1]) {
                let shape = input.shape;
                return Err(ApiError::malformed(format!(
                    "the images have the shape {shape:?}; it must be [N] with N >= 1"
                )));
            }
            Ok(elements.into_iter().map(Row::Image).collect())
        }
    }
}

/// Returns the tensor of the scores, or of the top classes if the client requested classes.
///
/// Non-finite scores have no order, so classes of such scores are an error.
fn to_output(
    classifier: &Classifier,
    scores: &[Scores],
    requested: RequestedOutput,
) -> Result<Tensor, NonFiniteOutput> {
    let spec = classifier.model().spec();
    let Some(top_k) = requested.classes else {
        let values = scores.iter().flat_map(|scores| scores.logits.iter().copied()).collect();
        return Ok(Tensor { shape: vec![scores.len(), spec.outputs], data: TensorData::Floats(values) });
    };
    if let Some(index) = scores.iter().flat_map(|scores| &scores.logits).position(|score| !score.is_finite()) {
        return Err(NonFiniteOutput(index));
    }
    let top_k = top_k.min(spec.labels.len());
    let row = |scores: &Scores| {
        let element =
            |class: Class| classification_element(scores.logits[class.class_id], class.class_id, &class.label);
        classifier.classes(&scores.logits, top_k).into_iter().map(element).collect::<Vec<_>>()
    };
    let elements = scores.iter().flat_map(row).collect();
    Ok(Tensor { shape: vec![scores.len(), top_k], data: TensorData::Bytes(elements) })
}
