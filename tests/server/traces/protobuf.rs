//! Checks the exported bytes with the official Python classes of OpenTelemetry, generated from the protocol's description.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{caller, predict, server};
use crate::common::otlp_collector::Collector;
use crate::common::python;

/// Prints an export request as JSON. Fails if it has a field that the protocol does not define.
const SCRIPT: &str = "
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
fn official_protobuf_classes_decode_the_same_spans() {
    let Some(python) = python("opentelemetry-proto") else { return };
    let collector = Collector::new();
    let server = server(&collector, &[]);
    let (trace, span) = caller(1);
    let parent = format!("00-{trace}-{span}-01");
    assert_eq!(predict(&server, &[("traceparent", &parent), ("tracestate", "rojo=1")]).status, 200);
    server.terminate();
    assert!(server.wait().success());
    let export = collector.export();
    let mut decoder =
        Command::new(python).args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    decoder.stdin.take().unwrap().write_all(&export.body).unwrap();
    let output = decoder.wait_with_output().unwrap();
    assert!(output.status.success());
    let decoded: Value = serde_json::from_slice(&output.stdout).unwrap();
    let spans = decoded["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans");
    let ours = export.spans();
    assert!(!ours.is_empty() && spans.len() == ours.len(), "{decoded:#}");
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
    assert_eq!(decoded["resourceSpans"][0]["scopeSpans"][0]["scope"]["name"], "kiln");
}
