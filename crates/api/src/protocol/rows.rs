//! Tensors to rows for the classifier, and scores to a tensor.

use crate::Config;
use crate::error::Code;
use crate::failure::Failure;
use kiln_classifier::{Class, Classifier, Row, Scores};
use kiln_oip::{Input, NotFinite, Output, RequestedOutput, Values, classification};

/// How many rows one request may have: no more than can have a place in the queue, or it could never be answered.
pub(super) fn most_rows(config: &Config, classifier: &Classifier) -> usize {
    config.max_batch_files.min(classifier.capacity())
}

/// The rows of a request's tensor, at most `most`.
pub(super) fn rows(input: Input, classifier: &Classifier, most: usize) -> Result<Vec<Row>, Failure> {
    let spec = classifier.model().spec();
    let (height, width) = (spec.height as usize, spec.width as usize);
    let refuse = |message: String| Err(Failure::new(Code::Malformed, message));
    let count = input.shape.first().copied().unwrap_or_default();
    if count > most {
        return Err(Failure::too_many("rows", count, most));
    }
    match input.values {
        Values::Numbers(numbers) => {
            if count == 0 || input.shape[1..] != [3, height, width] {
                let shape = format!("[N, 3, {height}, {width}] with N from 1");
                return refuse(format!("a tensor of the shape {:?} came; the model takes {shape}", input.shape));
            }
            Ok(numbers.chunks_exact(3 * height * width).map(|row| Row::Tensor(row.into())).collect())
        }
        Values::Elements(elements) => {
            // Clients that believe in a batch axis give each row a side of one.
            if count == 0 || !matches!(input.shape[1..], [] | [1]) {
                return refuse(format!("pictures of the shape {:?} came; it has to be [N] with N from 1", input.shape));
            }
            Ok(elements.into_iter().map(Row::Picture).collect())
        }
    }
}

/// The tensor of the scores, or of the classes if those were asked for.
///
/// Classes of scores that are not finite would be chosen by chance, so there are none.
pub(super) fn output(
    classifier: &Classifier,
    scores: &[Scores],
    requested: RequestedOutput,
) -> Result<Output, NotFinite> {
    let classes = classifier.model().spec().labels.len();
    let Some(wanted) = requested.classes else {
        let values = scores.iter().flat_map(|scores| scores.logits.iter().copied()).collect();
        return Ok(Output { shape: vec![scores.len(), classes], values: Values::Numbers(values) });
    };
    if let Some(place) = scores.iter().flat_map(|scores| &scores.logits).position(|score| !score.is_finite()) {
        return Err(NotFinite(place));
    }
    let wanted = wanted.min(classes);
    let row = |scores: &Scores| {
        let text = |class: Class| classification(scores.logits[class.class_id], class.class_id, class.label);
        classifier.classes(&scores.logits, wanted).into_iter().map(text).collect::<Vec<_>>()
    };
    let values = Values::Elements(scores.iter().flat_map(row).collect());
    Ok(Output { shape: vec![scores.len(), wanted], values })
}
