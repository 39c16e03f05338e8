//! Trace context of the caller, sampling, and the trace id in the log.

use super::{PHASES, caller, of_trace, predict, server, stop};
use crate::common::Server;
use crate::common::otlp_collector::Collector;

/// Returns the trace id in the access log line of a request.
fn logged_trace(server: &Server, request_id: &str) -> Option<String> {
    let (line, lines) = {
        let mut lines = server.logged_until(&format!("\"id\":\"{request_id}\""));
        (lines.pop().unwrap(), lines)
    };
    assert!(!lines.iter().any(|line| line.contains(request_id)));
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["message"], "request answered", "{line}");
    event["span"]["trace_id"].as_str().map(ToString::to_string)
}

#[test]
fn log_has_the_trace_id_of_a_valid_traceparent_only() {
    let server = Server::start(&["--device", "cpu"]);
    let (trace, span) = caller(1);
    for (id, parent, logged) in [
        ("sampled", format!("00-{trace}-{span}-01"), Some(&trace)),
        ("unsampled", format!("00-{trace}-{span}-00"), Some(&trace)),
        ("of-the-future", format!("01-{trace}-{span}-01-more"), Some(&trace)),
        ("version", format!("ff-{trace}-{span}-01"), None),
        ("zeros", format!("00-{}-{span}-01", "0".repeat(32)), None),
        ("capitals", format!("00-{}-{span}-01", trace.to_uppercase()), None),
        ("long", format!("00-{trace}-{span}-01-more"), None),
        ("forged", "00-trace_id=1-01".to_string(), None),
    ] {
        assert_eq!(predict(&server, &[("x-request-id", id), ("traceparent", &parent)]).status, 200, "{id}");
        assert_eq!(logged_trace(&server, id).as_ref(), logged, "{id}");
    }
    assert_eq!(predict(&server, &[("x-request-id", "alone")]).status, 200);
    assert_eq!(logged_trace(&server, "alone"), None);
    let (one, two) = (format!("00-{trace}-{span}-01"), format!("00-{trace}-{:016x}-01", 2));
    predict(&server, &[("x-request-id", "two"), ("traceparent", &one), ("traceparent", &two)]);
    assert_eq!(logged_trace(&server, "two"), None);
}

#[test]
fn root_trace_has_the_logged_trace_id_and_request_id() {
    let collector = Collector::new();
    let server = server(&collector, &["--log-level", "error,kiln::app=info,kiln::access=info"]);
    assert_eq!(predict(&server, &[("x-request-id", "the-cat")]).status, 200);
    let trace = logged_trace(&server, "the-cat").expect("a trace");
    let spans = stop(server, &collector);
    let request = spans.iter().find(|span| span.kind == 2).expect("a span");
    assert_eq!(
        (request.ids.trace.as_str(), request.attributes["kiln.request_id"].as_str()),
        (trace.as_str(), "the-cat")
    );
}

#[test]
fn sampling_ratio_applies_to_root_traces_and_callers_decide_otherwise() {
    for (sampling, alone) in [("0", 0), ("1", 1)] {
        let collector = Collector::new();
        let server = server(&collector, &["--otlp-sampling", sampling]);
        let ((sampled, one), (unsampled, two)) = (caller(1), caller(2));
        for headers in [
            &[][..],
            &[("traceparent", format!("00-{sampled}-{one}-01"))],
            &[("traceparent", format!("00-{unsampled}-{two}-00"))],
        ] {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            assert_eq!(predict(&server, &headers).status, 200);
        }
        let spans = stop(server, &collector);
        assert_eq!(of_trace(&spans, &sampled).len(), 1 + PHASES.len(), "sampling {sampling}");
        assert_eq!(of_trace(&spans, &unsampled).len(), 0, "sampling {sampling}");
        let requests = spans.iter().filter(|span| span.kind == 2);
        assert_eq!(requests.count(), 1 + alone, "sampling {sampling}");
        // A batch links to the recorded requests only.
        let links = spans.iter().filter(|span| span.name == "batch").flat_map(|batch| &batch.links);
        assert_eq!(links.count(), 1 + alone, "sampling {sampling}");
    }
}
