//! `kiln finetune`: trains on corrected photos and adds a version to the store that predicts the corrected classes.

use std::path::Path;

use crate::common::{bytes, kiln, run_command};
use kiln::model_store::ModelStore;
use kiln_classifier::preprocess_spec;
use kiln_image::{self as image, Limits};
use kiln_inference::model::Model;
use kiln_inference::{BurnEngine, DeviceChoice, Engine, Options, Sample, argmax, device};

const MODEL: &str = "efficientnet-lite0";
/// Photos and the classes that the feedback claims, which are far from the real ones.
const CORRECTED: [(&str, usize); 2] = [("coffee_640x480.jpg", 100), ("rocket_640x480.jpg", 300)];
const OTHERS: [&str; 5] =
    ["astronaut_640x480.jpg", "cat_451x300.jpg", "cat_640x480.jpg", "flower_640x480.jpg", "hubble_640x480.jpg"];

/// Writes an export of these photos with these classes, in the format of `kiln feedback export`.
fn export(corrected: &[(&str, usize)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = String::new();
    for (photo, class) in corrected {
        let class_folder = format!("images/{class:04}_class");
        std::fs::create_dir_all(folder.path().join(&class_folder)).unwrap();
        std::fs::write(folder.path().join(&class_folder).join(photo), bytes(&format!("photos/{photo}"))).unwrap();
        let image = format!("{class_folder}/{photo}");
        lines += &serde_json::json!({"image": image, "true_id": class, "predicted_id": 1, "model": MODEL}).to_string();
        lines += "\n";
    }
    lines += &serde_json::json!({"image": null, "true_id": null, "predicted_id": 1, "model": MODEL}).to_string();
    std::fs::write(folder.path().join("feedback.jsonl"), lines).unwrap();
    folder
}

/// Runs `kiln finetune`. Returns the exit status, standard output and standard error.
fn finetune(feedback: &Path, store: &Path, more: &[&str]) -> (i32, String, String) {
    let mut command = kiln();
    command.args(["finetune", "--device", "cpu", "--from-feedback"]).arg(feedback).arg("--model-store").arg(store);
    run_command(command.args(more))
}

/// Returns the most probable class of each photo.
fn predictions(model: &Model, photos: &[&str]) -> Vec<usize> {
    let device = device::choose(&DeviceChoice::Cpu).unwrap();
    let mut engine = BurnEngine::start(model.clone(), &device, &Options::new(1), |_| ()).unwrap();
    let mut predict = |photo: &&str| {
        let prepared =
            image::preprocess(&bytes(&format!("photos/{photo}")), &preprocess_spec(model), &Limits::default()).unwrap();
        argmax(&engine.run(&[Sample::from(prepared.image)]).unwrap()[0]).expect("a class")
    };
    photos.iter().map(&mut predict).collect()
}

#[test]
fn finetuned_version_predicts_corrected_classes_and_keeps_the_others() {
    let (feedback, store) = (export(&CORRECTED), tempfile::tempdir().unwrap());
    // The first photo again in other bytes, with another class.
    let (photo, lines) = (CORRECTED[0].0, feedback.path().join("feedback.jsonl"));
    let duplicate = [&bytes(&format!("photos/{photo}"))[..], b"more"].concat();
    std::fs::write(feedback.path().join("images/same.jpg"), duplicate).unwrap();
    let line = serde_json::json!({"image": "images/same.jpg", "true_id": 7, "predicted_id": 1, "model": MODEL});
    std::fs::write(&lines, format!("\u{feff}{line}\n{}", std::fs::read_to_string(&lines).unwrap())).unwrap();
    let (status, stdout, stderr) = finetune(feedback.path(), store.path(), &["--force"]);
    assert_eq!(status, 0, "{stdout}{stderr}");
    for part in [
        "3 files with a true class",
        "1 without a true class",
        "1 files have the same image as another file",
        "1 of them have another class",
        "no image was held out",
        "kiln models canary",
    ] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    let built_in = Model::named(MODEL).unwrap();
    let store = ModelStore::open(store.path());
    let versions = store.versions(&built_in).unwrap();
    let [(version, Ok(manifest))] = &versions[..] else { panic!("{versions:?}") };
    assert_eq!(version, "2");
    assert!(manifest.origin.contains("finetune of version 1 on 2 images"), "{}", manifest.origin);
    // The new version does not serve requests yet.
    assert_eq!(store.labels(MODEL).unwrap().stable_or("1"), "1");
    let tuned = store.read(&built_in, version).unwrap();
    assert_eq!(predictions(&tuned, &CORRECTED.map(|(photo, _)| photo)), CORRECTED.map(|(_, class)| class));
    assert_eq!(predictions(&tuned, &OTHERS), predictions(&built_in, &OTHERS));
}

#[test]
fn version_without_improvement_is_not_written_without_force() {
    let (feedback, store) = (export(&OTHERS.map(|photo| (photo, 100))), tempfile::tempdir().unwrap());
    let barely_trained = ["--epochs", "1", "--learning-rate", "0.000001"];
    let (status, stdout, stderr) = finetune(feedback.path(), store.path(), &barely_trained);
    assert!(stdout.contains("1 are held out"), "{stdout}");
    assert!(status == 1 && stderr.contains("--force writes it all the same"), "{stderr}");
    // Too few images to hold any out is another error, reported before the training.
    let feedback = export(&CORRECTED);
    let (status, stdout, stderr) = finetune(feedback.path(), store.path(), &[]);
    assert!(status == 1 && stderr.contains("none of the 2 images of 2 classes can be held out"), "{stderr}");
    assert!(!stdout.contains("trained for"), "{stdout}");
    assert!(ModelStore::open(store.path()).versions(&Model::named(MODEL).unwrap()).unwrap().is_empty());
}

#[test]
fn unusable_feedback_is_reported_and_unreadable_images_are_skipped() {
    let (feedback, store) = (export(&[]), tempfile::tempdir().unwrap());
    let nowhere = store.path().join("nowhere");
    for (folder, part) in [(feedback.path(), "no image has a true class"), (&nowhere, "kiln feedback export")] {
        let (status, _, stderr) = finetune(folder, store.path(), &[]);
        assert!(status == 1 && stderr.contains(part), "{stderr}");
    }
    let (_, _, stderr) = run_command(kiln().args(["finetune", "--from-feedback", "."]));
    assert!(stderr.contains("--model-store"), "{stderr}");
    // An unreadable file does not prevent training on the others.
    let feedback = export(&CORRECTED);
    std::fs::write(feedback.path().join("images/0100_class/coffee_640x480.jpg"), "not a photo").unwrap();
    let (status, stdout, stderr) = finetune(feedback.path(), store.path(), &["--force", "--epochs", "3"]);
    assert_eq!(status, 0, "{stderr}");
    assert!(stdout.contains("1 files are not readable images"), "{stdout}");
    assert!(stderr.contains("coffee_640x480.jpg: not an image"), "{stderr}");
}
