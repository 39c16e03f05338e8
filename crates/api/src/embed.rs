//! Operations that return the embedding of an image.

use std::sync::{Arc, Weak};

use poem_openapi::param::{Header, Query};
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi, Tags};

use super::State;
use super::auth::{Authenticated, PredictScope};
use super::error::{ApiError, ErrorCode};
use super::openapi_errors::{EmbedErrors, OperationError};
use super::predict::{ImageBody, ModelRef, TimingsBody};
use super::upload::{RawImage, SingleImageForm};
use kiln_classifier::{Classifier, EncodedImage, RequestOptions};
use kiln_inference::model::Task;

/// `POST /embed` and `POST /embed/raw`.
pub(super) struct Embed(pub(super) State);

#[derive(Tags)]
enum Tag {
    /// Compute embeddings of images.
    Embed,
}

type EmbedResult = Result<Json<EmbeddingBody>, OperationError<EmbedErrors>>;

#[allow(clippy::too_many_arguments, reason = "each is a parameter in the OpenAPI document")]
#[OpenApi(tag = "Tag::Embed")]
impl Embed {
    /// Compute the embedding of one image in a form
    ///
    /// `curl -H "X-API-Key: $KEY" -F file=@cat.jpg http://localhost:8080/embed`
    #[oai(path = "/embed", method = "post", operation_id = "embed")]
    async fn embed(
        &self,
        caller: Authenticated<PredictScope>,
        /// Whether the embedding is divided by its length (L2).
        #[oai(default = "default_normalize")]
        normalize: Query<bool>,
        /// Model name; the server's default model if absent.
        model: Query<Option<String>>,
        /// Model version, `stable` or `canary`; chosen by the server if absent.
        version: Query<Option<String>>,
        /// Request timeout in milliseconds; at most the server's own, which also applies if the header is absent.
        #[oai(name = "X-Request-Timeout-Ms", validator(minimum(value = "1"), maximum(value = "9007199254740991")))]
        timeout_ms: Header<Option<u64>>,
        form: SingleImageForm,
    ) -> EmbedResult {
        let selection = (model.as_deref(), version.as_deref());
        let earlier = self.check(&caller, selection, timeout_ms.0)?;
        let image = form.read().await?;
        let classifier = self.0.registry.resolve_again(&earlier, selection.0, selection.1)?;
        run(&caller, &classifier, image, self.options(&caller, timeout_ms.0), normalize.0).await
    }

    /// Compute the embedding of one image sent as the whole body
    ///
    /// `curl -H "X-API-Key: $KEY" --data-binary @cat.jpg http://localhost:8080/embed/raw`
    #[oai(path = "/embed/raw", method = "post", operation_id = "embed_raw")]
    async fn embed_raw(
        &self,
        caller: Authenticated<PredictScope>,
        /// Whether the embedding is divided by its length (L2).
        #[oai(default = "default_normalize")]
        normalize: Query<bool>,
        /// Model name; the server's default model if absent.
        model: Query<Option<String>>,
        /// Model version, `stable` or `canary`; chosen by the server if absent.
        version: Query<Option<String>>,
        /// Request timeout in milliseconds; at most the server's own, which also applies if the header is absent.
        #[oai(name = "X-Request-Timeout-Ms", validator(minimum(value = "1"), maximum(value = "9007199254740991")))]
        timeout_ms: Header<Option<u64>>,
        body: RawImage,
    ) -> EmbedResult {
        let selection = (model.as_deref(), version.as_deref());
        let earlier = self.check(&caller, selection, timeout_ms.0)?;
        let image = body.read().await?;
        let classifier = self.0.registry.resolve_again(&earlier, selection.0, selection.1)?;
        run(&caller, &classifier, image, self.options(&caller, timeout_ms.0), normalize.0).await
    }
}

impl Embed {
    /// Checks what the head of a request suffices for, before its body is read.
    fn check(
        &self,
        caller: &Authenticated<PredictScope>,
        (model, version): (Option<&str>, Option<&str>),
        timeout_ms: Option<u64>,
    ) -> Result<Weak<Classifier>, ApiError> {
        let classifier = self.0.registry.resolve(model, version)?;
        let model = classifier.model();
        if model.spec().task != Task::Embedding {
            let message = format!("the model '{}' returns classes, not embeddings", model.name());
            return Err(ApiError::new(ErrorCode::ModelClassifies, message));
        }
        classifier.check_admission(&self.options(caller, timeout_ms))?;
        Ok(Arc::downgrade(&classifier))
    }

    fn options(&self, caller: &Authenticated<PredictScope>, timeout_ms: Option<u64>) -> RequestOptions {
        caller.options(None, self.0.config.timeout(timeout_ms), None)
    }
}

async fn run(
    caller: &Authenticated<PredictScope>,
    classifier: &Classifier,
    image: EncodedImage,
    options: RequestOptions,
    normalize: bool,
) -> EmbedResult {
    let mut embedding = classifier.embed(image, options).await?;
    caller.report_timings(embedding.timings);
    if normalize {
        embedding.normalise();
    }
    Ok(Json(EmbeddingBody {
        model: ModelRef::from(classifier.model()),
        dimensions: embedding.values.len() as u32,
        embedding: embedding.values.into_vec(),
        image: ImageBody::from(embedding.image),
        timings_ms: TimingsBody::from(embedding.timings),
    }))
}

fn default_normalize() -> bool {
    true
}

/// The embedding of an image.
#[derive(Debug, Object)]
struct EmbeddingBody {
    /// The model that computed the embedding.
    model: ModelRef,
    /// The values.
    embedding: Vec<f32>,
    /// Number of values.
    dimensions: u32,
    /// Properties of the image.
    image: ImageBody,
    /// Durations of the phases in milliseconds.
    timings_ms: TimingsBody,
}
