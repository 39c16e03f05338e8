//! Tests the server against its OpenAPI document: schemathesis generates valid and invalid requests and checks the responses.
//! `schemathesis.toml` lists the exceptions with their reasons.
//!
//! The generated requests are the same each time. More and random ones:
//! `KILN_TEST_SCHEMA_EXAMPLES=1000 cargo test --release --test clients schemathesis -- --nocapture`

use std::process::Command;

use crate::common::{KEY, Server, alone, bytes, output_text, python};
use serde_json::Value;

/// Requests per operation and generation mode.
const EXAMPLES: &str = "50";

#[test]
fn responses_conform_to_the_openapi_document() {
    let _alone = alone();
    let Some(python) = python("schemathesis") else { return };
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(&["--device", "cpu", "--data-dir", data.path().to_str().unwrap()]);
    let answer = server.raw("/predict/raw", &bytes("photos/cat_640x480.jpg")).json();
    let mut run = Command::new(python);
    run.args([
        "-m",
        "schemathesis.cli",
        "--config-file",
        "tests/clients/schemathesis/schemathesis.toml",
        "run",
        "--no-color",
    ])
    .arg(format!("{}/openapi.json", server.url))
    .env("KILN_API_KEY", KEY)
    .env("KILN_PREDICTION_ID", answer["prediction_id"].as_str().expect("an id"))
    .env("HYPOTHESIS_STORAGE_DIRECTORY", env!("CARGO_TARGET_TMPDIR"))
    .env("NO_PROXY", "127.0.0.1");
    match std::env::var("KILN_TEST_SCHEMA_EXAMPLES") {
        Ok(examples) => run.args(["--max-examples", &examples]),
        Err(_) => run.args(["--generation-deterministic", "--max-examples", EXAMPLES]),
    };
    let output = run.output().expect("Python starts");
    let report = output_text(&output);
    println!("{report}");
    assert!(output.status.success(), "{report}");
    assert_every_operation_succeeded(&server);
    assert_eq!(server.get("/health/ready").status, 200);
}

/// Operations that this server cannot serve; schemathesis.toml leaves them out.
const NOT_SERVED: [&str; 4] = ["embed", "embed_raw", "oip_repository_load", "oip_repository_unload"];

/// Asserts that each operation succeeded at least once: an operation that rejects all requests would not be tested.
fn assert_every_operation_succeeded(server: &Server) {
    let document = server.get("/openapi.json").json();
    let metrics = server.get("/metrics").text();
    let requests: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with("kiln_requests_total{") && !line.ends_with(" 0")).collect();
    let paths = document["paths"].as_object().expect("paths").values();
    let operations: Vec<&Value> = paths.flat_map(|path| path.as_object().expect("operations").values()).collect();
    assert!(operations.len() > 20, "{document}");
    for operation in operations {
        let name = operation["operationId"].as_str().expect("each operation has a name");
        if NOT_SERVED.contains(&name) {
            continue;
        }
        let answered = |status: &str| {
            let label = format!("operation=\"{name}\",status=\"{status}\"");
            requests.iter().any(|line| line.contains(&label))
        };
        assert!(answered("200"), "{name} never returned 200: {requests:#?}");
        assert!(operation["security"].is_null() || answered("401"), "{name} never returned 401: {requests:#?}");
    }
    // The starting server returned 503 for the readiness probe, and short timeouts passed in the queue.
    let is_expected = |line: &str| line.contains("operation=\"ready\"") || line.contains("outcome=\"deadline_passed\"");
    let faults = requests.iter().filter(|line| line.contains(",status=\"5") && !is_expected(line));
    assert_eq!(faults.count(), 0, "{requests:#?}");
}
