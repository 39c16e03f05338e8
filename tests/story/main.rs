//! The whole story of a model that gets better with use, with the real binary and real photos: served, contradicted, killed,
//! taught, tried, promoted and taken back, while clients ask without a break and none is refused.
#![forbid(unsafe_code)]

mod clients;
#[path = "../common/mod.rs"]
mod common;
mod pictures;

use std::path::Path;
use std::time::Duration;

use clients::Clients;
use common::{Server, Stop, kiln, said};
use pictures::{Crop, crops};
use serde_json::json;

const NAME: &str = "efficientnet-lite0";
/// Longer than a version takes to come up on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What some photos are said to show, which the model does not say: a tabby, a cup, and a water tower for a rocket.
const CONTRADICTED: [(&str, u64); 3] =
    [("cat_640x480.jpg", 281), ("coffee_640x480.jpg", 968), ("rocket_640x480.jpg", 900)];
/// A photo of which it is sure, and about which everybody agrees with it.
const AGREED: [&str; 1] = ["flower_640x480.jpg"];

/// `kiln` with these words: what it said. It has to do what it is told.
fn run(words: &[&str]) -> String {
    let (status, told, complaint) = said(kiln().args(words));
    assert_eq!(status, 0, "{words:?}: {complaint}");
    told
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of plain letters")
}

/// Waits until it is so.
#[track_caller]
fn until(server: &Server, what: &str, is: impl Fn() -> bool) {
    let of_versions = || {
        let page = server.get_without_key("/metrics").text();
        let is_one = |line: &&str| line.starts_with("kiln_model_") || line.contains("version=\"");
        page.lines().filter(is_one).collect::<Vec<_>>().join("\n")
    };
    common::until(what, PATIENCE, is, of_versions);
}

/// The label of each version that is served.
fn served(server: &Server) -> Vec<(String, String)> {
    let versions = server.get(&format!("/models/{NAME}")).json()["versions"].as_array().unwrap().clone();
    let one =
        |version: &serde_json::Value| (version["version"].as_str().unwrap().to_string(), version["labels"].to_string());
    versions.iter().map(one).collect()
}

fn has(server: &Server, version: &str, label: &str) -> bool {
    served(server).iter().any(|(name, labels)| name == version && labels.contains(label))
}

/// The class that a version takes a picture for.
fn answer(server: &Server, version: &str, crop: &Crop) -> u64 {
    let answer = server.raw(&format!("/predict/raw?version={version}"), &crop.png);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.top1()
}

/// Asks for each picture and tells what it shows. The ids of those that were acknowledged.
fn teach(server: &Server, taught: &[Crop]) -> Vec<String> {
    let teach = |crop: &Crop| {
        let answer = server.raw("/predict/raw", &crop.png);
        let id = answer.json()["prediction_id"].as_str().expect("an id").to_string();
        let said = match crop.truth {
            Some(class) => json!({"prediction_id": id, "class_id": class}),
            None => json!({"prediction_id": id, "verdict": "right"}),
        };
        let receipt = server.raw("/feedback", said.to_string().as_bytes());
        assert_eq!(receipt.status, 200, "{}", receipt.text());
        id
    };
    taught.iter().map(teach).collect()
}

/// How many of the contradicted pictures a version answers as people do.
fn right(server: &Server, version: &str, taught: &[Crop]) -> usize {
    taught.iter().filter(|crop| crop.truth.is_some_and(|class| answer(server, version, crop) == class)).count()
}

