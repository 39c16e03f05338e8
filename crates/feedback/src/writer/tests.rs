//! The writer without its thread: what a transaction that fails leaves, and what a start finds.

use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use uuid::Uuid;

use super::super::record::{Held, Truth};
use super::super::recorder::{Waiting, WaitingBytes};
use super::super::tests::{config, feedback, model};
use super::super::windows::LENGTH;
use super::*;

fn prediction(model: &Arc<ModelFacts>) -> Recorded {
    let (id, time) = (Uuid::now_v7(), SystemTime::now());
    Recorded { id, time, model: Arc::clone(model), classes: vec![(1, 0.5)], picture: None }
}

fn with_picture(model: &Arc<ModelFacts>, bytes: String) -> Recorded {
    let _waiting = Waiting::begin(&WaitingBytes::default(), bytes.len()).unwrap();
    let picture = Some(Held { bytes: Bytes::from(bytes), extension: "png", _waiting });
    Recorded { picture, ..prediction(model) }
}

/// So many, of four bytes each.
fn with_pictures(model: &Arc<ModelFacts>, count: usize) -> Vec<Message> {
    (0..count).map(|number| Message::Prediction(with_picture(model, format!("{number:04}")))).collect()
}

/// How many pictures there are, by their files and by their rows.
fn pictures(writer: &Writer, folder: &Path) -> (usize, i64) {
    let folders = std::fs::read_dir(folder.join("kept-pictures")).into_iter().flatten();
    let files = folders.map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count()).sum();
    (files, writer.connection.query_row("SELECT count(*) FROM pictures", [], |row| row.get(0)).unwrap())
}

/// SQLite answers from now on as it does when the disk is full.
fn fill_the_disk(writer: &Writer) {
    let pages: i64 = writer.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    writer.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
}

#[test]
fn a_full_disk_refuses_feedback_and_what_was_acknowledged_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(&config(folder.path())).unwrap();
    let model = Arc::new(model());
    let give = |writer: &mut Writer, id| {
        let (reply, mut receipt) = oneshot::channel();
        writer.take(vec![Message::Feedback(feedback(id, Truth::Right), reply)]);
        receipt.try_recv().unwrap()
    };
    let first = prediction(&model);
    let first_id = first.id;
    writer.take(vec![Message::Prediction(first)]);
    give(&mut writer, first_id).unwrap();
    fill_the_disk(&writer);
    let many: Vec<Recorded> = (0..400).map(|_| prediction(&model)).collect();
    let ids: Vec<Uuid> = many.iter().map(|one| one.id).collect();
    let (reply, mut receipt) = oneshot::channel();
    let mut batch: Vec<Message> = many.into_iter().map(Message::Prediction).collect();
    batch.push(Message::Feedback(feedback(ids[0], Truth::Right), reply));
    writer.take(batch);
    assert_eq!(receipt.try_recv().unwrap(), Err(FeedbackError::Unavailable));
    assert_eq!(give(&mut writer, ids[0]), Err(FeedbackError::UnknownPrediction(ids[0])));
    // There is room again, and it goes on.
    writer.connection.query_row("PRAGMA max_page_count = 1000000", [], |_| Ok(())).unwrap();
    let next = prediction(&model);
    let next_id = next.id;
    writer.take(vec![Message::Prediction(next)]);
    give(&mut writer, next_id).unwrap();
    assert!(give(&mut writer, first_id).unwrap().replaced);
    assert_eq!(writer.unjudged, 0);
}

#[test]
fn a_database_that_lacks_something_is_refused_by_the_name_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let writer = Writer::open(&config(folder.path())).unwrap();
    writer.connection.execute("DROP TABLE pictures", []).unwrap();
    drop(writer);
    let refused = Writer::open(&config(folder.path())).unwrap_err().to_string();
    assert!(refused.contains("feedback.db"), "{refused}");
}

#[test]
fn what_there_is_to_compare_with_outlives_retention_and_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { prediction_retention_count: 5, ..config(folder.path()) };
    let model = Arc::new(model());
    let mut writer = Writer::open(&config).unwrap();
    for _ in 0..4 {
        writer.take((0..400).map(|_| Message::Prediction(prediction(&model))).collect());
    }
    drop(writer);
    let mut writer = Writer::open(&config).unwrap();
    writer.take(vec![Message::Model(Arc::clone(&model))]);
    let watch = writer.watches.values().next().unwrap();
    assert_eq!((watch.references(), writer.unjudged), (LENGTH, 5));
}

