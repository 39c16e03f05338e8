//! The whole feedback loop with real photos: predictions, corrections, a kill, export, fine-tuning, shadow, canary,
//! promotion and rollback, while clients send requests without a pause and none is rejected.

mod clients;
mod images;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{self, Server, Stop, kiln, run_command};
use clients::Clients;
use images::{Crop, crops};

const NAME: &str = "efficientnet-lite0";
/// Longer than a version takes to load on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Photos with the class that the feedback claims and the model does not predict: a tabby, a cup, a water tower for a rocket.
const CONTRADICTED: [(&str, u64); 3] =
    [("cat_640x480.jpg", 281), ("coffee_640x480.jpg", 968), ("rocket_640x480.jpg", 900)];
/// A photo with a confident prediction that the feedback confirms.
const CONFIRMED: [&str; 1] = ["flower_640x480.jpg"];

/// Runs `kiln` and returns its output. Panics if it fails.
fn run(arguments: &[&str]) -> String {
    let (status, stdout, stderr) = run_command(kiln().args(arguments));
    assert_eq!(status, 0, "{arguments:?}: {stderr}");
    stdout
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Waits until `holds` returns true.
#[track_caller]
fn until(server: &Server, what: &str, holds: impl Fn() -> bool) {
    let metrics_of_versions = || {
        let page = server.get_without_key("/metrics").text();
        let is_one = |line: &&str| line.starts_with("kiln_model_") || line.contains("version=\"");
        page.lines().filter(is_one).collect::<Vec<_>>().join("\n")
    };
    common::until(what, TIMEOUT, holds, metrics_of_versions);
}

/// Returns the loaded versions with their labels.
fn versions(server: &Server) -> Vec<(String, String)> {
    let versions = server.get(&format!("/models/{NAME}")).json()["versions"].as_array().unwrap().clone();
    let one = |version: &Value| (version["version"].as_str().unwrap().to_string(), version["labels"].to_string());
    versions.iter().map(one).collect()
}

fn has_label(server: &Server, version: &str, label: &str) -> bool {
    versions(server).iter().any(|(name, labels)| name == version && labels.contains(label))
}

/// Returns the class that a version predicts.
fn predicted(server: &Server, version: &str, crop: &Crop) -> u64 {
    let answer = server.raw(&format!("/predict/raw?version={version}"), &crop.png);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.top1()
}

/// Classifies each image and sends its feedback. Returns the ids of the acknowledged predictions.
fn teach(server: &Server, images: &[Crop]) -> Vec<String> {
    let teach = |crop: &Crop| {
        let answer = server.raw("/predict/raw", &crop.png);
        let id = answer.json()["prediction_id"].as_str().expect("an id").to_string();
        let feedback = match crop.truth {
            Some(class) => json!({"prediction_id": id, "class_id": class}),
            None => json!({"prediction_id": id, "verdict": "right"}),
        };
        let receipt = server.raw("/feedback", feedback.to_string().as_bytes());
        assert_eq!(receipt.status, 200, "{}", receipt.text());
        id
    };
    images.iter().map(teach).collect()
}

/// Returns how many contradicted images a version classifies as the feedback does.
fn corrected(server: &Server, version: &str, images: &[Crop]) -> usize {
    images.iter().filter(|crop| crop.truth.is_some_and(|class| predicted(server, version, crop) == class)).count()
}

/// The folders, images and clients of the test. Each method is one step, in the order of the test.
struct FeedbackLoop {
    data: TempDir,
    store: TempDir,
    out: TempDir,
    images: Vec<Crop>,
    contradicted: usize,
    clients: Clients,
}

impl FeedbackLoop {
    fn start() -> Self {
        let [data, store, out] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
        let images = crops(&CONTRADICTED, &CONFIRMED);
        let contradicted = images.iter().filter(|crop| crop.truth.is_some()).count();
        let clients = Clients::new(Self::serve(&data, &store));
        Self { data, store, out, images, contradicted, clients }
    }

    fn serve(data: &TempDir, store: &TempDir) -> Server {
        let flags = ["--device", "cpu", "--image-sample-percent", "100", "--cache-bytes", "1MiB"];
        let folders = ["--data-dir", text(data.path()), "--model-store", text(store.path())];
        Server::start(&[&flags[..], &folders].concat())
    }

    fn models(&self, arguments: &[&str]) -> String {
        run(&[&["models"], arguments, &["--model-store", text(self.store.path())]].concat())
    }

    /// The model contradicts the feedback. Returns the ids of the acknowledged predictions.
    fn give_feedback(&self) -> Vec<String> {
        self.clients.with(|server| {
            assert_eq!(corrected(server, "stable", &self.images), 0, "the model predicts the claimed class by itself");
            teach(server, &self.images)
        })
    }

    fn kill_and_restart(&self) {
        self.clients.replace_server(|| Self::serve(&self.data, &self.store));
    }

    /// The export has a line with an image for each acknowledged prediction, and no others.
    fn export(&self, acknowledged: &[String]) {
        let export = self.out.path().join("export");
        run(&["feedback", "export", "--data-dir", text(self.data.path()), "--out", text(&export)]);
        let lines = std::fs::read_to_string(export.join("feedback.jsonl")).unwrap();
        for id in acknowledged {
            let line = lines.lines().find(|line| line.contains(id.as_str())).unwrap_or_else(|| panic!("{id} is lost"));
            let line: Value = serde_json::from_str(line).unwrap();
            assert!(line["image"].is_string(), "{line}");
        }
        assert_eq!(lines.lines().count(), acknowledged.len());
    }

    /// The accuracy metric of version 1 survives the restart.
    fn check_accuracy_of_version_1(&self) {
        self.clients.with(|server| {
            let accuracy = server.metric("kiln_feedback_accuracy", &["version=\"1\""]);
            let expected = 1.0 - self.contradicted as f64 / self.images.len() as f64;
            assert!((accuracy - expected).abs() < 1e-6, "{accuracy} instead of {expected}");
        });
    }

    /// Fine-tuning adds version 2 without a label. Returns the output of the command.
    fn finetune(&self) -> String {
        let export = self.out.path().join("export");
        let store = text(self.store.path());
        let report = run(&["finetune", "--device", "cpu", "--from-feedback", text(&export), "--model-store", store]);
        assert!(report.contains("kiln models canary"), "{report}");
        self.clients.with(|server| assert_eq!(versions(server).len(), 1, "the new version was labelled by itself"));
        report
    }

    /// As a shadow, version 2 agrees on some images and disagrees on others.
    fn compare_as_shadow(&self) {
        self.clients.with(|server| {
            self.models(&["shadow", NAME, "2"]);
            for agrees in ["agrees=\"yes\"", "agrees=\"no\""] {
                until(server, agrees, || server.metric("kiln_shadow_compared_total", &["version=\"2\"", agrees]) > 0.0);
            }
            self.models(&["shadow", NAME, "--off"]);
        });
    }

    /// As a canary, version 2 predicts the corrected classes and agrees on the confirmed images. Returns the corrected count.
    fn try_as_canary(&self, report: &str) -> usize {
        self.clients.with(|server| {
            self.models(&["canary", NAME, "2", "--share", "50%"]);
            until(server, "a canary", || has_label(server, "2", "canary"));
            let learnt = corrected(server, "canary", &self.images);
            assert!(learnt * 10 >= self.contradicted * 9, "{learnt} of {}: {report}", self.contradicted);
            for crop in self.images.iter().filter(|crop| crop.truth.is_none()) {
                assert_eq!(predicted(server, "canary", crop), predicted(server, "stable", crop), "{}", crop.name);
            }
            let both_answer = || self.clients.answers_of("1") > 0 && self.clients.answers_of("2") > 10;
            until(server, "answers of both versions", both_answer);
            teach(server, &self.images);
            learnt
        })
    }

    /// After the promotion, version 2 is stable and has a better accuracy of its own.
    fn promote(&self, learnt: usize) {
        self.clients.with(|server| {
            self.models(&["promote", NAME, "2"]);
            until(server, "a new stable version", || has_label(server, "2", "stable"));
            assert_eq!(corrected(server, "stable", &self.images), learnt);
            teach(server, &self.images);
            until(server, "a better accuracy", || server.metric("kiln_feedback_accuracy", &["version=\"2\""]) > 0.9);
            for (query, version, is_better) in [("", "2", true), ("?version=2", "2", true), ("?version=1", "1", false)]
            {
                let summary = server.get(&format!("/feedback/summary{query}")).json();
                assert_eq!(summary["model"]["version"], version, "{query}: {summary}");
                assert_eq!(summary["accuracy"].as_f64().unwrap() > 0.9, is_better, "{query}: {summary}");
            }
        });
    }

    /// After the rollback, version 1 answers, and the feedback on version 2 is still available.
    fn roll_back(&self) {
        self.clients.with(|server| {
            self.models(&["rollback", NAME]);
            let is_back = || has_label(server, "1", "stable") && !has_label(server, "2", "stable");
            until(server, "the old stable version", is_back);
            assert_eq!(corrected(server, "stable", &self.images), 0);
            let summary = server.get("/feedback/summary?version=2").json();
            assert!(summary["accuracy"].as_f64().unwrap() > 0.9, "{summary}");
            assert_eq!(server.get("/feedback/summary?version=9").code(), "unknown_version");
        });
    }
}

#[test]
fn model_improves_with_feedback_and_no_request_fails_meanwhile() {
    let test = FeedbackLoop::start();
    std::thread::scope(|scope| {
        let stop = Stop(&test.clients.stopped);
        // One photo shows a contradicted class, the other a confirmed one.
        for photo in ["photos/cat_451x300.jpg", "photos/flower_640x480.jpg"] {
            let clients = &test.clients;
            scope.spawn(move || clients.run(photo));
        }
        let acknowledged = test.give_feedback();
        test.kill_and_restart();
        test.export(&acknowledged);
        test.check_accuracy_of_version_1();
        let report = test.finetune();
        test.compare_as_shadow();
        let learnt = test.try_as_canary(&report);
        test.promote(learnt);
        test.roll_back();
        drop(stop);
    });
    let server = test.clients.into_server();
    let failed = |status: &str| server.metric("kiln_requests_total", &["predict", &format!("status=\"{status}\"")]);
    assert_eq!([failed("500"), failed("503"), failed("429")], [0.0; 3]);
    assert!(server.metric("kiln_cache_requests_total", &["outcome=\"hit\""]) > 0.0);
    server.terminate();
    assert!(server.wait().success());
}
