//! The whole server over a real socket: the real binary, the real model, real pictures.
#![forbid(unsafe_code)]

mod common;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use common::{Answer, KEY, Server, bytes, form_body, read};
use serde_json::Value;

const CAT: &str = "photos/cat_640x480.jpg";
const CATS: std::ops::RangeInclusive<u64> = 281..=285;

/// One server for every test that runs at the time; it ends with the last of them.
fn server() -> Arc<Server> {
    static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let arguments = ["--device", "cpu", "--max-body-bytes", "1MiB", "--max-pixels", "400000"];
        let server = Arc::new(Server::start(&arguments));
        *shared = Arc::downgrade(&server);
        server
    })
}

fn predictions(answer: &Value) -> Vec<(u64, f64)> {
    let predictions = answer["predictions"].as_array().unwrap();
    predictions.iter().map(|p| (p["class_id"].as_u64().unwrap(), p["probability"].as_f64().unwrap())).collect()
}

#[test]
fn a_photo_of_a_cat_is_a_cat_by_form_and_by_raw_body() {
    let server = server();
    let by_form = server.predict("/predict", "cat.jpg", &bytes(CAT));
    assert!(CATS.contains(&by_form.top1()), "{}", by_form.text());
    let by_body = server.raw("/predict/raw", &bytes(CAT));
    let (form, body) = (by_form.json(), by_body.json());
    // Rows of batches of different sizes are added up in another order: nearly the same, not exactly.
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
fn each_answer_tells_where_its_time_went() {
    let server = server();
    let names = |answer: &common::Answer| -> Vec<String> {
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
    assert_eq!(names(&server.raw("/predict/raw", b"no picture")), ["total"]);
    let two = server.form("/predict/batch", &[("files", "cat.jpg", &bytes(CAT)), ("files", "none.jpg", b"no picture")]);
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
fn the_magic_bytes_decide_what_a_picture_is() {
    let server = server();
    let answer = server.predict("/predict", "really_a_png.jpg", &bytes("variants/cat.png"));
    assert_eq!(answer.json()["image"]["format"], "png");
    for content_type in ["image/jpeg; charset=utf-8", "application/x-www-form-urlencoded", "text/plain", "nonsense"] {
        let request = Server::agent().post(format!("{}/predict/raw", server.url)).header("X-API-Key", KEY);
        let answer = read(request.header("Content-Type", content_type).send(&bytes("variants/cat.gif")[..]));
        assert_eq!(answer.status, 200, "{content_type}: {}", answer.text());
        assert_eq!(answer.json()["image"]["format"], "gif");
    }
    for name in ["blob", "", "CAT.JPEG"] {
        assert_eq!(server.predict("/predict", name, &bytes(CAT)).status, 200, "{name:?}");
    }
}

#[test]
fn a_bad_picture_does_not_spoil_the_others_of_a_batch() {
    let server = server();
    let (cat, coffee) = (bytes(CAT), bytes("photos/coffee_640x480.jpg"));
    let files: [(&str, &str, &[u8]); 4] = [
        ("files", "cat.jpg", &cat),
        ("files", "bad.jpg", b"no picture"),
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

#[test]
fn the_key_guards_what_it_should_and_nothing_else() {
    let server = server();
    for path in ["/models", "/models/efficientnet-lite0"] {
        let refused = server.get_without_key(path);
        assert_eq!((refused.status, refused.code().as_str()), (401, "key_missing"), "{path}");
        assert!(refused.header("www-authenticate").is_some());
    }
    for path in ["/predict", "/predict/raw", "/predict/batch"] {
        let (content_type, body) = form_body(&[("file", "cat.jpg", b"x")]);
        let request = Server::agent().post(format!("{}{path}", server.url)).header("Content-Type", content_type);
        let refused = read(request.header("X-API-Key", "kiln_wrong-key-of-the-tests").send(&body[..]));
        assert_eq!((refused.status, refused.code().as_str()), (401, "key_invalid"), "{path}");
    }
    let bearer = Server::agent().get(format!("{}/models", server.url)).header("Authorization", format!("Bearer {KEY}"));
    assert_eq!(read(bearer.call()).status, 200);
    for path in ["/", "/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json", "/openapi.yaml"] {
        assert_eq!(server.get_without_key(path).status, 200, "{path}");
    }
}

#[test]
fn every_error_has_its_status_and_its_code() {
    let server = server();
    let check = |answer: Answer, status: u16, code: &str| {
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text());
        answer
    };
    let one = |name: &str, bytes: &[u8]| server.predict("/predict", name, bytes);
    check(server.get("/nothing"), 404, "not_found");
    let wrong_method = check(server.get("/predict"), 405, "method_not_allowed");
    assert_eq!(wrong_method.header("allow"), Some("POST"));
    check(one("cat.exe", &bytes(CAT)), 415, "extension_not_accepted");
    check(one("cat.jpg", b"not a picture"), 415, "unknown_format");
    check(one("cat", &bytes("variants/cat.webp")), 415, "format_not_accepted");
    check(one("cat.jpg", b""), 400, "malformed_request");
    check(one("cat.jpg", &bytes(CAT)[..20_000]), 422, "undecodable_image");
    check(one("cat.png", &bytes("variants/cat.png")[..20_000]), 422, "undecodable_image");
    check(server.form("/predict", &[("other", "cat.jpg", b"x")]), 400, "malformed_request");
    check(server.raw("/predict", b"{}"), 415, "content_type_not_supported");
    check(server.raw("/predict/raw", b""), 400, "malformed_request");
    check(server.predict("/predict?model=nobody", "cat.jpg", &bytes(CAT)), 404, "unknown_model");
    check(server.predict("/predict?version=99", "cat.jpg", &bytes(CAT)), 404, "unknown_version");
    check(server.get("/models/nobody"), 404, "unknown_model");
    check(server.raw("/predict/raw", &vec![0xff; 1_100_000]), 413, "body_too_large");
    let mut large = bytes("photos/cat_451x300.jpg");
    let frame = large.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    large[frame + 5..frame + 9].copy_from_slice(&[0x03, 0xff, 0x03, 0xff]);
    check(server.raw("/predict/raw", &large), 413, "too_many_pixels");
}

#[test]
fn a_body_without_a_length_is_bounded_too() {
    let server = server();
    let piece = vec![0xff; 64 << 10];
    let endless = std::iter::repeat_n(piece, 32).flatten().collect::<Vec<u8>>();
    let mut reader = std::io::Cursor::new(endless);
    let request = Server::agent().post(format!("{}/predict/raw", server.url)).header("X-API-Key", KEY);
    let refused = read(request.send(ureq::SendBody::from_reader(&mut reader)));
    assert_eq!((refused.status, refused.code().as_str()), (413, "body_too_large"));
}

#[test]
fn a_request_id_is_taken_from_the_client_only_if_it_is_fit_for_a_log() {
    let server = server();
    let ask = |id: &str| {
        let answer = read(Server::agent().get(format!("{}/health/live", server.url)).header("X-Request-Id", id).call());
        answer.header("x-request-id").unwrap().to_string()
    };
    assert_eq!(ask("abc-123"), "abc-123");
    assert_ne!(ask("with a space"), "with a space");
    assert_eq!(ask(&"x".repeat(200)).len(), 36);
}

#[test]
fn the_document_lists_every_operation_with_both_keys_and_its_errors() {
    let server = server();
    let spec = server.get_without_key("/openapi.json").json();
    let operations = ["/predict", "/predict/raw", "/predict/batch"].map(|path| &spec["paths"][path]["post"]);
    for operation in operations {
        let schemes: Vec<&String> =
            operation["security"].as_array().unwrap().iter().flat_map(|s| s.as_object().unwrap().keys()).collect();
        assert_eq!(schemes, ["ApiKey", "Bearer"]);
        for status in ["200", "400", "401", "404", "408", "413", "415", "422", "429", "500", "503"] {
            assert!(
                operation["responses"][status]["content"]["application/json; charset=utf-8"].is_object(),
                "{status}"
            );
        }
        for (status, header) in [("401", "WWW-Authenticate"), ("429", "Retry-After"), ("503", "Retry-After")] {
            let headers = &operation["responses"][status]["headers"];
            assert!(headers[header].is_object() && headers["X-Request-Id"].is_object(), "{status}: {headers}");
        }
    }
    let raw: Vec<&String> =
        spec["paths"]["/predict/raw"]["post"]["requestBody"]["content"].as_object().unwrap().keys().collect();
    assert_eq!(raw.len(), 4, "{raw:?}");
    for path in ["/models", "/models/{name}", "/health/live", "/health/ready", "/metrics"] {
        assert!(spec["paths"][path]["get"].is_object(), "{path}");
    }
    assert!(server.get_without_key("/openapi.yaml").text().starts_with("openapi: 3"));
    assert!(server.get_without_key("/docs").text().contains("SwaggerUIBundle"));
}

#[test]
fn the_pages_are_whole_and_only_to_be_read() {
    let server = server();
    for (path, start) in [("/docs", "<"), ("/docs/", "<"), ("/openapi.json", "{"), ("/openapi.yaml", "openapi:")] {
        let page = server.get(path);
        assert!(page.status == 200 && page.text().trim_start().starts_with(start), "{path}");
        let refused = common::read(Server::agent().post(format!("{}{path}", server.url)).send(&b""[..]));
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{path}");
    }
}

#[test]
fn models_are_described() {
    let server = server();
    let answer = server.get("/models").json();
    let model = answer["models"].as_array().unwrap().iter().find(|model| model["default"] == true).unwrap();
    assert_eq!(model["name"], "efficientnet-lite0");
    assert_eq!(model["devices"][0]["name"], "CPU");
    assert!(model["labels"].is_null());
    let model = server.get("/models/efficientnet-lite0").json();
    assert_eq!(model["labels"].as_array().unwrap().len(), 1000);
    assert_eq!(model["labels"][285], "Egyptian cat");
}

#[test]
fn metrics_count_what_happened() {
    let server = server();
    // Whatever the labels: other tests use the same server.
    let value = |name: &str| server.metric(name, &[]);
    let answered = || server.metric("kiln_requests_total", &[r#"{operation="predict_raw",status="200",outcome="ok"}"#]);
    let before = answered();
    for _ in 0..3 {
        server.raw("/predict/raw", &bytes(CAT)).top1();
    }
    assert!(answered() >= before + 3.0);
    for phase in
        ["receive", "decode_wait", "decode", "preprocess", "queue", "batch_wait", "device", "postprocess", "total"]
    {
        let labels = format!(r#"{{model="efficientnet-lite0",phase="{phase}"}}"#);
        assert!(server.metric("kiln_phase_duration_seconds_count", &[&labels]) >= 3.0, "{phase}");
    }
    let nv = |name: &str| value(&format!("nv_inference_{name}"));
    assert!(nv("request_success") >= 3.0 && nv("count") >= nv("exec_count") && nv("exec_count") >= 1.0);
    let parts = ["queue", "compute_input", "compute_infer", "compute_output"];
    let parts: f64 = parts.iter().map(|part| nv(&format!("{part}_duration_us"))).sum();
    assert!(parts > 0.0 && parts <= nv("request_duration_us"));
    let reasons = value("kiln_batches_total");
    assert!(reasons >= 1.0 && value("kiln_batch_duration_seconds_count") >= 1.0);
    assert!(value("process_resident_memory_bytes") > 1e7 && value("process_open_fds") > 3.0);
    assert!(value("kiln_batch_size_count") >= 1.0);
    let text = server.get_without_key("/metrics").text();
    assert!(text.contains("kiln_request_duration_seconds_bucket{operation=\"predict_raw\",le=\"0.0001\"}"), "{text}");
    assert!(text.contains("kiln_queue_depth{model=\"efficientnet-lite0\"} "), "{text}");
    assert!(text.contains("kiln_readiness{state=\"ready\"} 1"), "{text}");
}

#[test]
fn the_document_is_the_same_from_json_and_yaml() {
    let server = server();
    let json: Value = server.get_without_key("/openapi.json").json();
    let yaml = server.get_without_key("/openapi.yaml").text();
    for path in json["paths"].as_object().unwrap().keys() {
        assert!(yaml.contains(&format!("  {path}:\n")), "{path}");
    }
}