#[test]
fn drift_is_after_a_start_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { prediction_retention_count: 5, ..config(folder.path()) };
    let model = Arc::new(model());
    let mut writer = Writer::open(&config).unwrap();
    let drift = |writer: &Writer| writer.watches.values().next().unwrap().drift();
    // The first are judged and stay for good; those that come later are let go, and told apart by class and confidence.
    for (class_id, is_judged) in [(1, true), (2, false), (3, false)] {
        for _ in 0..3 {
            let batch: Vec<Recorded> = (0..500)
                .map(|_| Recorded { classes: vec![(class_id, 0.25 * class_id as f32)], ..prediction(&model) })
                .collect();
            let ids: Vec<Uuid> = batch.iter().map(|one| one.id).collect();
            writer.take(batch.into_iter().map(Message::Prediction).collect());
            for id in ids.into_iter().filter(|_| is_judged).take(5) {
                let (reply, _receipt) = oneshot::channel();
                writer.take(vec![Message::Feedback(feedback(id, Truth::Wrong), reply)]);
            }
        }
    }
    let before = drift(&writer);
    assert!(before.0 > 0.4 && before.1 > 0.9, "{before:?}");
    drop(writer);
    let mut writer = Writer::open(&config).unwrap();
    writer.take(vec![Message::Model(Arc::clone(&model))]);
    assert_eq!(drift(&writer), before);
}

#[cfg(unix)]
#[test]
fn nothing_is_acknowledged_in_a_file_that_nobody_finds_again() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let mut writer = Writer::open(&config(&folder)).unwrap();
    let one = prediction(&Arc::new(model()));
    let id = one.id;
    let give = |writer: &mut Writer| {
        let (reply, mut receipt) = oneshot::channel();
        writer.take(vec![Message::Feedback(feedback(id, Truth::Right), reply)]);
        receipt.try_recv().unwrap()
    };
    writer.take(vec![Message::Prediction(one)]);
    give(&mut writer).unwrap();
    let aside = parent.path().join("aside");
    std::fs::rename(&folder, &aside).unwrap();
    assert_eq!(give(&mut writer), Err(FeedbackError::Unavailable));
    // Another one, as a copy that was put back.
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(aside.join("feedback.db"), folder.join("feedback.db")).unwrap();
    assert_eq!(give(&mut writer), Err(FeedbackError::Unavailable));
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::rename(&aside, &folder).unwrap();
    assert!(give(&mut writer).unwrap().replaced);
}

#[test]
fn files_of_a_transaction_that_fails_do_not_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(&config(folder.path())).unwrap();
    let model = Arc::new(model());
    writer.take(with_pictures(&model, 3));
    assert_eq!(pictures(&writer, folder.path()), (3, 3));
    fill_the_disk(&writer);
    writer.take(with_pictures(&model, MOST));
    assert_eq!(pictures(&writer, folder.path()), (3, 3));
}

#[test]
fn no_more_pictures_are_kept_than_may_be_however_many_come_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { image_retention_bytes: 40, ..config(folder.path()) };
    let mut writer = Writer::open(&config).unwrap();
    let model = Arc::new(model());
    writer.take(with_pictures(&model, MOST));
    assert_eq!(pictures(&writer, folder.path()), (10, 10));
    drop(writer);
    // Where fewer may be kept the next time, it is so from the start.
    let writer = Writer::open(&Config { image_retention_bytes: 12, ..config }).unwrap();
    assert_eq!(pictures(&writer, folder.path()), (3, 3));
}

#[test]
fn a_picture_that_comes_again_is_known_to_have_feedback() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(&config(folder.path())).unwrap();
    let model = Arc::new(model());
    let first = with_picture(&model, "first".to_string());
    let (reply, _receipt) = oneshot::channel();
    let judged = Message::Feedback(feedback(first.id, Truth::Right), reply);
    writer.take(vec![Message::Prediction(first), judged]);
    // It was let go meanwhile.
    writer.connection.execute("DELETE FROM pictures", []).unwrap();
    let again = with_picture(&model, "first".to_string());
    writer.take(vec![Message::Prediction(again)]);
    let judged: bool = writer.connection.query_row("SELECT judged FROM pictures", [], |row| row.get(0)).unwrap();
    assert!(judged);
}
