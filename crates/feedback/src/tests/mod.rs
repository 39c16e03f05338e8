//! Tests of the store through its public interface, and the helpers of all unit tests.

mod images;
mod store;

use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use uuid::Uuid;

use crate::schema::unix_millis;
use crate::*;

const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

pub(super) fn config(folder: &Path) -> Config {
    Config {
        data_dir: folder.to_path_buf(),
        prediction_retention_count: 1000,
        prediction_retention: MONTH,
        image_sample_percent: Percentage::default(),
        image_retention: MONTH,
        image_retention_bytes: 1 << 20,
    }
}

pub(super) fn model() -> ModelIdentity {
    ModelIdentity::new("animals", "1", "sha256:7", ["cat", "dog", "crane", "crane"].map(String::from).into())
}

/// Returns class `class_id` with a label.
pub(super) fn class(class_id: u32) -> (u32, String) {
    (class_id, format!("class {class_id}"))
}

/// Returns a prediction of class 1 with feedback, given at hour `number`.
pub(super) fn labelled(number: u64, probability: f32, kind: FeedbackKind, true_id: Option<u32>) -> LabelledPrediction {
    LabelledPrediction {
        prediction: Uuid::from_u128(number.into()),
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + 3600 * number),
        predicted: class(1),
        probability,
        top_classes: vec![1, 2],
        kind,
        true_class: true_id.map(class),
        note: None,
        image_was_stored: false,
        image: None,
    }
}

/// Returns a prediction of class 0 that is `age` old.
fn prediction_aged(age: Duration) -> PredictionRecord {
    let mut id = Uuid::now_v7().into_bytes();
    id[..6].copy_from_slice(&unix_millis(SystemTime::now() - age).to_be_bytes()[2..]);
    PredictionRecord { id: Uuid::from_bytes(id), classes: vec![(0, 0.75), (1, 0.25)], image: None }
}

fn prediction() -> PredictionRecord {
    prediction_aged(Duration::ZERO)
}

fn prediction_with_image(bytes: &'static [u8]) -> PredictionRecord {
    PredictionRecord { image: Some((Bytes::from_static(bytes), "png")), ..prediction() }
}

pub(super) fn feedback(prediction: Uuid, label: Label) -> Feedback {
    Feedback { prediction, label, note: None, account: Some("app".to_string()) }
}

/// Records a prediction and returns its id.
fn record(recorder: &Recorder, prediction: PredictionRecord) -> Uuid {
    let id = prediction.id;
    recorder.record(prediction);
    id
}

/// Returns all predictions with feedback.
fn read_labelled(folder: &Path) -> Vec<LabelledPrediction> {
    let reader = Reader::open(folder).unwrap();
    let mut all = Vec::new();
    for model in reader.models(None).unwrap() {
        reader
            .for_each_labelled(&model, |one| {
                all.push(one);
                Ok(())
            })
            .unwrap();
    }
    all
}

/// Waits until the effects of earlier commits are complete: files are deleted after the commit.
async fn settle(store: &FeedbackStore) {
    for _ in 0..2 {
        let unknown = store.add_feedback(feedback(Uuid::now_v7(), Label::Right)).await;
        assert!(matches!(unknown, Err(FeedbackError::UnknownPrediction(_))));
    }
}
