//! Tests of the writer without its thread: failed transactions, restarts and limits.

use std::path::Path;

use bytes::Bytes;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::*;
use crate::drift::WINDOW_LENGTH;
use crate::queue::QueuedBytes;
use crate::record::Label;
use crate::tests::{config, feedback, model};

fn prediction(model: &Arc<ModelIdentity>) -> QueuedPrediction {
    let (id, time) = (Uuid::now_v7(), SystemTime::now());
    QueuedPrediction { id, time, model: Arc::clone(model), classes: vec![(1, 0.5)], image: None }
}

fn prediction_with_image(model: &Arc<ModelIdentity>, bytes: String) -> QueuedPrediction {
    let _reservation = QueuedBytes::default().reserve(bytes.len()).unwrap();
    let image = Some(QueuedImage { bytes: Bytes::from(bytes), extension: "png", _reservation });
    QueuedPrediction { image, ..prediction(model) }
}

/// Returns `count` predictions with images of four bytes each.
fn predictions_with_images(model: &Arc<ModelIdentity>, count: usize) -> Vec<Message> {
    (0..count).map(|number| Message::Prediction(prediction_with_image(model, format!("{number:04}")))).collect()
}

/// Returns the number of image files and of image rows.
fn count_images(writer: &Writer, folder: &Path) -> (usize, i64) {
    let folders = std::fs::read_dir(folder.join("kept-pictures")).into_iter().flatten();
    let files = folders.map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count()).sum();
    (files, writer.connection.query_row("SELECT count(*) FROM pictures", [], |row| row.get(0)).unwrap())
}

/// Makes SQLite fail as on a full disk.
fn fill_disk(writer: &Writer) {
    let pages: i64 = writer.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    writer.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
}

#[test]
fn full_disk_refuses_feedback_and_keeps_acknowledged_feedback() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(&config(folder.path())).unwrap();
    let model = Arc::new(model());
    let give_feedback = |writer: &mut Writer, id| {
        let (reply, mut receipt) = oneshot::channel();
        writer.process(vec![Message::Feedback(feedback(id, Label::Right), reply)]);
        receipt.try_recv().unwrap()
    };
    let first = prediction(&model);
    let first_id = first.id;
    writer.process(vec![Message::Prediction(first)]);
    give_feedback(&mut writer, first_id).unwrap();
    fill_disk(&writer);
    let many: Vec<QueuedPrediction> = (0..400).map(|_| prediction(&model)).collect();
    let ids: Vec<Uuid> = many.iter().map(|one| one.id).collect();
    let (reply, mut receipt) = oneshot::channel();
    let mut batch: Vec<Message> = many.into_iter().map(Message::Prediction).collect();
    batch.push(Message::Feedback(feedback(ids[0], Label::Right), reply));
    writer.process(batch);
    assert_eq!(receipt.try_recv().unwrap(), Err(FeedbackError::Unavailable));
    assert_eq!(give_feedback(&mut writer, ids[0]), Err(FeedbackError::UnknownPrediction(ids[0])));
    // Once the disk has space again, writing succeeds.
    writer.connection.query_row("PRAGMA max_page_count = 1000000", [], |_| Ok(())).unwrap();
    let next = prediction(&model);
    let next_id = next.id;
    writer.process(vec![Message::Prediction(next)]);
    give_feedback(&mut writer, next_id).unwrap();
    assert!(give_feedback(&mut writer, first_id).unwrap().replaced);
    assert_eq!(writer.unlabelled, 0);
}

#[test]
fn incomplete_database_is_refused_with_its_file_name() {
    let folder = tempfile::tempdir().unwrap();
    let writer = Writer::open(&config(folder.path())).unwrap();
    writer.connection.execute("DROP TABLE pictures", []).unwrap();
    drop(writer);
    let refused = Writer::open(&config(folder.path())).unwrap_err().to_string();
    assert!(refused.contains("feedback.db"), "{refused}");
}

#[test]
fn reference_window_survives_retention_and_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { prediction_retention_count: 5, ..config(folder.path()) };
    let model = Arc::new(model());
    let mut writer = Writer::open(&config).unwrap();
    for _ in 0..4 {
        writer.process((0..400).map(|_| Message::Prediction(prediction(&model))).collect());
    }
    drop(writer);
    let mut writer = Writer::open(&config).unwrap();
    writer.process(vec![Message::Model(Arc::clone(&model))]);
    let monitor = writer.monitors.values().next().unwrap();
    assert_eq!((monitor.reference_count(), writer.unlabelled), (WINDOW_LENGTH, 5));
}

