//! How spans get to the collector, and what happens when they do not.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::collector::Collector;
use super::common::Server;
use super::{end, predict};

/// Spans leave at once.
const AT_ONCE: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "50");

#[test]
fn spans_are_sent_where_the_variables_of_opentelemetry_say_and_with_their_headers() {
    let collector = Collector::new();
    let address = format!("{}/otlp/", collector.url);
    let variables = [
        AT_ONCE,
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hunter2,x-scope=a"),
        ("OTEL_SERVICE_NAME", "cats"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.instance.id=one"),
    ];
    let server = Server::start_with(&["--device", "cpu"], &variables);
    assert_eq!(predict(&server, &[]).status, 200);
    // While it serves, not only at its end.
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
fn what_a_collector_cannot_take_now_is_sent_again_and_what_it_refuses_is_not() {
    let collector = Collector::answering(&[503, 429]);
    let server = Server::start_with(&["--device", "cpu", "--otlp-endpoint", &collector.url], &[AT_ONCE]);
    assert_eq!(predict(&server, &[]).status, 200);
    let (first, second, third) = (collector.export(), collector.export(), collector.export());
    assert!(first.body == second.body && second.body == third.body);
    drop(server);

    let collector = Collector::answering(&[400]);
    let server = Server::start_with(&["--device", "cpu", "--otlp-endpoint", &collector.url], &[AT_ONCE]);
    assert_eq!(predict(&server, &[("x-request-id", "refused")]).status, 200);
    let lines = server.logged_until("spans are lost");
    assert!(lines.last().unwrap().contains("400"), "{lines:#?}");
    let refused = collector.export().spans();
    let rest = end(server, &collector);
    assert!(rest.iter().all(|span| refused.iter().all(|other| other.ids != span.ids)), "{rest:#?}");
}

#[test]
fn a_collector_that_is_dead_costs_no_request_anything_and_does_not_hold_up_the_end() {
    // One takes connections and never answers, at the other there is nobody.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [silent.local_addr().unwrap(), nobody] {
        let endpoint = format!("http://{address}");
        // A queue that a few requests fill.
        let variables = [AT_ONCE, ("OTEL_BSP_MAX_QUEUE_SIZE", "8"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")];
        let server = Server::start_with(&["--device", "cpu", "--otlp-endpoint", &endpoint], &variables);
        for _ in 0..20 {
            let asked = Instant::now();
            assert_eq!(predict(&server, &[]).status, 200);
            // A try takes up to ten seconds.
            assert!(asked.elapsed() < Duration::from_secs(5), "{:?} with {endpoint}", asked.elapsed());
        }
        server.terminate();
        let ending = Instant::now();
        // Told by who counts what does not fit the queue, and by who sends.
        let lines = server.logged_until("stopped");
        assert!(lines.iter().any(|line| line.contains("dropped a Span due to queue full")), "{lines:#?}");
        assert!(server.wait().success());
        assert!(ending.elapsed() < Duration::from_secs(6), "{:?} with {endpoint}", ending.elapsed());
    }
}
