//! `kiln finetune` by the real binary: a few corrected photos in, a version in the store out, which answers them as corrected.
#![forbid(unsafe_code)]

mod common;

use std::path::Path;

use common::{bytes, kiln, said};
use kiln_classifier::recipe;
use kiln_image::{self as image, Limits};
use kiln_inference::{BurnEngine, DeviceChoice, Engine, Options, Sample, device, top};
use kiln_inference::model::Model;
use kiln::store::Store;

const MODEL: &str = "efficientnet-lite0";
/// What two photos are said to show: nothing near what they do.
const CORRECTED: [(&str, usize); 2] = [("coffee_640x480.jpg", 100), ("rocket_640x480.jpg", 300)];
const OTHERS: [&str; 5] =
    ["astronaut_640x480.jpg", "cat_451x300.jpg", "cat_640x480.jpg", "flower_640x480.jpg", "hubble_640x480.jpg"];

/// An export of these photos with these right classes, as `kiln feedback export` writes it.
fn export(corrected: &[(&str, usize)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = String::new();
    for (photo, class) in corrected {
        let inside = format!("images/{class:04}_class");
        std::fs::create_dir_all(folder.path().join(&inside)).unwrap();
        std::fs::write(folder.path().join(&inside).join(photo), bytes(&format!("photos/{photo}"))).unwrap();
        let image = format!("{inside}/{photo}");
        lines += &serde_json::json!({"image": image, "true_id": class, "predicted_id": 1, "model": MODEL}).to_string();
        lines += "\n";
    }
    lines += &serde_json::json!({"image": null, "true_id": null, "predicted_id": 1, "model": MODEL}).to_string();
    std::fs::write(folder.path().join("feedback.jsonl"), lines).unwrap();
    folder
}

/// Status, what it said and what it complained of.
fn finetune(feedback: &Path, store: &Path, more: &[&str]) -> (i32, String, String) {
    let mut command = kiln();
    command.args(["finetune", "--device", "cpu", "--from-feedback"]).arg(feedback).arg("--model-store").arg(store);
    said(command.args(more))
}

/// The most probable class of each photo.
fn answers(model: &Model, photos: &[&str]) -> Vec<usize> {
    let device = device::choose(&DeviceChoice::Cpu).unwrap();
    let mut engine = BurnEngine::start(model.clone(), &device, &Options::new(1), |_| ()).unwrap();
    let mut answer = |photo: &&str| {
        let picture = image::prepare(&bytes(&format!("photos/{photo}")), &recipe(model), &Limits::default()).unwrap();
        top(&engine.run(&[Sample::from(picture.image)]).unwrap()[0]).expect("a class")
    };
    photos.iter().map(&mut answer).collect()
}

#[test]
fn corrected_photos_are_answered_as_corrected_and_others_as_before() {
    let (feedback, store) = (export(&CORRECTED), tempfile::tempdir().unwrap());
    // The first one in other bytes, which somebody had said to show something else.
    let (photo, lines) = (CORRECTED[0].0, feedback.path().join("feedback.jsonl"));
    let same = [&bytes(&format!("photos/{photo}"))[..], b"more"].concat();
    std::fs::write(feedback.path().join("images/same.jpg"), same).unwrap();
    let line = serde_json::json!({"image": "images/same.jpg", "true_id": 7, "predicted_id": 1, "model": MODEL});
    std::fs::write(&lines, format!("\u{feff}{line}\n{}", std::fs::read_to_string(&lines).unwrap())).unwrap();
    let (status, told, complaint) = finetune(feedback.path(), store.path(), &["--force"]);
    assert_eq!(status, 0, "{told}{complaint}");
    for part in [
        "3 files with a right class",
        "1 without a right class",
        "1 files show the same picture as another",
        "in 1 of them it has another class",
        "no picture was held out",
        "kiln models canary",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let built_in = Model::named(MODEL).unwrap();
    let store = Store::open(store.path());
    let versions = store.versions(&built_in).unwrap();
    let [(version, Ok(manifest))] = &versions[..] else { panic!("{versions:?}") };
    assert_eq!(version, "2");
    assert!(manifest.origin.contains("finetune of version 1 on 2 pictures"), "{}", manifest.origin);
    // Nobody is served by it yet.
    assert_eq!(store.labels(MODEL).unwrap().stable_or("1"), "1");
    let tuned = store.read(&built_in, version).unwrap();
    assert_eq!(answers(&tuned, &CORRECTED.map(|(photo, _)| photo)), CORRECTED.map(|(_, class)| class));
    assert_eq!(answers(&tuned, &OTHERS), answers(&built_in, &OTHERS));
}

#[test]
fn what_is_no_better_is_not_written_unless_it_is_forced() {
    let (feedback, store) = (export(&OTHERS.map(|photo| (photo, 100))), tempfile::tempdir().unwrap());
    let hardly = ["--epochs", "1", "--learning-rate", "0.000001"];
    let (status, told, complaint) = finetune(feedback.path(), store.path(), &hardly);
    assert!(told.contains("1 are held out"), "{told}");
    assert!(status == 1 && complaint.contains("--force writes it all the same"), "{complaint}");
    // Too few to hold any out is not the same, and is told before anything is trained.
    let feedback = export(&CORRECTED);
    let (status, told, complaint) = finetune(feedback.path(), store.path(), &[]);
    assert!(status == 1 && complaint.contains("none of the 2 pictures, of 2 classes, can be held out"), "{complaint}");
    assert!(!told.contains("trained for"), "{told}");
    assert!(Store::open(store.path()).versions(&Model::named(MODEL).unwrap()).unwrap().is_empty());
}

#[test]
fn what_cannot_be_learnt_from_is_told() {
    let (feedback, store) = (export(&[]), tempfile::tempdir().unwrap());
    let nowhere = store.path().join("nowhere");
    for (folder, part) in [(feedback.path(), "no picture has a right class"), (&nowhere, "kiln feedback export")] {
        let (status, _, complaint) = finetune(folder, store.path(), &[]);
        assert!(status == 1 && complaint.contains(part), "{complaint}");
    }
    let (_, _, complaint) = said(kiln().args(["finetune", "--from-feedback", "."]));
    assert!(complaint.contains("--model-store"), "{complaint}");
    // A file that is no picture costs the others nothing.
    let feedback = export(&CORRECTED);
    std::fs::write(feedback.path().join("images/0100_class/coffee_640x480.jpg"), "not a photo").unwrap();
    let (status, told, complaint) = finetune(feedback.path(), store.path(), &["--force", "--epochs", "3"]);
    assert_eq!(status, 0, "{complaint}");
    assert!(told.contains("1 files are no pictures"), "{told}");
    assert!(complaint.contains("coffee_640x480.jpg: this is not a picture"), "{complaint}");
}
