//! Inference: read, score, write. What costs more than a moment runs beside the async threads.

use std::sync::Arc;

use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Path};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::Tag;
use super::answer::Answer;
use super::body::InferBody;
use super::rows;
use crate::State;
use crate::body_limit::BodyLimit;
use crate::caller::{Caller, ToPredict};
use crate::error::Code;
use crate::failure::Failure;
use crate::refused::{OfTensors, Refused};
use kiln_classifier::{Priority, slowest};
use kiln_oip::{self as oip, Infer};

/// `POST /v2/models/{name}/infer`.
pub(in crate) struct Inference {
    state: State,
    /// One for each core: what tensors are read from and written to is held no more often at once.
    turns: Arc<Semaphore>,
}

#[OpenApi(tag = "Tag::Protocol", prefix_path = "/v2/models")]
impl Inference {
    /// Score pictures or tensors
    ///
    /// With an input of `BYTES` each element is an encoded picture, prepared as `/predict` does. An input of `FP32` or
    /// `FP16` is taken as prepared by the client: `[N, 3, height, width]`, normalised. `BYTES` and `FP16` have no form in JSON;
    /// they go as binary tensors.
    ///
    /// `curl -H "X-API-Key: $KEY" -H "Inference-Header-Content-Length: 0" --data-binary @cat.jpg http://localhost:8080/v2/models/NAME/infer`
    #[oai(path = "/:name/infer", method = "post", operation_id = "oip_infer")]
    async fn infer(
        &self,
        caller: Caller<ToPredict>,
        name: Path<String>,
        /// Where the JSON ends in the body, if binary tensors are behind it; 0 if the body is one picture.
        #[oai(name = "Inference-Header-Content-Length")]
        header_length: Header<Option<u64>>,
        body: InferBody,
    ) -> Result<Answer, Refused<OfTensors>> {
        Ok(self.run(&caller, &name, None, header_length.0, body).await?)
    }

    /// Score pictures or tensors with a version of a model
    #[oai(path = "/:name/versions/:version/infer", method = "post", operation_id = "oip_infer_version")]
    async fn infer_version(
        &self,
        caller: Caller<ToPredict>,
        name: Path<String>,
        version: Path<String>,
        /// Where the JSON ends in the body, if binary tensors are behind it; 0 if the body is one picture.
        #[oai(name = "Inference-Header-Content-Length")]
        header_length: Header<Option<u64>>,
        body: InferBody,
    ) -> Result<Answer, Refused<OfTensors>> {
        Ok(self.run(&caller, &name, Some(&version), header_length.0, body).await?)
    }
}

impl Inference {
    pub(in crate) fn new(state: State) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { state, turns: Arc::new(Semaphore::new(cores)) }
    }

    /// Megabytes of JSON take milliseconds, in which other requests would wait.
    async fn beside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
        // It is never closed. The turn goes with the work, which goes on if the client leaves.
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let in_turn = move || (work(), drop(turn)).0;
        spawn_blocking(in_turn).await.map_err(|cause| {
            tracing::error!(%cause, "a tensor could not be read or written");
            Failure::fault()
        })
    }

    async fn run(
        &self,
        caller: &Caller<ToPredict>,
        name: &str,
        version: Option<&str>,
        header_length: Option<u64>,
        body: InferBody,
    ) -> Result<Answer, Failure> {
        let classifier = self.state.registry.resolve(Some(name), version)?;
        let config = &self.state.config;
        let accepted = body.accepted;
        let (for_whom, most_rows) = (Arc::clone(&classifier), rows::most_rows(config, &classifier));
        let limit = caller.body().clone();
        let (rows, id, output, priority, timeout) = self
            .beside(move || {
                let Infer { id, input, output, priority, timeout } = read(body, header_length, &limit)?;
                let rows = rows::rows(input, &for_whom, most_rows)?;
                Ok::<_, Failure>((rows, id, output, priority, timeout))
            })
            .await??;
        let patience = timeout.unwrap_or(config.request_timeout).min(config.request_timeout);
        let asked = priority.map(|priority| match priority {
            1 => Priority::High,
            2 => Priority::Normal,
            _ => Priority::Low,
        });
        let scores = classifier.infer(rows, caller.options(0, patience, asked)).await?;
        caller.answered(slowest(&scores));
        self.beside(move || {
            let model = classifier.model();
            let rendered = rows::output(&classifier, &scores, output)
                .and_then(|tensor| {
                    oip::render((model.spec().name, model.version()), id.as_deref(), &tensor, output.binary)
                })
                .map_err(|error| Failure::new(Code::NotFinite, error.to_string()))?;
            Ok(Answer::new(rendered, accepted))
        })
        .await?
    }
}

/// What a body asks for.
fn read(body: InferBody, header_length: Option<u64>, limit: &BodyLimit) -> Result<Infer, Failure> {
    let InferBody { bytes: came, encoding, .. } = body;
    let bytes = match encoding {
        Some(encoding) => {
            let inflated = encoding.inflate(&came, limit.max_bytes())?;
            // What came is counted already, and let go of in here.
            limit.grow(inflated.len().saturating_sub(came.len()))?;
            inflated
        }
        None => came,
    };
    let header_length = header_length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    oip::parse(bytes, header_length).map_err(|error| Failure::new(Code::Malformed, error.to_string()))
}
