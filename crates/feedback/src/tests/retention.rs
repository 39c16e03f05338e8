//! Predictions: which are let go, and that none is lost at a clean end.

use super::*;

/// Predictions that are kept.
fn kept(folder: &Path) -> usize {
    Reader::open(folder).unwrap().models(None).unwrap().iter().map(|model| model.predictions).sum()
}

#[tokio::test]
async fn predictions_without_feedback_are_let_go_by_number_and_those_with_feedback_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Config { prediction_retention_count: 10, ..config(folder.path()) }).unwrap();
    let recorder = store.recorder_of(model());
    let first = record(&recorder, answered());
    store.give(feedback(first, Truth::Right)).await.unwrap();
    let ids: Vec<Uuid> = (0..50).map(|_| record(&recorder, answered())).collect();
    store.close().await;
    assert_eq!(kept(folder.path()), 1 + 10);
    let store = Store::open(&config(folder.path())).unwrap();
    let known = store.give(feedback(first, Truth::Wrong)).await;
    assert!(known.is_ok_and(|receipt| receipt.replaced));
    assert_eq!(store.give(feedback(ids[39], Truth::Wrong)).await, Err(FeedbackError::UnknownPrediction(ids[39])));
    assert!(store.give(feedback(ids[40], Truth::Wrong)).await.is_ok());
}

#[tokio::test]
async fn predictions_without_feedback_are_let_go_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Config { prediction_retention: 2 * MONTH, ..config(folder.path()) }).unwrap();
    let recorder = store.recorder_of(model());
    let minute = Duration::from_secs(60);
    let [too_old, young] = [old(MONTH + minute), old(MONTH - minute)].map(|answered| record(&recorder, answered));
    store.close().await;
    assert_eq!(kept(folder.path()), 2);
    // Its first transaction looks, and then one each half minute.
    let store = Store::open(&config(folder.path())).unwrap();
    store.give(feedback(young, Truth::Right)).await.unwrap();
    assert_eq!(store.give(feedback(too_old, Truth::Right)).await, Err(FeedbackError::UnknownPrediction(too_old)));
    assert_eq!(kept(folder.path()), 1);
}

#[tokio::test]
async fn a_clean_end_writes_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&config(folder.path())).unwrap();
    let recorder = store.recorder_of(model());
    (0..900).for_each(|_| recorder.record(answered()));
    store.close().await;
    assert_eq!(kept(folder.path()), 900);
    // All of it is in the one file.
    let log = std::fs::metadata(folder.path().join("feedback.db-wal"));
    assert!(log.map_or(true, |log| log.len() == 0));
    // After the end nothing is taken, and that is told.
    recorder.record(answered());
    assert_eq!(store.give(feedback(Uuid::now_v7(), Truth::Right)).await, Err(FeedbackError::Unavailable));
}
