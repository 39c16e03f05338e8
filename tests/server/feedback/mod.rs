//! Feedback on predictions: the operations, durability, retention, and the export and report commands.

mod durability;
mod export;
mod operations;
mod retention;

use std::path::Path;

use crate::common::{Answer, Server, bytes, kiln, run_command};
use serde_json::{Value, json};

const CAT: &str = "photos/cat_640x480.jpg";
const COFFEE: &str = "photos/coffee_640x480.jpg";
/// The predicted class of each photo.
const EGYPTIAN_CAT: u64 = 285;
const ESPRESSO: u64 = 967;

/// Starts a server that records predictions and feedback in `folder`.
fn serve(folder: &Path, flags: &[&str]) -> Server {
    Server::start(&[&["--device", "cpu", "--data-dir", folder.to_str().unwrap()], flags].concat())
}

/// Classifies a photo and returns the prediction id.
fn predict(server: &Server, photo: &str) -> String {
    let answer = server.raw("/predict/raw", &bytes(photo));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["prediction_id"].as_str().expect("an id").to_string()
}

/// Sends feedback.
fn give(server: &Server, feedback: &Value) -> Answer {
    server.raw("/feedback", feedback.to_string().as_bytes())
}

/// Sends the true class of a prediction's image.
fn label(server: &Server, id: &str, class_id: u64) -> Answer {
    give(server, &json!({"prediction_id": id, "class_id": class_id}))
}

/// Runs `kiln feedback`. Returns the exit status, standard output and standard error.
fn feedback(arguments: &[&str]) -> (i32, String, String) {
    run_command(kiln().arg("feedback").args(arguments))
}

/// Exports feedback to the new folder `out`. Returns the exported lines and the output of the command.
fn export_feedback(data: &Path, out: &Path) -> (Vec<Value>, String) {
    let arguments = ["export", "--data-dir", data.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let (status, stdout, stderr) = feedback(&arguments);
    assert_eq!(status, 0, "{stderr}");
    let text = std::fs::read_to_string(out.join("feedback.jsonl")).unwrap();
    (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), stdout)
}
