//! The room as others use it: what is recorded is found, what is acknowledged stays, what is too much goes.

mod giving;
mod pictures;
mod retention;

use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use uuid::Uuid;

use super::record::ModelFacts;
use super::writer::millis;
use super::*;

const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

pub(super) fn config(folder: &Path) -> Config {
    Config {
        folder: folder.to_path_buf(),
        prediction_retention_count: 1000,
        prediction_retention: MONTH,
        image_sample_percent: Percentage::default(),
        image_retention: MONTH,
        image_retention_bytes: 1 << 20,
    }
}

pub(super) fn model() -> ModelFacts {
    ModelFacts::new("animals", "1", "sha256:7", ["cat", "dog", "crane", "crane"].map(String::from).into())
}

/// A prediction of class 0, so old.
fn old(age: Duration) -> Answered {
    let mut id = Uuid::now_v7().into_bytes();
    id[..6].copy_from_slice(&millis(SystemTime::now() - age).to_be_bytes()[2..]);
    Answered { id: Uuid::from_bytes(id), classes: vec![(0, 0.75), (1, 0.25)], picture: None }
}

fn answered() -> Answered {
    old(Duration::ZERO)
}

fn with_picture(bytes: &'static [u8]) -> Answered {
    Answered { picture: Some((Bytes::from_static(bytes), "png")), ..answered() }
}

pub(super) fn feedback(prediction: Uuid, truth: Truth) -> Feedback {
    Feedback { prediction, truth, note: None, account: Some("app".to_string()) }
}

/// Records, and gives back the id.
fn record(recorder: &Recorder, answered: Answered) -> Uuid {
    let id = answered.id;
    recorder.record(answered);
    id
}

fn judged(folder: &Path) -> Vec<Judged> {
    let reader = Reader::open(folder).unwrap();
    let mut all = Vec::new();
    for model in reader.models(None).unwrap() {
        reader
            .each(&model, |one| {
                all.push(one);
                Ok(())
            })
            .unwrap();
    }
    all
}

/// Waits for what follows a commit: files go once nobody waits for it any more.
async fn settle(store: &Store) {
    for _ in 0..2 {
        let unknown = store.give(feedback(Uuid::now_v7(), Truth::Right)).await;
        assert!(matches!(unknown, Err(FeedbackError::UnknownPrediction(_))));
    }
}
