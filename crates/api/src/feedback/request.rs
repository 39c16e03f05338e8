//! What somebody tells of a prediction: JSON, checked before anything is looked up.

use poem::error::ReadBodyError;
use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::{ParseFromJSON, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, Enum, ExtractParamOptions, Object};
use uuid::Uuid;

use crate::error::Code;
use crate::failure::Failure;
use kiln_feedback::{Feedback, Truth};

/// The largest body. A note with every character escaped fits.
const MAX_BODY: usize = 16 << 10;

/// The body of `POST /feedback`.
#[derive(Debug, Object)]
#[oai(rename = "Feedback", deny_unknown_fields)]
pub(super) struct GivenBody {
    /// Id of the answer that this is about.
    #[oai(validator(min_length = 36, max_length = 36))]
    prediction_id: String,
    /// Index of the true class.
    class_id: Option<u32>,
    /// Name of the true class, to the letter. Where a model has several of that name, its index is needed.
    label: Option<String>,
    /// Whether the most probable class is the true one, for those who do not know or cannot say which is.
    verdict: Option<VerdictBody>,
    /// For people: what else there is to say.
    #[oai(validator(max_length = 1000))]
    note: Option<String>,
}

/// Whether the most probable class is the true one.
#[derive(Clone, Copy, Debug, Enum)]
#[oai(rename = "Verdict", rename_all = "lowercase")]
enum VerdictBody {
    /// It is.
    Right,
    /// It is not.
    Wrong,
}

/// That body, of any content type or none, as `curl -d` sends it.
#[derive(Debug)]
pub(super) struct Given(GivenBody);

impl<'a> ApiExtractor<'a> for Given {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        GivenBody::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = MetaMediaType { content_type: "application/json", schema: GivenBody::schema_ref() };
        let description = "One of `class_id`, `label` and `verdict`. Any content type, or none, is accepted.";
        Some(MetaRequest { description: Some(description), content: vec![content], required: true })
    }

    async fn from_request(
        _request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        let bytes = body.take()?.into_bytes_limit(MAX_BODY).await.map_err(|error| match error {
            ReadBodyError::PayloadTooLarge => {
                Failure::new(Code::FeedbackTooLarge, format!("the body is larger than {MAX_BODY} bytes")).into()
            }
            other => poem::Error::from(other),
        })?;
        let text = std::str::from_utf8(&bytes).map_err(|_| malformed("the body is no text in UTF-8"))?;
        let read = GivenBody::parse_from_json_string(text);
        Ok(Self(read.map_err(|error| malformed(short(&error.into_message())))?))
    }
}

impl Given {
    /// What was told, by the key of that name.
    ///
    /// # Errors
    ///
    /// It is not an id, not one of three things, or a note that is none.
    pub(super) fn read(self, account: &str) -> Result<Feedback, Failure> {
        let GivenBody { prediction_id, class_id, label, verdict, note } = self.0;
        let prediction =
            Uuid::try_parse(&prediction_id).map_err(|_| malformed("prediction_id is not the id of an answer"))?;
        let truth = match (class_id, label, verdict) {
            (Some(class_id), None, None) => Truth::ClassId(class_id),
            (None, Some(label), None) => Truth::Label(label),
            (None, None, Some(VerdictBody::Right)) => Truth::Right,
            (None, None, Some(VerdictBody::Wrong)) => Truth::Wrong,
            _ => return Err(malformed("exactly one of class_id, label and verdict is needed")),
        };
        Ok(Feedback { prediction, truth, note: check_note(note)?, account: Some(account.to_string()) })
    }
}

/// A note that says something, in characters that a terminal or a page can bear. Its length is checked before.
fn check_note(note: Option<String>) -> Result<Option<String>, Failure> {
    let note = note.map(|note| note.trim().to_string()).filter(|note| !note.is_empty());
    match note {
        Some(note) if note.contains(is_bad) => Err(malformed("the note has control characters")),
        note => Ok(note),
    }
}

/// What moves the cursor, ends a line where nobody looks for an end, or turns the direction of what follows, so that a note reads
/// as another one.
fn is_bad(c: char) -> bool {
    let is_line_end = matches!(c, '\u{2028}' | '\u{2029}');
    // Bidi_Control of Unicode's PropList.txt.
    let is_bidi = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() && !matches!(c, '\n' | '\t' | '\r') || is_line_end || is_bidi
}

fn malformed(reason: &str) -> Failure {
    Failure::new(Code::Malformed, reason)
}

/// The part of a sentence that may quote what the client has sent.
fn short(sentence: &str) -> &str {
    &sentence[..sentence.floor_char_boundary(300)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_feedback::MAX_NOTE;

    const ID: &str = "01a210d2-a1b8-7393-9915-4b18e08932cf";

    fn read(rest: &str) -> Result<Feedback, String> {
        let text = format!("{{\"prediction_id\": \"{ID}\"{rest}}}");
        let body = GivenBody::parse_from_json_string(&text).map_err(|error| error.into_message())?;
        Given(body).read("app").map_err(|failure| failure.message)
    }

    #[test]
    fn one_of_three_things_is_told() {
        let truth = |rest: &str| read(rest).map(|feedback| feedback.truth);
        assert_eq!(truth(", \"class_id\": 285"), Ok(Truth::ClassId(285)));
        assert_eq!(truth(", \"label\": \"tabby\""), Ok(Truth::Label("tabby".to_string())));
        assert_eq!(truth(", \"verdict\": \"wrong\""), Ok(Truth::Wrong));
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
    fn a_note_has_bounds() {
        let note = |note: &str| {
            let note = note.replace('\u{7}', "\\u0007").replace('\n', "\\n");
            read(&format!(", \"verdict\": \"right\", \"note\": \"{note}\"")).map(|feedback| feedback.note)
        };
        assert_eq!(note(" a cat,\nbut blurred "), Ok(Some("a cat,\nbut blurred".to_string())));
        assert_eq!(note("  "), Ok(None));
        assert_eq!(note(&"é".repeat(MAX_NOTE)).unwrap().map(|note| note.chars().count()), Some(MAX_NOTE));
        assert!(note(&"é".repeat(MAX_NOTE + 1)).is_err());
        for bad in ['\u{7}', '\u{7f}', '\u{85}', '\u{202e}', '\u{2066}', '\u{61c}', '\u{2028}', '\u{2029}'] {
            assert!(note(&format!("a {bad} b")).unwrap_err().contains("control characters"), "{bad:?}");
        }
        // Words of any script, and what joins their letters.
        for good in ["قطة", "नमस्ते", "👩‍🔬", "می‌خواهم"] {
            assert_eq!(note(good), Ok(Some(good.to_string())));
        }
    }
}
