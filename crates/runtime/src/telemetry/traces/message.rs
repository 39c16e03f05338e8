//! Spans to an `ExportTraceServiceRequest` of the OpenTelemetry protocol. Events are left out: Kiln's spans have none.
//!
//! The numbers are those of the fields in `opentelemetry/proto/{collector/trace,trace,resource,common}/v1/*.proto` of
//! <https://github.com/open-telemetry/opentelemetry-proto> (1.x: they do not change).

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{SpanContext, SpanKind, Status};
use opentelemetry::{InstrumentationScope, Key, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;

use super::protobuf::Message;

/// The bytes of a request with `spans`, all of which are of one scope.
pub(super) fn request(resource: &Resource, spans: &[SpanData]) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |resource_spans| {
        resource_spans.message(1, |message| resource.iter().for_each(|(key, value)| attribute(message, 1, key, value)));
        resource_spans.message(2, |scope_spans| {
            if let Some(first) = spans.first() {
                scope_spans.message(1, |message| scope(message, &first.instrumentation_scope));
            }
            spans.iter().for_each(|data| scope_spans.message(2, |message| span(message, data)));
        });
    });
    request.into_bytes()
}

fn scope(message: &mut Message, scope: &InstrumentationScope) {
    message.bytes(1, scope.name());
    if let Some(version) = scope.version() {
        message.bytes(2, version);
    }
}

fn span(message: &mut Message, data: &SpanData) {
    context(message, &data.span_context);
    if data.parent_span_id != opentelemetry::trace::SpanId::INVALID {
        message.bytes(4, data.parent_span_id.to_bytes());
    }
    message.bytes(5, data.name.as_bytes());
    message.varint(6, kind(&data.span_kind));
    message.fixed64(7, nanoseconds(data.start_time));
    message.fixed64(8, nanoseconds(data.end_time));
    attributes(message, 9, &data.attributes);
    dropped(message, 10, data.dropped_attributes_count);
    for link in data.links.iter() {
        message.message(13, |message| {
            context(message, &link.span_context);
            attributes(message, 4, &link.attributes);
            dropped(message, 5, link.dropped_attributes_count);
            message.fixed32(6, flags(&link.span_context, link.span_context.is_remote()));
        });
    }
    dropped(message, 14, data.links.dropped_count);
    message.message(15, |message| status(message, &data.status));
    message.fixed32(16, flags(&data.span_context, data.parent_span_is_remote));
}

/// The first three fields, which spans and links share.
fn context(message: &mut Message, context: &SpanContext) {
    message.bytes(1, context.trace_id().to_bytes());
    message.bytes(2, context.span_id().to_bytes());
    let state = context.trace_state().header();
    if !state.is_empty() {
        message.bytes(3, state);
    }
}

/// The flags of W3C, whether it is known if the other span is remote, and whether it is.
fn flags(context: &SpanContext, remote: bool) -> u32 {
    u32::from(context.trace_flags().to_u8()) | 1 << 8 | u32::from(remote) << 9
}

fn kind(kind: &SpanKind) -> u64 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

fn status(message: &mut Message, status: &Status) {
    match status {
        Status::Unset => {}
        Status::Ok => message.varint(3, 1),
        Status::Error { description } => {
            message.bytes(2, description.as_bytes());
            message.varint(3, 2);
        }
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn dropped(message: &mut Message, field: u64, count: u32) {
    if count > 0 {
        message.varint(field, u64::from(count));
    }
}

fn attributes(message: &mut Message, field: u64, attributes: &[KeyValue]) {
    attributes.iter().for_each(|pair| attribute(message, field, &pair.key, &pair.value));
}

fn attribute(message: &mut Message, field: u64, key: &Key, content: &Value) {
    message.message(field, |pair| {
        pair.bytes(1, key.as_str());
        pair.message(2, |any| value(any, content));
    });
}

fn value(any: &mut Message, content: &Value) {
    match content {
        Value::String(text) => any.bytes(1, text.as_str()),
        Value::Bool(truth) => any.varint(2, u64::from(*truth)),
        Value::I64(number) => any.varint(3, *number as u64),
        Value::F64(number) => any.fixed64(4, number.to_bits()),
        // Kiln's own are none of the others.
        other => any.bytes(1, other.to_string()),
    }
}
