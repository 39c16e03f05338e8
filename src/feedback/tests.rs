//! The room as others use it: what is recorded is found, what is acknowledged stays, what is too much goes.

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
        predictions_kept: 1000,
        predictions_kept_for: MONTH,
        keep_images: Percentage::default(),
        images_kept_for: MONTH,
        images_kept_bytes: 1 << 20,
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

/// Predictions that are kept.
fn kept(folder: &Path) -> usize {
    Reader::open(folder).unwrap().models(None).unwrap().iter().map(|model| model.predictions).sum()
}

/// Names of the pictures' files.
fn pictures(folder: &Path) -> Vec<String> {
    let files = |folder: std::fs::DirEntry| std::fs::read_dir(folder.path()).unwrap();
    let folders = std::fs::read_dir(folder.join("kept-pictures")).into_iter().flatten().map(Result::unwrap);
    let mut names: Vec<_> =
        folders.flat_map(files).map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Waits for what follows a commit: files go once nobody waits for it any more.
async fn settle(store: &Store) {
    for _ in 0..2 {
        let unknown = store.give(feedback(Uuid::now_v7(), Truth::Right)).await;
        assert!(matches!(unknown, Err(FeedbackError::UnknownPrediction(_))));
    }
}

/// Pictures of one millisecond are of one age.
fn next_millisecond() {
    let now = millis(SystemTime::now());
    while millis(SystemTime::now()) == now {
        std::hint::spin_loop();
    }
}

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
async fn predictions_without_feedback_are_let_go_by_number_and_those_with_feedback_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Config { predictions_kept: 10, ..config(folder.path()) }).unwrap();
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
    let store = Store::open(&Config { predictions_kept_for: 2 * MONTH, ..config(folder.path()) }).unwrap();
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

#[tokio::test]
async fn pictures_are_kept_once_and_those_with_feedback_go_last() {
    let folder = tempfile::tempdir().unwrap();
    let all = Config { keep_images: "100".parse().unwrap(), ..config(folder.path()) };
    let store = Store::open(&Config { images_kept_bytes: 12, ..all.clone() }).unwrap();
    let recorder = store.recorder_of(model());
    let judged_one = record(&recorder, with_picture(b"first"));
    record(&recorder, with_picture(b"first"));
    store.give(feedback(judged_one, Truth::Right)).await.unwrap();
    assert_eq!(pictures(folder.path()).len(), 1);
    next_millisecond();
    let second = record(&recorder, with_picture(b"second"));
    // Eleven bytes of twelve are taken.
    store.give(feedback(judged_one, Truth::Label("dog".to_string()))).await.unwrap();
    assert_eq!(pictures(folder.path()).len(), 2);
    next_millisecond();
    record(&recorder, with_picture(b"third"));
    store.give(feedback(judged_one, Truth::Right)).await.unwrap();
    settle(&store).await;
    let kept = judged(folder.path());
    let picture = kept[0].picture.as_ref().unwrap();
    assert_eq!(picture.read(folder.path()).unwrap(), b"first");
    assert_eq!(pictures(folder.path()).len(), 2, "the second should have gone");
    store.give(feedback(second, Truth::Right)).await.unwrap();
    let kept = judged(folder.path());
    let second = kept.iter().find(|one| one.prediction == second).unwrap();
    assert!(second.had_picture && second.picture.is_none());
    store.close().await;
    // What nobody knows of is cleared away, and what is lost is forgotten.
    let stray = folder.path().join(format!("kept-pictures/ab/{}.jpg.part", "ab".repeat(32)));
    std::fs::create_dir_all(stray.parent().unwrap()).unwrap();
    std::fs::write(&stray, "half").unwrap();
    // What Kiln cannot have written is somebody's.
    let own = folder.path().join("kept-pictures/.DS_Store");
    std::fs::write(&own, "a desktop's").unwrap();
    std::fs::remove_file(picture.path(folder.path())).unwrap();
    let store = Store::open(&all).unwrap();
    assert!(!stray.exists() && own.exists());
    std::fs::remove_file(own).unwrap();
    assert_eq!(pictures(folder.path()).len(), 1);
    assert!(judged(folder.path()).iter().all(|one| one.picture.is_none()));
    store.close().await;
    // A month later nothing is left.
    let store = Store::open(&Config { images_kept_for: Duration::from_millis(1), ..all }).unwrap();
    store.recorder_of(model());
    settle(&store).await;
    assert_eq!(pictures(folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_picture_whose_file_is_damaged_is_kept_anew() {
    let folder = tempfile::tempdir().unwrap();
    let all = Config { keep_images: "100".parse().unwrap(), ..config(folder.path()) };
    let store = Store::open(&all).unwrap();
    let id = record(&store.recorder_of(model()), with_picture(b"a picture"));
    store.give(feedback(id, Truth::Right)).await.unwrap();
    store.close().await;
    let picture = judged(folder.path())[0].picture.clone().unwrap();
    std::fs::write(picture.path(folder.path()), b"a pict").unwrap();
    let store = Store::open(&all).unwrap();
    record(&store.recorder_of(model()), with_picture(b"a picture"));
    settle(&store).await;
    assert_eq!(picture.read(folder.path()).unwrap(), b"a picture");
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_written_is_its_owners_alone_in_a_folder_that_is_not() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let store = Store::open(&Config { keep_images: "100".parse().unwrap(), ..config(folder.path()) }).unwrap();
    let id = record(&store.recorder_of(model()), with_picture(b"private"));
    store.give(feedback(id, Truth::Right)).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for file in ["feedback.db", "feedback.db-wal", "feedback.db-shm", "feedback.lock"] {
        assert_eq!(mode(&folder.path().join(file)), 0o600, "{file}");
    }
    let picture = judged(folder.path())[0].picture.as_ref().unwrap().path(folder.path());
    assert_eq!(mode(&picture), 0o600);
    picture.ancestors().skip(1).take(2).for_each(|folder| assert_eq!(mode(folder), 0o700, "{}", folder.display()));
}

#[tokio::test]
async fn without_a_part_to_keep_no_picture_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&config(folder.path())).unwrap();
    let recorder = store.recorder_of(model());
    assert!(!recorder.keeps_pictures());
    let id = record(&recorder, with_picture(b"private"));
    store.give(feedback(id, Truth::Right)).await.unwrap();
    assert!(pictures(folder.path()).is_empty() && !judged(folder.path())[0].had_picture);
}
