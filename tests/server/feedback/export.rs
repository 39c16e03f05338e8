//! `kiln feedback export` and `kiln feedback report`.

use serde_json::json;

use super::{CAT, COFFEE, EGYPTIAN_CAT, export_feedback, feedback, give, label, predict, serve};
use crate::common::bytes;

#[test]
fn export_has_a_line_per_feedback_and_images_by_true_class() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let set = out.path().join("set");
    let server = serve(data.path(), &["--image-sample-percent", "100"]);
    let other = "photos/astronaut_640x480.jpg";
    let [cat, same_cat, coffee, wrong] = [CAT, CAT, COFFEE, other].map(|photo| predict(&server, photo));
    assert_eq!(label(&server, &cat, 281).status, 200);
    assert_eq!(give(&server, &json!({"prediction_id": same_cat, "label": "tabby", "note": "two\nlines"})).status, 200);
    assert_eq!(give(&server, &json!({"prediction_id": coffee, "verdict": "right"})).status, 200);
    assert_eq!(give(&server, &json!({"prediction_id": wrong, "verdict": "wrong"})).status, 200);
    // The export runs beside the server.
    let (lines, stdout) = export_feedback(data.path(), &set);
    let line = |id: &str| lines.iter().find(|line| line["prediction_id"] == id).unwrap();
    assert_eq!(lines.len(), 4);
    let first = line(&cat);
    assert_eq!((&first["model"], &first["version"]), (&json!("efficientnet-lite0"), &json!("1")));
    assert_eq!((&first["predicted_id"], &first["predicted"]), (&json!(EGYPTIAN_CAT), &json!("Egyptian cat")));
    assert_eq!((&first["verdict"], &first["true_id"], &first["note"]), (&json!("label"), &json!(281), &json!(null)));
    assert!((0.0..1.0).contains(&first["probability"].as_f64().unwrap()), "{first}");
    assert!(first["time"].as_str().is_some_and(|time| time.ends_with('Z') && time.len() == 24), "{first}");
    assert_eq!(line(&same_cat)["note"], "two\nlines");
    let right = line(&coffee);
    assert_eq!((&right["verdict"], &right["true_id"]), (&json!("right"), &right["predicted_id"]));
    let unknown = line(&wrong);
    assert_eq!(
        (&unknown["true_id"], &unknown["true_label"], &unknown["image"]),
        (&json!(null), &json!(null), &json!(null))
    );
    // The image with two pieces of feedback is exported once.
    let image = |id: &str| line(id)["image"].as_str().unwrap().to_string();
    assert_eq!(image(&cat), image(&same_cat));
    assert!(image(&cat).starts_with("images/0281_tabby") && image(&cat).ends_with(".jpg"), "{}", image(&cat));
    assert_eq!(std::fs::read(set.join(image(&cat))).unwrap(), bytes(CAT));
    assert_eq!(std::fs::read(set.join(image(&coffee))).unwrap(), bytes(COFFEE));
    assert_eq!(std::fs::read_dir(set.join("images")).unwrap().count(), 2);
    assert!(
        stdout.contains("4 labelled predictions, 3 of them with an image")
            && stdout.contains("true class is not known")
    );
    let arguments = ["export", "--data-dir", data.path().to_str().unwrap(), "--out", set.to_str().unwrap()];
    let (status, _, stderr) = feedback(&arguments);
    assert!(status == 1 && stderr.contains("is not empty"), "{stderr}");
    let (status, ..) = feedback(&[&arguments[..], &["--force", "--model", "efficientnet-lite0"]].concat());
    assert_eq!(status, 0);
    let (status, _, stderr) = feedback(&[&arguments[..], &["--force", "--model", "nobody"]].concat());
    assert!(status == 1 && stderr.contains("there is 'efficientnet-lite0'"), "{stderr}");
    assert!(set.join("feedback.jsonl").exists(), "the failed export removed the previous one");
}

#[test]
fn export_and_report_do_not_overwrite_the_data_directory() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &["--image-sample-percent", "100"]);
    let [first, last] = [CAT, CAT].map(|photo| predict(&server, photo));
    assert_eq!(label(&server, &first, 281).status, 200);
    assert_eq!(give(&server, &json!({"prediction_id": last, "verdict": "right"})).status, 200);
    let folder = data.path().to_str().unwrap();
    for _ in 0..2 {
        let (status, _, stderr) = feedback(&["export", "--data-dir", folder, "--out", folder, "--force"]);
        assert!(status == 1 && stderr.contains("lies in the folder of --data-dir"), "{stderr}");
    }
    let database = data.path().join("feedback.db");
    let (status, _, stderr) = feedback(&["report", "--data-dir", folder, "--out", database.to_str().unwrap()]);
    assert!(status == 1 && stderr.contains("lies in the folder of --data-dir"), "{stderr}");
    // The image with two pieces of feedback is exported under the class of the last one only.
    let (lines, stdout) = export_feedback(data.path(), &out.path().join("set"));
    let image = |id: &str| lines.iter().find(|line| line["prediction_id"] == id).unwrap()["image"].clone();
    assert_eq!(image(&first), json!(null));
    assert!(image(&last).as_str().unwrap().starts_with("images/0285_egyptian_cat/"), "{}", image(&last));
    assert_eq!(std::fs::read_dir(out.path().join("set/images")).unwrap().count(), 1);
    assert!(stdout.contains("1 without an image: later feedback on the same image contradicts it"), "{stdout}");
}

#[test]
fn export_without_images_names_the_setting_that_stores_them() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &[]);
    let id = predict(&server, CAT);
    assert_eq!(label(&server, &id, 281).status, 200);
    server.terminate();
    assert!(server.wait().success());
    let (lines, stdout) = export_feedback(data.path(), &out.path().join("set"));
    assert_eq!((lines.len(), &lines[0]["image"]), (1, &json!(null)));
    assert!(
        stdout.contains("1 without an image: the server did not store it; --image-sample-percent sets"),
        "{stdout}"
    );
}

#[test]
fn report_shows_accuracy_calibration_and_confusions() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &[]);
    let [cat, coffee] = [CAT, COFFEE].map(|photo| predict(&server, photo));
    assert_eq!(label(&server, &cat, 281).status, 200);
    assert_eq!(give(&server, &json!({"prediction_id": coffee, "verdict": "right"})).status, 200);
    let page = out.path().join("report.html");
    let (status, stdout, stderr) =
        feedback(&["report", "--data-dir", data.path().to_str().unwrap(), "--out", page.to_str().unwrap()]);
    assert_eq!(status, 0, "{stderr}");
    assert!(stdout.contains("2 labelled predictions are shown"), "{stdout}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("50.0 % right: 1 of 2 predictions with feedback."), "{page}");
    for part in ["Accuracy over time", "Reliability", "tabby (281)", "Egyptian cat (285)", "Confidence"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("<script") && !page.contains("http"));
}
