//! Feedback on what was answered: what is found, what it means, and how it is read.

use super::*;

#[tokio::test]
async fn feedback_on_a_prediction_just_answered_finds_it_and_is_there_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&config(folder.path())).unwrap();
    let recorder = store.recorder_of(model());
    let ids: Vec<Uuid> = (0..4).map(|_| record(&recorder, answered())).collect();
    let truths = [Truth::Right, Truth::Wrong, Truth::ClassId(3), Truth::Label("dog".to_string())];
    for (id, truth) in ids.iter().zip(truths) {
        let receipt = store.give(feedback(*id, truth)).await.unwrap();
        assert_eq!((receipt.model.as_str(), receipt.version.as_str(), receipt.replaced), ("animals", "1", false));
        assert_eq!(receipt.predicted, (0, "cat".to_string()));
    }
    store.close().await;
    let store = Store::open(&config(folder.path())).unwrap();
    let again =
        store.give(Feedback { note: Some("a dog".to_string()), ..feedback(ids[0], Truth::ClassId(1)) }).await.unwrap();
    assert_eq!((again.replaced, again.truth), (true, Some((1, "dog".to_string()))));
    let all = judged(folder.path());
    let found: Vec<_> = ids.iter().map(|id| all.iter().find(|one| one.prediction == *id).unwrap()).collect();
    let truths: Vec<_> = found.iter().map(|one| one.truth.as_ref().map(|truth| truth.0)).collect();
    assert_eq!((truths, all.len()), (vec![Some(1), None, Some(3), Some(1)], 4));
    assert_eq!(found[0].note.as_deref(), Some("a dog"));
    assert_eq!((found[2].told.clone(), found[2].verdict), (vec![0, 1], Verdict::Label));
    let summary = store.summary("animals", "1", 1000).await.unwrap();
    assert_eq!((summary.total, summary.right, summary.verdicts), (4, 0, [0, 1, 3]));
    assert_eq!(store.summary("animals", "1", 2).await.unwrap().judged, 2);
    assert_eq!(store.summary("nobody", "1", 2).await.unwrap().judged, 0);
}

#[tokio::test]
async fn who_reads_slowly_does_not_hold_up_the_servers_log() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&config(folder.path())).unwrap();
    let recorder = store.recorder_of(model());
    let ids = [(); 2].map(|()| record(&recorder, answered()));
    for id in ids {
        store.give(feedback(id, Truth::Right)).await.unwrap();
    }
    let reader = Reader::open(folder.path()).unwrap();
    let all = reader.models(None).unwrap();
    let writer = rusqlite::Connection::open(folder.path().join("feedback.db")).unwrap();
    let mut seen = Vec::new();
    let each = reader.each(&all[0], |one| {
        // What is said while others are read counts, and is told once.
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
async fn what_cannot_be_meant_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&config(folder.path())).unwrap();
    let recorder = store.recorder_of(model());
    let id = record(&recorder, answered());
    let unknown = Uuid::now_v7();
    let refusal = |truth| store.give(feedback(id, truth));
    let gone = store.give(feedback(unknown, Truth::Right)).await;
    assert_eq!(gone, Err(FeedbackError::UnknownPrediction(unknown)));
    let model = || "animals".to_string();
    let class_id = FeedbackError::UnknownClass { model: model(), class_id: 4 };
    assert_eq!(refusal(Truth::ClassId(4)).await, Err(class_id));
    let label = |label: &str| refusal(Truth::Label(label.to_string()));
    assert_eq!(label("cow").await, Err(FeedbackError::UnknownLabel { model: model() }));
    assert_eq!(label("crane").await, Err(FeedbackError::AmbiguousLabel { model: model(), first: 2, second: 3 }));
    assert!(judged(folder.path()).is_empty());
}

#[tokio::test]
async fn a_model_with_other_labels_is_another_and_old_feedback_stays_as_it_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&config(folder.path())).unwrap();
    let recorder = store.recorder_of(model());
    let [one, other] = [(); 2].map(|()| record(&recorder, answered()));
    store.give(feedback(one, Truth::Right)).await.unwrap();
    store.close().await;
    let store = Store::open(&config(folder.path())).unwrap();
    let renamed = || ModelFacts::new("animals", "1", "sha256:7", ["lion", "wolf"].map(String::from).into());
    let id = record(&store.recorder_of(renamed()), answered());
    assert_eq!(store.give(feedback(id, Truth::Right)).await.unwrap().predicted, (0, "lion".to_string()));
    // What was answered before is judged as it was answered.
    let receipt = store.give(feedback(other, Truth::Label("crane".to_string()))).await;
    assert!(matches!(receipt, Err(FeedbackError::AmbiguousLabel { .. })), "{receipt:?}");
    store.give(feedback(other, Truth::Label("dog".to_string()))).await.unwrap();
    let names: Vec<String> = judged(folder.path()).into_iter().map(|one| one.predicted.1).collect();
    assert_eq!(names, ["cat", "cat", "lion"]);
    // A summary is of the one that was served last, also where that is the older one.
    let summary = store.summary("animals", "1", 10).await.unwrap();
    assert_eq!((summary.total, summary.right), (1, 1));
    store.recorder_of(model());
    settle(&store).await;
    assert_eq!(store.summary("animals", "1", 10).await.unwrap().total, 2);
}

#[tokio::test]
async fn a_judged_prediction_is_in_the_tenth_that_it_is_in_among_all() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&config(folder.path())).unwrap();
    // As f32 it lies below nine tenths, though ten times it is nine.
    let id = record(&store.recorder_of(model()), Answered { classes: vec![(0, 0.9)], ..answered() });
    store.give(feedback(id, Truth::Right)).await.unwrap();
    let reader = Reader::open(folder.path()).unwrap();
    let model = reader.models(None).unwrap().remove(0);
    let confidence = reader.confidence(&model).unwrap();
    let page = page("2026-01-31T12:00:00Z", &[ModelFeedback { model, judged: judged(folder.path()), confidence }]);
    let row = "<th scope=\"row\">0.8 to 0.9</th><td>1</td><td>1</td><td>0</td>";
    assert!(page.contains(row), "{page}");
}
