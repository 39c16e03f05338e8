//! Operations that return the embedding of an image.

use poem_openapi::param::{Header, Query};
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi, Tags};

use super::State;
use super::auth::{Authenticated, PredictScope};
use super::error::{ApiError, ErrorCode};
use super::openapi_errors::{EmbedErrors, OperationError};
use super::predict::{ImageBody, ModelRef, TimingsBody};
use super::selection::Selection;
use super::upload::{RawImage, SingleImageForm};
use kiln_classifier::{Classifier, EncodedImage};
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
        self.run(&caller, selection, form.read(), normalize.0, timeout_ms.0).await
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
        self.run(&caller, selection, body.read(), normalize.0, timeout_ms.0).await
    }
}

impl Embed {
    async fn run(
        &self,
        caller: &Authenticated<PredictScope>,
        (model, version): (Option<&str>, Option<&str>),
        image: impl Future<Output = Result<EncodedImage, ApiError>>,
        normalize: bool,
        timeout_ms: Option<u64>,
    ) -> EmbedResult {
        let options = caller.options(None, self.0.config.timeout(timeout_ms), None);
        let check = |classifier: &Classifier| {
            let model = classifier.model();
            if model.spec().task != Task::Embedding {
                let message = format!("the model '{}' returns classes, not embeddings", model.name());
                return Err(ApiError::new(ErrorCode::ModelClassifies, message));
            }
            Ok(classifier.check_admission(&options)?)
        };
        let selection = Selection { registry: &self.0.registry, model, version };
        let (classifier, image) = selection.receive(check, image).await?;
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
