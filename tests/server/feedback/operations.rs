//! The operations `/feedback` and `/feedback/summary`.

use serde_json::json;

use super::{CAT, COFFEE, EGYPTIAN_CAT, ESPRESSO, give, label, predict, serve};
use crate::common::{Answer, Server, key_file, keygen};

fn with_key(server: &Server, key: &str, body: &str) -> Answer {
    server.post("/feedback", &[("X-API-Key", key)], body.as_bytes())
}

#[test]
fn feedback_is_stored_summarized_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), &[]);
    let [cat, other_cat, coffee] = [CAT, CAT, COFFEE].map(|photo| predict(&server, photo));
    let stored = give(&server, &json!({"prediction_id": cat, "label": "Egyptian cat", "note": "asleep"}));
    assert_eq!(stored.status, 200, "{}", stored.text());
    let receipt = stored.json();
    assert_eq!(receipt["truth"], json!({"class_id": EGYPTIAN_CAT, "label": "Egyptian cat"}));
    assert_eq!((&receipt["verdict"], &receipt["replaced"]), (&json!("label"), &json!(false)));
    assert_eq!(receipt["model"]["name"], "efficientnet-lite0");
    assert_eq!(label(&server, &other_cat, 281).status, 200);
    let wrong = give(&server, &json!({"prediction_id": coffee, "verdict": "wrong"}));
    assert_eq!((wrong.status, wrong.json().get("truth")), (200, None));
    let summary = server.get("/feedback/summary").json();
    assert_eq!((&summary["evaluated"], &summary["total"]), (&json!(3), &json!(3)), "{summary}");
    assert_eq!((&summary["labelled"], &summary["rejected"]), (&json!(2), &json!(1)), "{summary}");
    assert!((summary["accuracy"].as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-9, "{summary}");
    assert_eq!(summary["confusions"][0]["truth"]["class_id"], 281, "{summary}");
    assert_eq!(summary["confusions"].as_array().unwrap().len(), 1, "{summary}");
    assert_eq!(summary["calibration"]["bins"].as_array().unwrap().len(), 10);
    assert!(summary["calibration"]["expected_error"].as_f64().is_some_and(|error| error > 0.0), "{summary}");
    assert_eq!(server.get("/feedback/summary?window=1").json()["evaluated"], 1);
    assert_eq!(server.get("/feedback/summary?model=nobody").code(), "unknown_model");
    // New feedback on the same prediction replaces the old one.
    let replacement = give(&server, &json!({"prediction_id": coffee, "verdict": "right"})).json();
    assert_eq!((&replacement["replaced"], &replacement["truth"]["class_id"]), (&json!(true), &json!(ESPRESSO)));
    let summary = server.get("/feedback/summary").json();
    assert!((summary["accuracy"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-9, "{summary}");
    let metrics = server.get("/metrics").text();
    let labels = "model=\"efficientnet-lite0\",version=\"1\"";
    for line in [
        format!("kiln_predictions_recorded_total{{{labels}}} 3"),
        format!("kiln_feedback_total{{{labels},verdict=\"label\"}} 2"),
        format!("kiln_feedback_total{{{labels},verdict=\"right\"}} 1"),
        format!("kiln_confidence_drift{{{labels}}} 0"),
        "kiln_records_dropped_total{what=\"feedback\",reason=\"failed\"} 0".to_string(),
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
}

#[test]
fn invalid_feedback_is_rejected_with_its_error_code() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), &[]);
    let id = predict(&server, CAT);
    let refused = |body: serde_json::Value| {
        let answer = give(&server, &body);
        (answer.status, answer.code())
    };
    let error = |status, code: &str| (status, code.to_string());
    let unknown = "01a210d2-a1b8-7393-9915-4b18e08932cf";
    assert_eq!(refused(json!({"prediction_id": unknown, "class_id": 1})), error(404, "unknown_prediction"));
    assert_eq!(refused(json!({"prediction_id": id, "class_id": 1000})), error(400, "unknown_class"));
    assert_eq!(refused(json!({"prediction_id": id, "label": "no such thing"})), error(400, "unknown_class"));
    for body in [
        json!({}),
        json!([]),
        json!({"prediction_id": "7", "class_id": 1}),
        json!({"prediction_id": id}),
        json!({"prediction_id": id, "class_id": 1, "verdict": "wrong"}),
        json!({"prediction_id": id, "verdict": "maybe"}),
        json!({"prediction_id": id, "verdict": "right", "lable": "cat"}),
        json!({"prediction_id": id, "verdict": "right", "note": "x".repeat(1001)}),
    ] {
        assert_eq!(refused(body.clone()), error(400, "malformed_request"), "{body}");
    }
    assert_eq!(server.raw("/feedback", b"{").code(), "malformed_request");
    assert_eq!(refused(json!({"prediction_id": id, "note": "x".repeat(20_000)})), error(413, "feedback_too_large"));
    assert_eq!(server.get("/feedback/summary").json()["evaluated"], 0);
}

#[test]
fn feedback_requires_the_feedback_scope() {
    let [predicting, judging] = ["predict", "feedback"].map(|scope| keygen(scope, &["--scope", scope]));
    let keys = key_file(&[&predicting, &judging]);
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), &["--keys", keys.path().to_str().unwrap()]);
    let id = predict(&server, CAT);
    let body = json!({"prediction_id": id, "verdict": "right"}).to_string();
    let refused = with_key(&server, &predicting.key, &body);
    assert_eq!((refused.status, refused.code().as_str()), (403, "scope_missing"));
    assert_eq!(with_key(&server, &judging.key, &body).status, 200);
    assert_eq!(server.post("/feedback", &[], body.as_bytes()).code(), "key_missing");
    let summary = |key: &str| server.get_with("/feedback/summary", &[("X-API-Key", key)]).status;
    assert_eq!((summary(&predicting.key), summary(&judging.key)), (403, 200));
}

#[test]
fn feedback_operations_do_not_exist_without_data_dir() {
    let server = Server::start(&["--device", "cpu"]);
    let id = predict(&server, CAT);
    assert_eq!(give(&server, &json!({"prediction_id": id, "verdict": "right"})).code(), "not_found");
    assert_eq!(server.get("/feedback/summary").code(), "not_found");
    assert!(!server.get("/openapi.json").text().contains("/feedback"));
    assert!(!server.get("/metrics").text().contains("kiln_feedback"));
}