#[test]
fn a_model_gets_better_with_use_and_nobody_is_refused_meanwhile() {
    let (data, versions, out) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (export, store) = (out.path().join("export"), text(versions.path()));
    let models = |words: &[&str]| run(&[&["models"], words, &["--model-store", store]].concat());
    let flags = ["--device", "cpu", "--data-dir", text(data.path()), "--image-sample-percent", "100", "--cache-bytes", "1MiB"];
    let start = || Server::start(&[&flags[..], &["--model-store", store]].concat());
    let taught = crops(&CONTRADICTED, &AGREED);
    let contradicted = taught.iter().filter(|crop| crop.truth.is_some()).count();
    let clients = Clients::new(start());
    std::thread::scope(|scope| {
        let stop = Stop(&clients.over);
        // One of them is contradicted, the other is not.
        for photo in ["photos/cat_451x300.jpg", "photos/flower_640x480.jpg"] {
            let clients = &clients;
            scope.spawn(move || clients.ask(photo));
        }
        // People contradict it, and the power goes.
        let acknowledged = clients.with(|server| {
            assert_eq!(right(server, "stable", &taught), 0, "the model says so by itself");
            teach(server, &taught)
        });
        clients.exchange(start);
        // What was acknowledged is there, and becomes what a training takes.
        run(&["feedback", "export", "--data-dir", text(data.path()), "--out", text(&export)]);
        let lines = std::fs::read_to_string(export.join("feedback.jsonl")).unwrap();
        for id in &acknowledged {
            let line = lines.lines().find(|line| line.contains(id.as_str())).unwrap_or_else(|| panic!("{id} is lost"));
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(line["image"].is_string(), "{line}");
        }
        assert_eq!(lines.lines().count(), acknowledged.len());
        clients.with(|server| {
            let accuracy = server.metric("kiln_feedback_accuracy", &["version=\"1\""]);
            let expected = 1.0 - contradicted as f64 / taught.len() as f64;
            assert!((accuracy - expected).abs() < 1e-6, "{accuracy} instead of {expected}");
        });
        let words = ["finetune", "--device", "cpu", "--from-feedback", text(&export), "--model-store", store];
        let told = run(&words);
        assert!(told.contains("kiln models canary"), "{told}");
        clients.with(|server| assert_eq!(served(server).len(), 1, "it was promoted by itself"));
        // It is compared in silence, tried by some, and answers all.
        clients.with(|server| {
            models(&["shadow", NAME, "2"]);
            for agrees in ["agrees=\"yes\"", "agrees=\"no\""] {
                until(server, agrees, || server.metric("kiln_shadow_compared_total", &["version=\"2\"", agrees]) > 0.0);
            }
            models(&["shadow", NAME, "--off"]);
            models(&["canary", NAME, "2", "--share", "50%"]);
            until(server, "a canary", || has(server, "2", "canary"));
            let learnt = right(server, "canary", &taught);
            assert!(learnt * 10 >= contradicted * 9, "{learnt} of {contradicted}: {told}");
            for crop in taught.iter().filter(|crop| crop.truth.is_none()) {
                assert_eq!(answer(server, "canary", crop), answer(server, "stable", crop), "{}", crop.name);
            }
            until(server, "answers of both", || clients.answers_of("1") > 0 && clients.answers_of("2") > 10);
            teach(server, &taught);
            models(&["promote", NAME, "2"]);
            until(server, "a new stable version", || has(server, "2", "stable"));
            assert_eq!(right(server, "stable", &taught), learnt);
            // Its accuracy by what people say is its own.
            teach(server, &taught);
            until(server, "a better accuracy", || server.metric("kiln_feedback_accuracy", &["version=\"2\""]) > 0.9);
            for (asked, version, is_better) in [("", "2", true), ("?version=2", "2", true), ("?version=1", "1", false)]
            {
                let summary = server.get(&format!("/feedback/summary{asked}")).json();
                assert_eq!(summary["model"]["version"], version, "{asked}: {summary}");
                assert_eq!(summary["accuracy"].as_f64().unwrap() > 0.9, is_better, "{asked}: {summary}");
            }
            models(&["rollback", NAME]);
            until(server, "the old stable version", || has(server, "1", "stable") && !has(server, "2", "stable"));
            assert_eq!(right(server, "stable", &taught), 0);
            // What was said of the other one is still known.
            let summary = server.get("/feedback/summary?version=2").json();
            assert!(summary["accuracy"].as_f64().unwrap() > 0.9, "{summary}");
            assert_eq!(server.get("/feedback/summary?version=9").code(), "unknown_version");
        });
        drop(stop);
    });
    let server = clients.into_server();
    let failed = |status: &str| server.metric("kiln_requests_total", &["predict", &format!("status=\"{status}\"")]);
    assert_eq!([failed("500"), failed("503"), failed("429")], [0.0; 3]);
    assert!(server.metric("kiln_cache_requests_total", &["outcome=\"hit\""]) > 0.0);
    server.terminate();
    assert!(server.wait().success());
}
