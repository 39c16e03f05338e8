//! Export of spans: configuration, retries, and an unreachable collector.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::{predict, stop};
use crate::common::Server;
use crate::common::otlp_collector::Collector;

/// Exports spans almost immediately.
const EXPORT_AT_ONCE: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "50");

#[test]
fn opentelemetry_variables_set_endpoint_headers_and_resource() {
    let collector = Collector::new();
    let address = format!("{}/otlp/", collector.url);
    let variables = [
        EXPORT_AT_ONCE,
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hunter2,x-scope=a"),
        ("OTEL_SERVICE_NAME", "cats"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.instance.id=one"),
    ];
    let server = Server::start_with(&["--device", "cpu"], &variables);
    assert_eq!(predict(&server, &[]).status, 200);
    // The export arrives while the server runs.
    let export = collector.export();
    assert_eq!(export.path, "/otlp/v1/traces");
    for (name, value) in
        [("content-type", "application/x-protobuf"), ("authorization", "Bearer hunter2"), ("x-scope", "a")]
    {
        assert_eq!(export.header(name), Some(value), "{name}");
    }
    let resource = &export.spans()[0].resource;
    for (key, value) in
        [("service.name", "cats"), ("deployment.environment.name", "test"), ("service.instance.id", "one")]
    {
        assert_eq!(resource[key], value, "{key}");
    }
    assert!(!server.logged().iter().any(|line| line.contains("hunter2")));
}

#[test]
fn export_is_retried_after_503_and_429_but_not_after_400() {
    let collector = Collector::answering(&[503, 429]);
    let server = Server::start_with(&["--device", "cpu", "--otlp-endpoint", &collector.url], &[EXPORT_AT_ONCE]);
    assert_eq!(predict(&server, &[]).status, 200);
    let (first, second, third) = (collector.export(), collector.export(), collector.export());
    assert!(first.body == second.body && second.body == third.body);
    drop(server);

    let collector = Collector::answering(&[400]);
    let server = Server::start_with(&["--device", "cpu", "--otlp-endpoint", &collector.url], &[EXPORT_AT_ONCE]);
    assert_eq!(predict(&server, &[("x-request-id", "refused")]).status, 200);
    let lines = server.logged_until("spans dropped");
    assert!(lines.last().unwrap().contains("400"), "{lines:#?}");
    let refused = collector.export().spans();
    let rest = stop(server, &collector);
    assert!(rest.iter().all(|span| refused.iter().all(|other| other.ids != span.ids)), "{rest:#?}");
}

#[test]
fn unreachable_collector_delays_neither_requests_nor_shutdown() {
    // The first endpoint accepts connections and never responds; nothing listens on the second.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [silent.local_addr().unwrap(), closed] {
        let endpoint = format!("http://{address}");
        // A few requests fill this queue.
        let variables = [EXPORT_AT_ONCE, ("OTEL_BSP_MAX_QUEUE_SIZE", "8"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")];
        let server = Server::start_with(&["--device", "cpu", "--otlp-endpoint", &endpoint], &variables);
        for _ in 0..20 {
            let sent = Instant::now();
            assert_eq!(predict(&server, &[]).status, 200);
            // One export attempt takes up to ten seconds.
            assert!(sent.elapsed() < Duration::from_secs(5), "{:?} with {endpoint}", sent.elapsed());
        }
        server.terminate();
        let stopping = Instant::now();
        // The SDK logs the spans that did not fit into the queue.
        let lines = server.logged_until("stopped");
        assert!(lines.iter().any(|line| line.contains("dropped a Span due to queue full")), "{lines:#?}");
        assert!(server.wait().success());
        assert!(stopping.elapsed() < Duration::from_secs(6), "{:?} with {endpoint}", stopping.elapsed());
    }
}