#[test]
fn drift_is_unchanged_by_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { prediction_retention_count: 5, ..config(folder.path()) };
    let model = Arc::new(model());
    let mut writer = Writer::open(&config).unwrap();
    let drift = |writer: &Writer| writer.monitors.values().next().unwrap().drift();
    // The first predictions have feedback and are kept; later ones are deleted, and differ in class and confidence.
    for (class_id, has_feedback) in [(1, true), (2, false), (3, false)] {
        for _ in 0..3 {
            let batch: Vec<QueuedPrediction> = (0..500)
                .map(|_| QueuedPrediction { classes: vec![(class_id, 0.25 * class_id as f32)], ..prediction(&model) })
                .collect();
            let ids: Vec<Uuid> = batch.iter().map(|one| one.id).collect();
            writer.process(batch.into_iter().map(Message::Prediction).collect());
            for id in ids.into_iter().filter(|_| has_feedback).take(5) {
                let (reply, _receipt) = oneshot::channel();
                writer.process(vec![Message::Feedback(feedback(id, Label::Wrong), reply)]);
            }
        }
    }
    let before = drift(&writer);
    assert!(before.0 > 0.4 && before.1 > 0.9, "{before:?}");
    drop(writer);
    let mut writer = Writer::open(&config).unwrap();
    writer.process(vec![Message::Model(Arc::clone(&model))]);
    assert_eq!(drift(&writer), before);
}

#[cfg(unix)]
#[test]
fn feedback_is_refused_if_the_database_file_was_moved_or_replaced() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let mut writer = Writer::open(&config(&folder)).unwrap();
    let one = prediction(&Arc::new(model()));
    let id = one.id;
    let give_feedback = |writer: &mut Writer| {
        let (reply, mut receipt) = oneshot::channel();
        writer.process(vec![Message::Feedback(feedback(id, Label::Right), reply)]);
        receipt.try_recv().unwrap()
    };
    writer.process(vec![Message::Prediction(one)]);
    give_feedback(&mut writer).unwrap();
    let aside = parent.path().join("aside");
    std::fs::rename(&folder, &aside).unwrap();
    assert_eq!(give_feedback(&mut writer), Err(FeedbackError::Unavailable));
    // Another file, such as a restored backup.
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(aside.join("feedback.db"), folder.join("feedback.db")).unwrap();
    assert_eq!(give_feedback(&mut writer), Err(FeedbackError::Unavailable));
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::rename(&aside, &folder).unwrap();
    assert!(give_feedback(&mut writer).unwrap().replaced);
}

#[test]
fn image_files_of_a_failed_transaction_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(&config(folder.path())).unwrap();
    let model = Arc::new(model());
    writer.process(predictions_with_images(&model, 3));
    assert_eq!(count_images(&writer, folder.path()), (3, 3));
    fill_disk(&writer);
    writer.process(predictions_with_images(&model, MAX_BATCH));
    assert_eq!(count_images(&writer, folder.path()), (3, 3));
}

#[test]
fn image_limit_holds_for_any_batch() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { image_retention_bytes: 40, ..config(folder.path()) };
    let mut writer = Writer::open(&config).unwrap();
    let model = Arc::new(model());
    writer.process(predictions_with_images(&model, MAX_BATCH));
    assert_eq!(count_images(&writer, folder.path()), (10, 10));
    drop(writer);
    // A lower limit takes effect at the next start.
    let writer = Writer::open(&Config { image_retention_bytes: 12, ..config }).unwrap();
    assert_eq!(count_images(&writer, folder.path()), (3, 3));
}

#[test]
fn image_that_is_sent_again_is_marked_as_having_feedback() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(&config(folder.path())).unwrap();
    let model = Arc::new(model());
    let first = prediction_with_image(&model, "first".to_string());
    let (reply, _receipt) = oneshot::channel();
    let message = Message::Feedback(feedback(first.id, Label::Right), reply);
    writer.process(vec![Message::Prediction(first), message]);
    // The image was evicted in between.
    writer.connection.execute("DELETE FROM pictures", []).unwrap();
    let again = prediction_with_image(&model, "first".to_string());
    writer.process(vec![Message::Prediction(again)]);
    let judged: bool = writer.connection.query_row("SELECT judged FROM pictures", [], |row| row.get(0)).unwrap();
    assert!(judged);
}
