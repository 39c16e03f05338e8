//! Storing and reading feedback, and the retention of predictions.

use super::*;

#[tokio::test]
async fn feedback_on_a_new_prediction_is_stored_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = FeedbackStore::open(&config(folder.path())).unwrap();
    let recorder = store.recorder(model());
    let ids: Vec<Uuid> = (0..4).map(|_| record(&recorder, prediction())).collect();
    let labels = [Label::Right, Label::Wrong, Label::ClassId(3), Label::ClassName("dog".to_string())];
    for (id, label) in ids.iter().zip(labels) {
        let receipt = store.add_feedback(feedback(*id, label)).await.unwrap();
        assert_eq!((receipt.model.as_str(), receipt.version.as_str(), receipt.replaced), ("animals", "1", false));
        assert_eq!(receipt.predicted, (0, "cat".to_string()));
    }
    store.close().await;
    let store = FeedbackStore::open(&config(folder.path())).unwrap();
    let again = store
        .add_feedback(Feedback { note: Some("a dog".to_string()), ..feedback(ids[0], Label::ClassId(1)) })
        .await
        .unwrap();
    assert_eq!((again.replaced, again.true_class), (true, Some((1, "dog".to_string()))));
    let all = read_labelled(folder.path());
    let found: Vec<_> = ids.iter().map(|id| all.iter().find(|one| one.prediction == *id).unwrap()).collect();
    let true_ids: Vec<_> = found.iter().map(|one| one.true_class.as_ref().map(|class| class.0)).collect();
    assert_eq!((true_ids, all.len()), (vec![Some(1), None, Some(3), Some(1)], 4));
    assert_eq!(found[0].note.as_deref(), Some("a dog"));
    assert_eq!((found[2].top_classes.clone(), found[2].kind), (vec![0, 1], FeedbackKind::Label));
    let summary = store.summary("animals", "1", 1000).await.unwrap();
    assert_eq!((summary.total, summary.right, summary.kind_counts), (4, 0, [0, 1, 3]));
    assert_eq!(store.summary("animals", "1", 2).await.unwrap().count, 2);
    assert_eq!(store.summary("unknown", "1", 2).await.unwrap().count, 0);
}

#[tokio::test]
async fn slow_reader_does_not_block_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let store = FeedbackStore::open(&config(folder.path())).unwrap();
    let recorder = store.recorder(model());
    let ids = [(); 2].map(|()| record(&recorder, prediction()));
    for id in ids {
        store.add_feedback(feedback(id, Label::Right)).await.unwrap();
    }
    let reader = Reader::open(folder.path()).unwrap();
    let all = reader.models(None).unwrap();
    let writer = rusqlite::Connection::open(folder.path().join("feedback.db")).unwrap();
    let mut seen = Vec::new();
    let each = reader.for_each_labelled(&all[0], |one| {
        // Feedback that changes during the read is read in its new state, and once.
        writer.execute("UPDATE feedback SET note = 'later', time = time + 1", []).unwrap();
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        let is_busy: bool = writer.query_row(checkpoint, [], |row| row.get(0)).unwrap();
        seen.push((one.prediction, one.note, is_busy));
        Ok(())
    });
    each.unwrap();
    assert_eq!(seen, [(ids[0], None, false), (ids[1], Some("later".to_string()), false)]);
}

#[tokio::test]
async fn invalid_feedback_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = FeedbackStore::open(&config(folder.path())).unwrap();
    let recorder = store.recorder(model());
    let id = record(&recorder, prediction());
    let unknown = Uuid::now_v7();
    let refusal = |label| store.add_feedback(feedback(id, label));
    let expired = store.add_feedback(feedback(unknown, Label::Right)).await;
    assert_eq!(expired, Err(FeedbackError::UnknownPrediction(unknown)));
    let model = || "animals".to_string();
    let class_id = FeedbackError::UnknownClass { model: model(), class_id: 4 };
    assert_eq!(refusal(Label::ClassId(4)).await, Err(class_id));
    let label = |label: &str| refusal(Label::ClassName(label.to_string()));
    assert_eq!(label("cow").await, Err(FeedbackError::UnknownLabel { model: model() }));
    assert_eq!(label("crane").await, Err(FeedbackError::AmbiguousLabel { model: model(), first: 2, second: 3 }));
    assert!(read_labelled(folder.path()).is_empty());
}

