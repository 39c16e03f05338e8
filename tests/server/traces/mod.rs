//! Traces end to end: the real server exports spans to a collector in the test.

mod export;
mod protobuf;
mod trace_context;

use std::collections::BTreeSet;

use crate::common::otlp_collector::{Collector, Span};
use crate::common::{Answer, KEY, Server, bytes};

const PHOTO: &str = "photos/cat_640x480.jpg";
/// The phases of an image in their order.
const PHASES: [&str; 8] =
    ["receive", "decode_wait", "decode", "preprocess", "queue", "batch_wait", "device", "postprocess"];

/// Starts a server that exports its spans to `collector`.
fn server(collector: &Collector, more: &[&str]) -> Server {
    Server::start(&[&["--device", "cpu", "--otlp-endpoint", &collector.url], more].concat())
}

/// Sends a photo to `/predict/raw` with more headers.
fn predict(server: &Server, headers: &[(&str, &str)]) -> Answer {
    server.post("/predict/raw", &[&[("X-API-Key", KEY)], headers].concat(), &bytes(PHOTO))
}

/// Stops the server and returns all remaining spans.
fn stop(server: Server, collector: &Collector) -> Vec<Span> {
    server.terminate();
    assert!(server.wait().success());
    collector.spans()
}

/// Returns a trace id and a span id of a caller.
fn caller(number: u64) -> (String, String) {
    (format!("{:032x}", 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_0000_u128 + u128::from(number)), format!("{number:016x}"))
}

fn of_trace<'a>(spans: &'a [Span], trace: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.ids.trace == trace).collect()
}

#[test]
fn request_span_is_a_child_of_the_caller_with_phases_and_batch_links() {
    let collector = Collector::new();
    let server = server(&collector, &[]);
    let callers: Vec<(String, String)> = (1..=12).map(caller).collect();
    std::thread::scope(|scope| {
        for (trace, span) in &callers {
            let (server, parent) = (&server, format!("00-{trace}-{span}-01"));
            scope.spawn(move || predict(server, &[("traceparent", &parent), ("tracestate", "rojo=1")]).top1());
        }
    });
    let spans = stop(server, &collector);
    let mut requests = BTreeSet::new();
    for (trace, parent) in &callers {
        let mut spans = of_trace(&spans, trace);
        spans.sort_by_key(|span| (span.kind != 2, span.start));
        let (request, phases) = spans.split_first().expect("the request has a span");
        assert_eq!((request.name.as_str(), request.kind, &request.parent), ("POST /predict/raw", 2, parent));
        // Flags: sampled, with a remote parent.
        assert_eq!((request.state.as_str(), request.flags, request.status), ("rojo=1", 0x301, 0));
        assert_eq!(phases.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), PHASES);
        let mut before = request.start;
        for phase in phases {
            assert_eq!((&phase.parent, phase.kind, phase.flags), (&request.ids.span, 1, 0x101));
            assert!(before <= phase.start && phase.start < phase.end, "{phase:#?} before {before}");
            before = phase.end;
        }
        assert!(before <= request.end, "{request:#?} ends before {before}");
        requests.insert(request.ids.clone());
    }
    let batches: Vec<&Span> = spans.iter().filter(|span| span.name == "batch").collect();
    assert!(batches.iter().all(|batch| batch.parent.is_empty()), "{batches:#?}");
    let linked: Vec<_> = batches.iter().flat_map(|batch| batch.links.clone()).collect();
    assert_eq!(linked.len(), callers.len(), "each request has one image");
    assert_eq!(linked.into_iter().collect::<BTreeSet<_>>(), requests);
    for batch in batches {
        assert_eq!(batch.number("kiln.batch.size"), batch.links.len() as u64);
        assert_eq!(batch.number("kiln.batch.padded_size"), batch.links.len() as u64, "a CPU needs no padding");
        assert_eq!(batch.attributes["kiln.model"], "efficientnet-lite0");
        for link in &batch.links {
            let request = spans.iter().find(|span| span.ids == *link).unwrap();
            assert!(request.start <= batch.start && batch.start < batch.end, "{batch:#?}");
        }
    }
}

#[test]
fn request_span_has_http_and_kiln_attributes() {
    let collector = Collector::new();
    let server = server(&collector, &[]);
    let answer = predict(&server, &[("x-request-id", "the-cat")]);
    assert_eq!(answer.status, 200);
    assert_eq!(server.predict("/predict?model=nobody", "cat.jpg", &bytes(PHOTO)).status, 404);
    assert_eq!(server.get("/nowhere").status, 404);
    let spans = stop(server, &collector);
    let of = |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name} in {spans:#?}"));
    let request = of("POST /predict/raw");
    for (key, value) in [
        ("http.request.method", "POST"),
        ("url.path", "/predict/raw"),
        ("http.route", "/predict/raw"),
        ("http.response.status_code", "200"),
        ("kiln.operation", "predict_raw"),
        ("kiln.outcome", "ok"),
        ("kiln.request_id", "the-cat"),
    ] {
        assert_eq!(request.attributes.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert!(request.parent.is_empty() && request.scope == "kiln");
    let refused = of("POST /predict");
    assert_eq!(refused.attributes["kiln.outcome"], "unknown_model");
    // Semantic conventions: a client error is not an error of the server span.
    assert_eq!((refused.status, refused.attributes.get("error.type")), (0, None));
    assert!(!of("GET").attributes.contains_key("http.route"));
    let resource = &request.resource;
    assert_eq!((resource["service.name"].as_str(), resource["telemetry.sdk.language"].as_str()), ("kiln", "rust"));
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(resource["service.instance.id"].len(), 36);
    assert!(spans.iter().all(|span| span.resource == *resource));
}

#[test]
fn each_image_has_its_phases_and_probes_have_no_spans() {
    let collector = Collector::new();
    let server = server(&collector, &[]);
    let (photo, cat) = (bytes(PHOTO), ("files", "cat.jpg"));
    let answer =
        server.form("/predict/batch", &[(cat.0, cat.1, &photo), (cat.0, cat.1, b"no image"), (cat.0, cat.1, &photo)]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(server.get("/metrics").status, 200);
    let (trace, span) = caller(7);
    let parent = format!("00-{trace}-{span}-01");
    assert_eq!(server.get_with("/health/live", &[("traceparent", &parent)]).status, 200);
    let spans = stop(server, &collector);
    let request = spans.iter().find(|span| span.name == "POST /predict/batch").expect("a span");
    for phase in PHASES {
        let those = spans.iter().filter(|span| span.name == phase && span.parent == request.ids.span);
        assert_eq!(those.count(), 2, "{phase}");
    }
    // Health probes have a span only if the caller sends a trace context.
    let names: Vec<&str> = spans.iter().filter(|span| span.kind == 2).map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["POST /predict/batch", "GET /health/live"]);
    assert_eq!(of_trace(&spans, &trace).len(), 1);
}
