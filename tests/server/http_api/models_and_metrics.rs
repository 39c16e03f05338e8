//! Model metadata, metrics and their listener, and request ids.

use std::net::TcpListener;

use super::{CAT, server};
use crate::common::{Server, bytes, get, kiln, run_command};

#[test]
fn models_are_listed_with_labels_and_devices() {
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
fn metrics_count_requests_batches_and_phases() {
    let server = server();
    // Other tests use the same server, so counts are lower bounds.
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
fn request_id_of_the_client_is_used_only_if_it_is_valid() {
    let server = server();
    let request_id = |id: &str| {
        let answer = server.get_with("/health/live", &[("X-Request-Id", id)]);
        answer.header("x-request-id").unwrap().to_string()
    };
    assert_eq!(request_id("abc-123"), "abc-123");
    assert_ne!(request_id("with a space"), "with a space");
    assert_eq!(request_id(&"x".repeat(200)).len(), 36);
}

#[test]
fn metrics_listener_serves_only_metrics_and_the_main_one_none() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let server = Server::start(&["--device", "cpu", "--metrics-listen", &address]);
    assert_eq!(server.get("/metrics").code(), "not_found");
    assert!(server.get_without_key("/openapi.json").json()["paths"]["/metrics"].is_null());
    let get_at = |path: &str| get(&format!("http://{address}{path}"), &[]);
    let metrics = get_at("/metrics");
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().contains("kiln_ready 1"), "{}", metrics.text());
    assert_eq!(get_at("/models").status, 404, "the metrics listener serves another path");
}

#[test]
fn metrics_listener_and_metrics_authentication_exclude_each_other() {
    let flags = ["config", "check", "--metrics-auth", "--metrics-listen", "127.0.0.1:9"];
    let (status, _, stderr) = run_command(kiln().args(flags));
    assert!(status == 2 && stderr.contains("remove it or metrics-auth"), "{stderr}");
}
