//! Models with other outputs than single-label classes: multi-label models and embeddings, over HTTP, with an engine that returns
//! constant values.

use std::time::Duration;

use kiln_api as api;
use kiln_classifier::batching;
use kiln_inference::model::{Model, Task};
use kiln_inference::{Engine, EngineError, Logits, Sample};
use kiln_server as serve;
use serde_json::{Value, json};

use crate::common::{Answer, KEY, bytes, form_body, get, post};
use crate::in_process::{InProcess, Settings};

const VALUES: &[f32] = &[3.0, -4.0, 0.0];

struct ConstantEngine(&'static [f32]);

impl Engine for ConstantEngine {
    fn run(&mut self, batch: &[Sample]) -> Result<Vec<Logits>, EngineError> {
        Ok(batch.iter().map(|_| Logits::from(self.0)).collect())
    }
}

fn server(task: Task) -> InProcess {
    server_with(task, VALUES)
}

fn server_with(task: Task, values: &'static [f32]) -> InProcess {
    let model = Model::described_for_test(|spec| {
        (spec.task, spec.outputs) = (task, values.len());
        spec.labels.truncate(if task == Task::Embedding { 0 } else { values.len() });
    });
    let settings = Settings {
        serve: serve::Config::default(),
        api: api::Config { request_timeout: Duration::from_secs(60), ..api::Config::default() },
        batching: batching::Config::default(),
        decode_threads: 1,
        resizes: false,
        cache_bytes: 0,
    };
    let mut server = InProcess::loading(model, Box::new(ConstantEngine(values)), KEY, settings);
    server.open();
    server
}

fn send(server: &InProcess, path: &str) -> Answer {
    let url = format!("http://{}{path}", server.address);
    post(&url, &[("X-API-Key", KEY)], &bytes("photos/cat_451x300.jpg"))
}

/// Returns the class ids and the probabilities of a prediction.
fn classes(answer: &Answer) -> Vec<(u64, f64)> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    let class = |class: &Value| (class["class_id"].as_u64().unwrap(), class["probability"].as_f64().unwrap());
    body["predictions"].as_array().unwrap().iter().map(class).collect()
}

fn model_task(server: &InProcess) -> (Value, Value, Value) {
    let body = get(&format!("http://{}/models", server.address), &[("X-API-Key", KEY)]).json();
    let model = &body["models"][0];
    (model["task"].clone(), model["classes"].clone(), model["outputs"].clone())
}

#[test]
fn multi_label_model_returns_the_classes_above_the_threshold() {
    let server = server(Task::MultiLabel);
    assert_eq!(model_task(&server), (json!("multi-label"), json!(3), json!(3)));
    let found = classes(&send(&server, "/predict/raw"));
    assert!(found.len() == 2 && found[0].0 == 0 && (found[0].1 - 0.952_574).abs() < 1e-5, "{found:?}");
    assert_eq!(found[1], (2, 0.5));
    assert_eq!(classes(&send(&server, "/predict/raw?threshold=0.9")).len(), 1);
    assert_eq!(classes(&send(&server, "/predict/raw?threshold=0")).len(), 3);
    assert_eq!(classes(&send(&server, "/predict/raw?threshold=0&top_k=1")).len(), 1);
    assert!(classes(&send(&server, "/predict/raw?threshold=1")).is_empty());
    for wrong in ["-0.1", "1.1", "NaN", "x"] {
        let refused = send(&server, &format!("/predict/raw?threshold={wrong}"));
        assert_eq!((refused.status, refused.code().as_str()), (400, "malformed_request"), "{wrong}");
    }
    let refused = send(&server, "/embed/raw");
    assert_eq!((refused.status, refused.code().as_str()), (400, "model_returns_classes"));
}

#[test]
fn only_a_single_label_model_returns_five_classes_by_default() {
    const MANY: &[f32] = &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -7.0];
    let several = server_with(Task::MultiLabel, MANY);
    let ids = |found: Vec<(u64, f64)>| found.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(ids(classes(&send(&several, "/predict/raw"))), [5, 4, 3, 2, 1, 0]);
    assert_eq!(ids(classes(&send(&several, "/predict/raw?top_k=2"))), [5, 4]);
    let single = server_with(Task::SingleLabel, MANY);
    assert_eq!(ids(classes(&send(&single, "/predict/raw"))), [5, 4, 3, 2, 1]);
}

#[test]
fn embedding_model_returns_its_output_and_no_classes() {
    let server = server(Task::Embedding);
    assert_eq!(model_task(&server), (json!("embedding"), json!(0), json!(3)));
    let body = send(&server, "/embed/raw").json();
    let values: Vec<f64> = body["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    let is_near = |(value, expected): (&f64, f64)| (value - expected).abs() < 1e-6;
    assert!(values.iter().zip([0.6, -0.8, 0.0]).all(is_near), "{body}");
    assert_eq!((&body["dimensions"], &body["image"]["width"]), (&json!(3), &json!(451)));
    assert!(body["model"]["name"].is_string() && body["timings_ms"]["total"].is_number(), "{body}");
    let raw = send(&server, "/embed/raw?normalize=false").json();
    assert_eq!(raw["embedding"], json!([3.0, -4.0, 0.0]));
    let photo = bytes("photos/cat_451x300.jpg");
    let (content_type, form) = form_body(&[("file", "cat.jpg", &photo)]);
    let headers = [("X-API-Key", KEY), ("Content-Type", content_type)];
    let answer = post(&format!("http://{}/embed", server.address), &headers, &form);
    assert_eq!(answer.json()["embedding"], body["embedding"]);
    for path in ["/predict/raw", "/predict/raw?threshold=0.5"] {
        let refused = send(&server, path);
        assert_eq!((refused.status, refused.code().as_str()), (400, "model_returns_embeddings"));
    }
    assert_eq!(post(&format!("http://{}/embed/raw", server.address), &[], &photo).status, 401);
}
