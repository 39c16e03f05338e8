//! Operations to give feedback on predictions and to read their accuracy. They exist only if predictions are recorded
//! (`--data-dir`).

mod request;
mod schema;

use std::time::Duration;

use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{OpenApi, Tags};

use super::auth::{Authenticated, FeedbackScope};
use super::error::{ApiError, ErrorCode};
use super::openapi_errors::{FeedbackErrors, OperationError, SummaryErrors};
use kiln_classifier::registry::{LookupError, Registry};
use kiln_feedback::FeedbackStore;
use request::FeedbackRequest;
use schema::{ReceiptBody, SummaryBody};

/// `POST /feedback` and `GET /feedback/summary`.
pub(super) struct FeedbackOperations {
    pub(super) store: FeedbackStore,
    pub(super) registry: Registry,
    /// How long storing or reading may take, including the requests before it.
    pub(super) timeout: Duration,
}

#[derive(Tags)]
enum Tag {
    /// Feedback on predictions, and their accuracy; requires the scope `feedback`.
    Feedback,
}

#[OpenApi(tag = "Tag::Feedback")]
impl FeedbackOperations {
    /// Give feedback on a prediction
    ///
    /// The body has the prediction id and one of `class_id` or `label` (the true class) or `verdict`. When the response is 200, the
    /// feedback is stored durably and survives a crash. Feedback on the same prediction replaces earlier feedback, so it is safe to
    /// send it again.
    ///
    /// `curl -H "X-API-Key: $KEY" -d '{"prediction_id": "...", "class_id": 285}' http://localhost:8080/feedback`
    #[oai(path = "/feedback", method = "post", operation_id = "give_feedback")]
    async fn give(
        &self,
        caller: Authenticated<FeedbackScope>,
        body: FeedbackRequest,
    ) -> Result<Json<ReceiptBody>, OperationError<FeedbackErrors>> {
        let feedback = body.into_feedback(caller.id())?;
        let id = feedback.prediction;
        let receipt = within_timeout(self.timeout, "stored", self.store.add_feedback(feedback)).await??;
        Ok(Json(ReceiptBody::new(id, receipt)))
    }

    /// Summarize the feedback on a model
    ///
    /// From the last predictions with feedback: accuracy, classes, confusions and calibration.
    #[oai(path = "/feedback/summary", method = "get", operation_id = "feedback_summary")]
    async fn summary(
        &self,
        _caller: Authenticated<FeedbackScope>,
        /// Model name; the server's default model if absent.
        model: Query<Option<String>>,
        /// Model version, loaded or not, or its label; the stable version if absent.
        version: Query<Option<String>>,
        /// Number of predictions with feedback to evaluate, the latest ones.
        #[oai(default = "default_window", validator(minimum(value = "1"), maximum(value = "100000")))]
        window: Query<u32>,
    ) -> Result<Json<SummaryBody>, OperationError<SummaryErrors>> {
        let found = self.registry.find(model.as_deref(), version.as_deref());
        let (name, version) = match &found {
            Ok(found) => (found.model().name(), found.model().version()),
            // Feedback is kept after its version is unloaded.
            Err(LookupError::UnknownVersion { name, version, .. }) => (name.as_str(), version.as_str()),
            Err(error) => return Err(error.clone().into()),
        };
        let summary = self.store.summary(name, version, window.0 as usize);
        let summary = within_timeout(self.timeout, "read", summary).await?.map_err(|cause| {
            tracing::error!(%cause, "failed to read feedback");
            ApiError::internal()
        })?;
        match &found {
            Err(unknown) if summary.total == 0 => Err(unknown.clone().into()),
            _ => Ok(Json(SummaryBody::new(name, version, summary))),
        }
    }
}

/// Waits for `work`, up to a timeout. `done` completes the error message.
async fn within_timeout<T>(timeout: Duration, done: &str, work: impl Future<Output = T>) -> Result<T, ApiError> {
    let late = |_| ApiError::new(ErrorCode::FeedbackUnavailable, format!("feedback could not be {done} in time"));
    tokio::time::timeout(timeout, work).await.map_err(late)
}

fn default_window() -> u32 {
    1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn slow_storage_is_an_error_after_the_timeout() {
        let timeout = Duration::from_secs(5);
        let late = within_timeout(timeout, "read", std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(
            (late.code, late.message.as_str()),
            (ErrorCode::FeedbackUnavailable, "feedback could not be read in time")
        );
        assert_eq!(within_timeout(timeout, "read", async { 7 }).await.ok(), Some(7));
    }
}
