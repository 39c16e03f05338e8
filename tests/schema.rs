//! The server against its own OpenAPI document: schemathesis makes requests of it, well-formed and not, and judges the
//! answers. Exceptions and their reasons are in `tests/schema/schemathesis.toml`.
//!
//! It makes the same requests each time. Others, and more of them:
//! `KILN_TEST_SCHEMA_EXAMPLES=1000 cargo test --release --test schema -- --nocapture`
#![forbid(unsafe_code)]

mod common;

use std::process::Command;

use common::{KEY, Server, bytes, python};
use serde_json::Value;

/// Requests for each operation and each way of making them.
const EXAMPLES: &str = "50";

#[test]
fn the_server_does_what_its_document_says_whatever_is_sent() {
    let Some(python) = python("schemathesis") else { return };
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(&["--device", "cpu", "--data-dir", data.path().to_str().unwrap()]);
    let answer = server.raw("/predict/raw", &bytes("photos/cat_640x480.jpg")).json();
    let mut run = Command::new(python);
    run.args(["-m", "schemathesis.cli", "--config-file", "tests/schema/schemathesis.toml", "run", "--no-color"])
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
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    println!("{said}");
    assert!(output.status.success(), "{said}");
    every_operation_was_reached(&server);
    assert_eq!(server.get("/health/ready").status, 200);
}

/// An operation that only ever refuses would be tested by name alone, and a report without findings says nothing of it.
fn every_operation_was_reached(server: &Server) {
    let document = server.get("/openapi.json").json();
    let metrics = server.get("/metrics").text();
    let requests: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with("kiln_requests_total{") && !line.ends_with(" 0")).collect();
    let paths = document["paths"].as_object().expect("paths").values();
    let operations: Vec<&Value> = paths.flat_map(|path| path.as_object().expect("operations").values()).collect();
    assert!(operations.len() > 20, "{document}");
    for operation in operations {
        let name = operation["operationId"].as_str().expect("each operation has a name");
        let answered = |status: &str| {
            let label = format!("operation=\"{name}\",status=\"{status}\"");
            requests.iter().any(|line| line.contains(&label))
        };
        assert!(answered("200"), "{name} was never answered: {requests:#?}");
        assert!(operation["security"].is_null() || answered("401"), "{name} never asked for a key: {requests:#?}");
    }
    // Before it was ready it said so.
    let faults = requests.iter().filter(|line| line.contains(",status=\"5") && !line.contains("operation=\"ready\""));
    assert_eq!(faults.count(), 0, "{requests:#?}");
}
