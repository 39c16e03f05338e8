//! Somebody else's judgement of the bytes: the classes that OpenTelemetry publishes for Python, made from the protocol's
//! own description.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::collector::Collector;
use super::common::python;
use super::{caller, predict, server};

/// Prints a request as JSON, and fails where it has a field that the description does not know.
const READ: &str = "
import sys
from google.protobuf.json_format import MessageToJson
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

def check(message):
    assert len(UnknownFieldSet(message)) == 0, message
    for field, value in message.ListFields():
        if field.message_type:
            for one in value if field.is_repeated else [value]:
                check(one)

request = ExportTraceServiceRequest.FromString(sys.stdin.buffer.read())
check(request)
print(MessageToJson(request))
";

#[test]
fn the_protocols_own_classes_read_the_same() {
    let Some(python) = python("opentelemetry-proto") else { return };
    let collector = Collector::new();
    let server = server(&collector, &[]);
    let (trace, span) = caller(1);
    let parent = format!("00-{trace}-{span}-01");
    assert_eq!(predict(&server, &[("traceparent", &parent), ("tracestate", "rojo=1")]).status, 200);
    server.terminate();
    assert!(server.wait().success());
    let export = collector.export();
    let mut reading =
        Command::new(python).args(["-c", READ]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    reading.stdin.take().unwrap().write_all(&export.body).unwrap();
    let output = reading.wait_with_output().unwrap();
    assert!(output.status.success());
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    let spans = read["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans");
    let ours = export.spans();
    assert!(!ours.is_empty() && spans.len() == ours.len(), "{read:#}");
    for (theirs, ours) in spans.iter().zip(&ours) {
        assert_eq!(theirs["name"], ours.name);
        assert_eq!(theirs["startTimeUnixNano"], ours.start.to_string());
        assert_eq!(theirs["endTimeUnixNano"], ours.end.to_string());
        assert_eq!(theirs["attributes"].as_array().map_or(0, Vec::len), ours.attributes.len());
        assert_eq!(theirs["links"].as_array().map_or(0, Vec::len), ours.links.len());
        assert_eq!(theirs["flags"], ours.flags);
    }
    let request = spans.iter().find(|span| span["kind"] == "SPAN_KIND_SERVER").expect("a request");
    assert_eq!(request["traceState"], "rojo=1");
    let status =
        request["attributes"].as_array().unwrap().iter().find(|pair| pair["key"] == "http.response.status_code");
    assert_eq!(status.unwrap()["value"]["intValue"], "200");
    assert_eq!(read["resourceSpans"][0]["scopeSpans"][0]["scope"]["name"], "kiln");
}
