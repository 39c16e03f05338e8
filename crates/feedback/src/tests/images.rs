//! Stored images: sampling, retention and file permissions.

use super::*;

/// Returns the names of the image files.
fn image_files(folder: &Path) -> Vec<String> {
    let files = |folder: std::fs::DirEntry| std::fs::read_dir(folder.path()).unwrap();
    let folders = std::fs::read_dir(folder.join("kept-pictures")).into_iter().flatten().map(Result::unwrap);
    let mut names: Vec<_> =
        folders.flat_map(files).map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Waits for the next millisecond: images of the same millisecond have the same age.
fn next_millisecond() {
    let now = unix_millis(SystemTime::now());
    while unix_millis(SystemTime::now()) == now {
        std::hint::spin_loop();
    }
}

#[tokio::test]
async fn images_are_stored_once_and_those_with_feedback_are_evicted_last() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Config { image_sample_percent: "100".parse().unwrap(), ..config(folder.path()) };
    let store = FeedbackStore::open(&Config { image_retention_bytes: 12, ..settings.clone() }).unwrap();
    let recorder = store.recorder(model());
    let first = record(&recorder, prediction_with_image(b"first"));
    record(&recorder, prediction_with_image(b"first"));
    store.add_feedback(feedback(first, Label::Right)).await.unwrap();
    assert_eq!(image_files(folder.path()).len(), 1);
    next_millisecond();
    let second = record(&recorder, prediction_with_image(b"second"));
    // Eleven of twelve bytes are used.
    store.add_feedback(feedback(first, Label::ClassName("dog".to_string()))).await.unwrap();
    assert_eq!(image_files(folder.path()).len(), 2);
    next_millisecond();
    record(&recorder, prediction_with_image(b"third"));
    store.add_feedback(feedback(first, Label::Right)).await.unwrap();
    settle(&store).await;
    let all = read_labelled(folder.path());
    let image = all[0].image.as_ref().unwrap();
    assert_eq!(image.read(folder.path()).unwrap(), b"first");
    assert_eq!(image_files(folder.path()).len(), 2, "the second image is not evicted");
    store.add_feedback(feedback(second, Label::Right)).await.unwrap();
    let all = read_labelled(folder.path());
    let second = all.iter().find(|one| one.prediction == second).unwrap();
    assert!(second.image_was_stored && second.image.is_none());
    store.close().await;
    // At the next start, a file without a row is deleted, and a row without a file too.
    let stray = folder.path().join(format!("kept-pictures/ab/{}.jpg.part", "ab".repeat(32)));
    std::fs::create_dir_all(stray.parent().unwrap()).unwrap();
    std::fs::write(&stray, "half").unwrap();
    // A file that Kiln cannot have written stays.
    let own = folder.path().join("kept-pictures/.DS_Store");
    std::fs::write(&own, "of the desktop").unwrap();
    std::fs::remove_file(image.path(folder.path())).unwrap();
    let store = FeedbackStore::open(&settings).unwrap();
    assert!(!stray.exists() && own.exists());
    std::fs::remove_file(own).unwrap();
    assert_eq!(image_files(folder.path()).len(), 1);
    assert!(read_labelled(folder.path()).iter().all(|one| one.image.is_none()));
    store.close().await;
    // After the retention no image is left.
    let store = FeedbackStore::open(&Config { image_retention: Duration::from_millis(1), ..settings }).unwrap();
    store.recorder(model());
    settle(&store).await;
    assert_eq!(image_files(folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn image_with_a_damaged_file_is_stored_again() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Config { image_sample_percent: "100".parse().unwrap(), ..config(folder.path()) };
    let store = FeedbackStore::open(&settings).unwrap();
    let id = record(&store.recorder(model()), prediction_with_image(b"an image"));
    store.add_feedback(feedback(id, Label::Right)).await.unwrap();
    store.close().await;
    let image = read_labelled(folder.path())[0].image.clone().unwrap();
    std::fs::write(image.path(folder.path()), b"an im").unwrap();
    let store = FeedbackStore::open(&settings).unwrap();
    record(&store.recorder(model()), prediction_with_image(b"an image"));
    settle(&store).await;
    assert_eq!(image.read(folder.path()).unwrap(), b"an image");
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_private_in_a_folder_that_is_not() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let store =
        FeedbackStore::open(&Config { image_sample_percent: "100".parse().unwrap(), ..config(folder.path()) }).unwrap();
    let id = record(&store.recorder(model()), prediction_with_image(b"private"));
    store.add_feedback(feedback(id, Label::Right)).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for file in ["feedback.db", "feedback.db-wal", "feedback.db-shm", "feedback.lock"] {
        assert_eq!(mode(&folder.path().join(file)), 0o600, "{file}");
    }
    let image = read_labelled(folder.path())[0].image.as_ref().unwrap().path(folder.path());
    assert_eq!(mode(&image), 0o600);
    image.ancestors().skip(1).take(2).for_each(|folder| assert_eq!(mode(folder), 0o700, "{}", folder.display()));
}

#[tokio::test]
async fn no_image_is_stored_if_the_sample_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let store = FeedbackStore::open(&config(folder.path())).unwrap();
    let recorder = store.recorder(model());
    assert!(!recorder.stores_images());
    let id = record(&recorder, prediction_with_image(b"private"));
    store.add_feedback(feedback(id, Label::Right)).await.unwrap();
    assert!(image_files(folder.path()).is_empty() && !read_labelled(folder.path())[0].image_was_stored);
}
