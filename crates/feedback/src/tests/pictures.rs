//! Pictures: which are kept and how long, and for whom alone they are.

use super::*;

/// Names of the pictures' files.
fn pictures(folder: &Path) -> Vec<String> {
    let files = |folder: std::fs::DirEntry| std::fs::read_dir(folder.path()).unwrap();
    let folders = std::fs::read_dir(folder.join("kept-pictures")).into_iter().flatten().map(Result::unwrap);
    let mut names: Vec<_> =
        folders.flat_map(files).map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Pictures of one millisecond are of one age.
fn next_millisecond() {
    let now = millis(SystemTime::now());
    while millis(SystemTime::now()) == now {
        std::hint::spin_loop();
    }
}

#[tokio::test]
async fn pictures_are_kept_once_and_those_with_feedback_go_last() {
    let folder = tempfile::tempdir().unwrap();
    let all = Config { image_sample_percent: "100".parse().unwrap(), ..config(folder.path()) };
    let store = Store::open(&Config { image_retention_bytes: 12, ..all.clone() }).unwrap();
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
    let store = Store::open(&Config { image_retention: Duration::from_millis(1), ..all }).unwrap();
    store.recorder_of(model());
    settle(&store).await;
    assert_eq!(pictures(folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_picture_whose_file_is_damaged_is_kept_anew() {
    let folder = tempfile::tempdir().unwrap();
    let all = Config { image_sample_percent: "100".parse().unwrap(), ..config(folder.path()) };
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
    let store = Store::open(&Config { image_sample_percent: "100".parse().unwrap(), ..config(folder.path()) }).unwrap();
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
