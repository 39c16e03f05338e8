//! The operations by which people tell what pictures truly show, and learn how often the answers were right. They are there
//! only where predictions are recorded (`--data-dir`).
//!
//! | file | responsibility |
//! |---|---|
//! | `request.rs` | what is told, and what of it cannot be |
//! | `schema.rs` | the JSON of the answers |

mod request;
mod schema;

use std::time::Duration;

use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{OpenApi, Tags};

use super::caller::{Caller, ToGiveFeedback};
use super::error::Code;
use super::failure::Failure;
use super::refused::{OfFeedback, OfSummaries, Refused};
use kiln_feedback::Store;
use kiln_classifier::registry::{LookupError, Registry};
use request::Given;
use schema::{ReceiptBody, SummaryBody};

/// `POST /feedback` and `GET /feedback/summary`.
pub(super) struct FeedbackOperations {
    pub(super) store: Store,
    pub(super) registry: Registry,
    /// How long a disk may take, and those who come before.
    pub(super) patience: Duration,
}

#[derive(Tags)]
enum Tag {
    /// What pictures truly show, and how often the answers were right; the scope `feedback` is needed.
    Feedback,
}

#[OpenApi(tag = "Tag::Feedback")]
impl FeedbackOperations {
    /// Tell what a picture truly shows
    ///
    /// By its prediction's id, with the true class (`class_id` or `label`) or a `verdict`, one of the three. It is stored, and
    /// stays so after a crash, when this answers 200. Feedback on the same prediction takes the place of what was told before,
    /// so it does no harm to send it again.
    ///
    /// `curl -H "X-API-Key: $KEY" -d '{"prediction_id": "...", "class_id": 285}' http://localhost:8080/feedback`
    #[oai(path = "/feedback", method = "post", operation_id = "give_feedback")]
    async fn give(
        &self,
        caller: Caller<ToGiveFeedback>,
        given: Given,
    ) -> Result<Json<ReceiptBody>, Refused<OfFeedback>> {
        let feedback = given.read(caller.id())?;
        let id = feedback.prediction;
        let stored = in_time(self.patience, "stored", self.store.give(feedback)).await??;
        Ok(Json(ReceiptBody::new(id, stored)))
    }

    /// How often answers were right
    ///
    /// By the last feedback on a model: accuracy, classes, what was taken for what, and whether probabilities are what they say.
    #[oai(path = "/feedback/summary", method = "get", operation_id = "feedback_summary")]
    async fn summary(
        &self,
        _caller: Caller<ToGiveFeedback>,
        /// The model; the server's default where absent.
        model: Query<Option<String>>,
        /// The model's version, loaded or not, or its label; the stable one where absent.
        version: Query<Option<String>>,
        /// How many judged predictions to look at, the last ones.
        #[oai(default = "window_default", validator(minimum(value = "1"), maximum(value = "100000")))]
        window: Query<u32>,
    ) -> Result<Json<SummaryBody>, Refused<OfSummaries>> {
        let found = self.registry.find(model.as_deref(), version.as_deref());
        let (name, version) = match &found {
            Ok(found) => (found.model().spec().name, found.model().version()),
            // Feedback outlives the version that it is on.
            Err(LookupError::UnknownVersion { name, version, .. }) => (name.as_str(), version.as_str()),
            Err(error) => return Err(error.clone().into()),
        };
        let summary = self.store.summary(name, version, window.0 as usize);
        let summary = in_time(self.patience, "read", summary).await?.map_err(|cause| {
            tracing::error!(%cause, "feedback cannot be read");
            Failure::fault()
        })?;
        match &found {
            Err(unknown) if summary.total == 0 => Err(unknown.clone().into()),
            _ => Ok(Json(SummaryBody::new(name, version, summary))),
        }
    }
}

/// What comes of `work`, if it does not take longer than that.
async fn in_time<T>(patience: Duration, done: &str, work: impl Future<Output = T>) -> Result<T, Failure> {
    let late = |_| Failure::new(Code::FeedbackUnavailable, format!("feedback could not be {done} in time"));
    tokio::time::timeout(patience, work).await.map_err(late)
}

fn window_default() -> u32 {
    1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_disk_for_ever() {
        let patience = Duration::from_secs(5);
        let late = in_time(patience, "read", std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(
            (late.code, late.message.as_str()),
            (Code::FeedbackUnavailable, "feedback could not be read in time")
        );
        assert_eq!(in_time(patience, "read", async { 7 }).await.ok(), Some(7));
    }
}
