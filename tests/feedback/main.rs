//! Feedback, with the real binary: what is acknowledged stays, what is too much goes, and what can be made of the rest.
#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;
mod export;
mod killed;
mod operations;
mod retention;

use std::path::Path;

use common::{Answer, Server, bytes, kiln, said};
use serde_json::{Value, json};

const CAT: &str = "photos/cat_640x480.jpg";
const COFFEE: &str = "photos/coffee_640x480.jpg";
/// What they are taken for.
const EGYPTIAN_CAT: u64 = 285;
const ESPRESSO: u64 = 967;

/// A server that records in `folder`.
fn serve(folder: &Path, flags: &[&str]) -> Server {
    Server::start(&[&["--device", "cpu", "--data-dir", folder.to_str().unwrap()], flags].concat())
}

/// Has a photo classified, and gives back the prediction's id.
fn predict(server: &Server, photo: &str) -> String {
    let answer = server.raw("/predict/raw", &bytes(photo));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["prediction_id"].as_str().expect("an id").to_string()
}

fn give(server: &Server, feedback: &Value) -> Answer {
    server.raw("/feedback", feedback.to_string().as_bytes())
}

/// Says what a prediction's picture shows.
fn label(server: &Server, id: &str, class_id: u64) -> Answer {
    give(server, &json!({"prediction_id": id, "class_id": class_id}))
}

/// `kiln feedback` with these words: status, output, errors.
fn feedback(words: &[&str]) -> (i32, String, String) {
    said(kiln().arg("feedback").args(words))
}

/// The lines of an export to a folder that is made for it, and what was told.
fn exported(data: &Path, out: &Path) -> (Vec<Value>, String) {
    let words = ["export", "--data-dir", data.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let (status, told, errors) = feedback(&words);
    assert_eq!(status, 0, "{errors}");
    let text = std::fs::read_to_string(out.join("feedback.jsonl")).unwrap();
    (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), told)
}
