//! Predictions by form, raw body and batch.

use serde_json::Value;

use super::{CAT, server};
use crate::common::{Answer, KEY, Server, bytes};

const CATS: std::ops::RangeInclusive<u64> = 281..=285;

fn predictions(answer: &Value) -> Vec<(u64, f64)> {
    let predictions = answer["predictions"].as_array().unwrap();
    predictions.iter().map(|p| (p["class_id"].as_u64().unwrap(), p["probability"].as_f64().unwrap())).collect()
}

#[test]
fn form_and_raw_body_give_the_same_predictions_and_all_metadata() {
    let server = server();
    let by_form = server.predict("/predict", "cat.jpg", &bytes(CAT));
    assert!(CATS.contains(&by_form.top1()), "{}", by_form.text());
    let by_body = server.raw("/predict/raw", &bytes(CAT));
    let (form, body) = (by_form.json(), by_body.json());
    // Batches of different sizes sum in a different order, so probabilities are nearly but not exactly equal.
    for (one, other) in predictions(&form).into_iter().zip(predictions(&body)) {
        assert_eq!(one.0, other.0);
        assert!((one.1 - other.1).abs() < 1e-4, "{one:?} and {other:?}");
    }
    assert_ne!(form["prediction_id"], body["prediction_id"]);
    assert_eq!(form["image"], serde_json::json!({"format": "jpeg", "width": 640, "height": 480}));
    assert_eq!(form["model"]["name"], "efficientnet-lite0");
    assert!(form["model"]["digest"].as_str().unwrap().starts_with("sha256:ee68ba6a"));
    assert_eq!(form["predictions"].as_array().unwrap().len(), 5);
    let timings = &form["timings_ms"];
    let part = |name: &str| timings[name].as_f64().unwrap();
    let all = timings.as_object().unwrap().iter();
    let (phases, total): (Vec<_>, Vec<_>) = all.partition(|(name, _)| *name != "total");
    assert!(phases.len() == 8 && phases.iter().all(|(_, took)| took.as_f64() > Some(0.0)), "{timings}");
    let sum: f64 = phases.iter().map(|(_, took)| took.as_f64().unwrap()).sum();
    assert!((sum - part("total")).abs() < 0.01 && total.len() == 1, "{timings}");
}

#[test]
fn truncated_image_is_classified_and_marked_if_the_server_accepts_it() {
    let server = Server::start(&["--device", "cpu", "--truncated", "accept"]);
    let whole = bytes(CAT);
    let answer = server.raw("/predict/raw", &whole[..whole.len() * 9 / 10]);
    assert!(CATS.contains(&answer.top1()), "{}", answer.text());
    let image = &answer.json()["image"];
    assert_eq!(image, &serde_json::json!({"format": "jpeg", "width": 640, "height": 480, "truncated": true}));
    assert_eq!(server.raw("/predict/raw", &whole).json()["image"].get("truncated"), None);
    // Nothing is decoded of the header alone.
    let refused = server.raw("/predict/raw", &whole[..100]);
    assert_eq!((refused.status, refused.code().as_str()), (422, "undecodable_image"));
    let document = server.get_without_key("/openapi.json").json();
    let field = &document["components"]["schemas"]["ImageBody"]["properties"]["truncated"];
    assert_eq!(field["type"], "boolean", "{field}");
}

#[test]
fn server_timing_header_lists_the_phases() {
    let server = server();
    let names = |answer: &Answer| -> Vec<String> {
        let header = answer.header("Server-Timing").expect("the header");
        header.split(", ").map(|entry| entry.split(";dur=").next().unwrap().to_string()).collect()
    };
    let phases =
        ["receive", "decode_wait", "decode", "preprocess", "queue", "batch_wait", "device", "postprocess", "total"];
    let answer = server.raw("/predict/raw", &bytes(CAT));
    assert_eq!(names(&answer), phases);
    let header = answer.header("Server-Timing").unwrap();
    let ms = |name: &str| -> f64 {
        let entries = header.split(", ").filter_map(|entry| entry.split_once(";dur="));
        entries.filter(|(found, _)| *found == name).map(|(_, ms)| ms.parse::<f64>().unwrap()).sum()
    };
    assert!((ms("device") - answer.json()["timings_ms"]["device"].as_f64().unwrap()).abs() < 0.002, "{header}");
    assert!(ms("total") >= ms("device") + ms("decode"), "{header}");
    assert_eq!(names(&server.get_without_key("/health/live")), ["total"]);
    assert_eq!(names(&server.raw("/predict/raw", b"no image")), ["total"]);
    let two = server.form("/predict/batch", &[("files", "cat.jpg", &bytes(CAT)), ("files", "none.jpg", b"no image")]);
    assert_eq!(names(&two), phases);
}

#[test]
fn top_k_is_bounded_and_probabilities_descend() {
    let server = server();
    let answer = server.predict("/predict?top_k=100", "cat.jpg", &bytes(CAT));
    let probabilities: Vec<f64> = answer.json()["predictions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|prediction| prediction["probability"].as_f64().unwrap())
        .collect();
    assert_eq!(probabilities.len(), 100);
    assert!(probabilities.is_sorted_by(|a, b| a >= b) && probabilities.iter().sum::<f64>() <= 1.0001);
    for top_k in ["0", "101", "-1", "many"] {
        let refused = server.predict(&format!("/predict?top_k={top_k}"), "cat.jpg", &bytes(CAT));
        assert_eq!((refused.status, refused.code().as_str()), (400, "malformed_request"), "{top_k}");
    }
}

#[test]
fn format_is_detected_by_magic_bytes() {
    let server = server();
    let answer = server.predict("/predict", "really_a_png.jpg", &bytes("variants/cat.png"));
    assert_eq!(answer.json()["image"]["format"], "png");
    for content_type in ["image/jpeg; charset=utf-8", "application/x-www-form-urlencoded", "text/plain", "nonsense"] {
        let headers = [("X-API-Key", KEY), ("Content-Type", content_type)];
        let answer = server.post("/predict/raw", &headers, &bytes("variants/cat.gif"));
        assert_eq!(answer.status, 200, "{content_type}: {}", answer.text());
        assert_eq!(answer.json()["image"]["format"], "gif");
    }
    for name in ["blob", "", "CAT.JPEG"] {
        assert_eq!(server.predict("/predict", name, &bytes(CAT)).status, 200, "{name:?}");
    }
}

#[test]
fn invalid_image_of_a_batch_does_not_affect_the_others() {
    let server = server();
    let (cat, coffee) = (bytes(CAT), bytes("photos/coffee_640x480.jpg"));
    let files: [(&str, &str, &[u8]); 4] = [
        ("files", "cat.jpg", &cat),
        ("files", "bad.jpg", b"no image"),
        ("files", "x.exe", &cat),
        ("files", "coffee.jpg", &coffee),
    ];
    let answer = server.form("/predict/batch", &files);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    let results = body["results"].as_array().unwrap();
    assert_eq!(results.iter().map(|r| r["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(CATS.contains(&results[0]["result"]["predictions"][0]["class_id"].as_u64().unwrap()));
    assert_eq!(results[1]["error"]["code"], "unknown_format");
    assert_eq!(results[2]["error"]["code"], "extension_not_accepted");
    assert_eq!(results[3]["result"]["predictions"][0]["class_id"], 967, "espresso");
    let many: Vec<(&str, &str, &[u8])> = (0..33).map(|_| ("files", "a.jpg", b"x".as_slice())).collect();
    let refused = server.form("/predict/batch", &many);
    assert_eq!((refused.status, refused.code().as_str()), (413, "too_many_files"));
}