#[tokio::test]
async fn model_with_other_labels_is_separate_and_keeps_old_feedback_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let store = FeedbackStore::open(&config(folder.path())).unwrap();
    let recorder = store.recorder(model());
    let [one, other] = [(); 2].map(|()| record(&recorder, prediction()));
    store.add_feedback(feedback(one, Label::Right)).await.unwrap();
    store.close().await;
    let store = FeedbackStore::open(&config(folder.path())).unwrap();
    let renamed = || ModelIdentity::new("animals", "1", "sha256:7", ["lion", "wolf"].map(String::from).into());
    let id = record(&store.recorder(renamed()), prediction());
    assert_eq!(store.add_feedback(feedback(id, Label::Right)).await.unwrap().predicted, (0, "lion".to_string()));
    // An earlier prediction is interpreted with the labels of its own model.
    let receipt = store.add_feedback(feedback(other, Label::ClassName("crane".to_string()))).await;
    assert!(matches!(receipt, Err(FeedbackError::AmbiguousLabel { .. })), "{receipt:?}");
    store.add_feedback(feedback(other, Label::ClassName("dog".to_string()))).await.unwrap();
    let names: Vec<String> = read_labelled(folder.path()).into_iter().map(|one| one.predicted.1).collect();
    assert_eq!(names, ["cat", "cat", "lion"]);
    // A summary is of the model that was served last, even if that is the older one.
    let summary = store.summary("animals", "1", 10).await.unwrap();
    assert_eq!((summary.total, summary.right), (1, 1));
    store.recorder(model());
    settle(&store).await;
    assert_eq!(store.summary("animals", "1", 10).await.unwrap().total, 2);
}

#[tokio::test]
async fn prediction_is_in_the_same_tenth_of_both_histograms() {
    let folder = tempfile::tempdir().unwrap();
    let store = FeedbackStore::open(&config(folder.path())).unwrap();
    // 0.9 as f32 is below nine tenths, but ten times it, in f32, is 9.
    let id = record(&store.recorder(model()), PredictionRecord { classes: vec![(0, 0.9)], ..prediction() });
    store.add_feedback(feedback(id, Label::Right)).await.unwrap();
    let reader = Reader::open(folder.path()).unwrap();
    let model = reader.models(None).unwrap().remove(0);
    let confidence_histogram = reader.confidence_histogram(&model).unwrap();
    let feedback = ModelFeedback { model, labelled: read_labelled(folder.path()), confidence_histogram };
    let page = report_page("2026-01-31T12:00:00Z", &[feedback]);
    let row = "<th scope=\"row\">0.8 to 0.9</th><td>1</td><td>1</td><td>0</td>";
    assert!(page.contains(row), "{page}");
}

/// Returns the number of stored predictions.
fn stored_predictions(folder: &Path) -> usize {
    Reader::open(folder).unwrap().models(None).unwrap().iter().map(|model| model.predictions).sum()
}

#[tokio::test]
async fn retention_count_deletes_the_oldest_predictions_without_feedback() {
    let folder = tempfile::tempdir().unwrap();
    let store = FeedbackStore::open(&Config { prediction_retention_count: 10, ..config(folder.path()) }).unwrap();
    let recorder = store.recorder(model());
    let first = record(&recorder, prediction());
    store.add_feedback(feedback(first, Label::Right)).await.unwrap();
    let ids: Vec<Uuid> = (0..50).map(|_| record(&recorder, prediction())).collect();
    store.close().await;
    assert_eq!(stored_predictions(folder.path()), 1 + 10);
    let store = FeedbackStore::open(&config(folder.path())).unwrap();
    let repeated = store.add_feedback(feedback(first, Label::Wrong)).await;
    assert!(repeated.is_ok_and(|receipt| receipt.replaced));
    assert_eq!(
        store.add_feedback(feedback(ids[39], Label::Wrong)).await,
        Err(FeedbackError::UnknownPrediction(ids[39]))
    );
    assert!(store.add_feedback(feedback(ids[40], Label::Wrong)).await.is_ok());
}

#[tokio::test]
async fn expired_predictions_without_feedback_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let store = FeedbackStore::open(&Config { prediction_retention: 2 * MONTH, ..config(folder.path()) }).unwrap();
    let recorder = store.recorder(model());
    let minute = Duration::from_secs(60);
    let [too_old, young] = [prediction_aged(MONTH + minute), prediction_aged(MONTH - minute)]
        .map(|prediction| record(&recorder, prediction));
    store.close().await;
    assert_eq!(stored_predictions(folder.path()), 2);
    // The first transaction deletes expired predictions; later ones do so every 30 seconds.
    let store = FeedbackStore::open(&config(folder.path())).unwrap();
    store.add_feedback(feedback(young, Label::Right)).await.unwrap();
    assert_eq!(
        store.add_feedback(feedback(too_old, Label::Right)).await,
        Err(FeedbackError::UnknownPrediction(too_old))
    );
    assert_eq!(stored_predictions(folder.path()), 1);
}

#[tokio::test]
async fn close_writes_queued_predictions() {
    let folder = tempfile::tempdir().unwrap();
    let store = FeedbackStore::open(&config(folder.path())).unwrap();
    let recorder = store.recorder(model());
    (0..900).for_each(|_| recorder.record(prediction()));
    store.close().await;
    assert_eq!(stored_predictions(folder.path()), 900);
    // The checkpoint moved everything into the database file.
    let log = std::fs::metadata(folder.path().join("feedback.db-wal"));
    assert!(log.map_or(true, |log| log.len() == 0));
    // After the close, feedback is refused.
    recorder.record(prediction());
    assert_eq!(store.add_feedback(feedback(Uuid::now_v7(), Label::Right)).await, Err(FeedbackError::Unavailable));
}
