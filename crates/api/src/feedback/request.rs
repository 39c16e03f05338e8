//! The body of `POST /feedback`: JSON, validated before the prediction is looked up.

use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::{ParseFromJSON, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, Enum, ExtractParamOptions, Object};
use uuid::Uuid;

use crate::body_limit::UnreadBody;
use crate::error::{ApiError, ErrorCode};
use kiln_feedback::{Feedback, Label};
use kiln_runtime::telemetry::is_control_or_bidi;

/// Maximum size of the body in bytes. It suffices for a note in which every character is escaped.
const MAX_BODY_BYTES: usize = 16 << 10;

/// Feedback on a prediction.
#[derive(Debug, Object)]
#[oai(rename = "Feedback", deny_unknown_fields)]
pub(super) struct FeedbackBody {
    /// Id of the prediction.
    #[oai(validator(min_length = 36, max_length = 36))]
    prediction_id: String,
    /// Index of the true class.
    class_id: Option<u32>,
    /// Exact name of the true class. If the model has several classes of that name, send `class_id` instead.
    label: Option<String>,
    /// Whether the most probable class is the true one; for feedback without the true class.
    verdict: Option<VerdictBody>,
    /// Free text for people.
    #[oai(validator(max_length = 1000))]
    note: Option<String>,
}

/// Whether the most probable class is the true one.
#[derive(Clone, Copy, Debug, Enum)]
#[oai(rename = "Verdict", rename_all = "lowercase")]
enum VerdictBody {
    /// The most probable class is the true one.
    Right,
    /// The most probable class is not the true one.
    Wrong,
}

/// Extracts the feedback from a body of any content type, or none, as `curl -d` sends it.
#[derive(Debug)]
pub(super) struct FeedbackRequest(FeedbackBody);

impl<'a> ApiExtractor<'a> for FeedbackRequest {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        FeedbackBody::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = MetaMediaType { content_type: "application/json", schema: FeedbackBody::schema_ref() };
        let description = "One of `class_id`, `label` and `verdict`. Any content type, or none, is accepted.";
        Some(MetaRequest { description: Some(description), content: vec![content], required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        let body = UnreadBody::take(request, body)?;
        let bytes = body.read_up_to(MAX_BODY_BYTES, ErrorCode::FeedbackTooLarge).await?;
        let text = std::str::from_utf8(&bytes).map_err(|_| ApiError::malformed("the body is not valid UTF-8"))?;
        let parsed = FeedbackBody::parse_from_json_string(text);
        Ok(Self(parsed.map_err(|error| ApiError::malformed_quoting(&error.into_message()))?))
    }
}

impl FeedbackRequest {
    /// Validates the body and returns the feedback, given by the key or token called `account`.
    ///
    /// # Errors
    ///
    /// The prediction id is not a UUID, the body does not have exactly one of `class_id`, `label` and `verdict`, or the note has
    /// forbidden characters.
    pub(super) fn into_feedback(self, account: &str) -> Result<Feedback, ApiError> {
        let FeedbackBody { prediction_id, class_id, label, verdict, note } = self.0;
        let prediction =
            Uuid::try_parse(&prediction_id).map_err(|_| ApiError::malformed("prediction_id is not a prediction id"))?;
        let label = match (class_id, label, verdict) {
            (Some(class_id), None, None) => Label::ClassId(class_id),
            (None, Some(label), None) => Label::ClassName(label),
            (None, None, Some(VerdictBody::Right)) => Label::Right,
            (None, None, Some(VerdictBody::Wrong)) => Label::Wrong,
            _ => return Err(ApiError::malformed("exactly one of class_id, label and verdict is required")),
        };
        Ok(Feedback { prediction, label, note: check_note(note)?, account: Some(account.to_string()) })
    }
}

/// Trims the note, drops an empty one, and refuses characters that are unsafe on a terminal or a page. The schema bounds its
/// length.
fn check_note(note: Option<String>) -> Result<Option<String>, ApiError> {
    let note = note.map(|note| note.trim().to_string()).filter(|note| !note.is_empty());
    match note {
        Some(note) if note.contains(is_forbidden) => Err(ApiError::malformed("the note has control characters")),
        note => Ok(note),
    }
}

/// Returns whether a character can make a note look like another one. Ordinary line ends and tabs are allowed.
fn is_forbidden(c: char) -> bool {
    is_control_or_bidi(c) && !matches!(c, '\n' | '\t' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_feedback::MAX_NOTE;

    const ID: &str = "01a210d2-a1b8-7393-9915-4b18e08932cf";

    fn parse(rest: &str) -> Result<Feedback, String> {
        let text = format!("{{\"prediction_id\": \"{ID}\"{rest}}}");
        let body = FeedbackBody::parse_from_json_string(&text).map_err(|error| error.into_message())?;
        FeedbackRequest(body).into_feedback("app").map_err(|error| error.message)
    }

    #[test]
    fn exactly_one_of_class_id_label_and_verdict_is_required() {
        let truth = |rest: &str| parse(rest).map(|feedback| feedback.label);
        assert_eq!(truth(", \"class_id\": 285"), Ok(Label::ClassId(285)));
        assert_eq!(truth(", \"label\": \"tabby\""), Ok(Label::ClassName("tabby".to_string())));
        assert_eq!(truth(", \"verdict\": \"wrong\""), Ok(Label::Wrong));
        for rest in ["", ", \"class_id\": 1, \"label\": \"tabby\"", ", \"class_id\": 1, \"verdict\": \"right\""] {
            assert!(truth(rest).unwrap_err().contains("exactly one of"), "{rest}");
        }
        for rest in
            [", \"class_id\": -1", ", \"verdict\": \"perhaps\"", ", \"lable\": \"tabby\"", ", \"class_id\": 1.5"]
        {
            assert!(truth(rest).is_err(), "{rest}");
        }
    }

    #[test]
    fn note_is_trimmed_bounded_and_free_of_control_characters() {
        let note = |note: &str| {
            let note = note.replace('\u{7}', "\\u0007").replace('\n', "\\n");
            parse(&format!(", \"verdict\": \"right\", \"note\": \"{note}\"")).map(|feedback| feedback.note)
        };
        assert_eq!(note(" a cat,\nbut blurred "), Ok(Some("a cat,\nbut blurred".to_string())));
        assert_eq!(note("  "), Ok(None));
        assert_eq!(note(&"é".repeat(MAX_NOTE)).unwrap().map(|note| note.chars().count()), Some(MAX_NOTE));
        assert!(note(&"é".repeat(MAX_NOTE + 1)).is_err());
        for forbidden in ['\u{7}', '\u{7f}', '\u{85}', '\u{202e}', '\u{2066}', '\u{61c}', '\u{2028}', '\u{2029}'] {
            assert!(note(&format!("a {forbidden} b")).unwrap_err().contains("control characters"), "{forbidden:?}");
        }
        // Words of any script, with the characters that join their letters.
        for allowed in ["قطة", "नमस्ते", "👩‍🔬", "می‌خواهم"] {
            assert_eq!(note(allowed), Ok(Some(allowed.to_string())));
        }
    }
}
