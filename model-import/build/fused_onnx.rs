//! Writes a fused network as an ONNX file of the private domain `kiln`. The file holds the structure alone: each node has the
//! index of its layer, and the hooks know the layers, so burn-onnx does not store their weights a second time.
//!
//! Field numbers are those of `onnx.proto` (IR version 8). The fields are written one by one: the messages of `kiln-graph` hold
//! only what Kiln reads.

use std::path::Path;

use kiln_graph::{LayerKind, Network, Value};

use crate::hooks::{DOMAIN, LAYER};

/// Writes the file.
pub fn write(network: &Network, path: &Path) -> std::io::Result<()> {
    std::fs::write(path, model(network).0)
}

fn model(network: &Network) -> Message {
    let opset = |domain: &str, version: u64| Message::new().text(1, domain).number(2, version);
    let [height, width] = network.image_size;
    let input = tensor(&name(network.input), &[None, Some(height), Some(width), Some(3)]);
    let output = tensor("logits", &[None, Some(network.classes)]);
    let nodes = network.layers.iter().enumerate().map(|(index, layer)| {
        let node = layer.inputs.iter().fold(Message::new(), |node, input| node.text(1, &name(*input)));
        node.text(2, &name(layer.output))
            .text(3, &format!("layer_{index}"))
            .text(4, op_type(&layer.kind))
            .message(5, integer(LAYER, index as u64))
            .text(7, DOMAIN)
    });
    // From [batch, 1, 1, classes] to [batch, classes].
    let flatten = Message::new()
        .text(1, &name(network.output))
        .text(2, "logits")
        .text(3, "flatten")
        .text(4, "Flatten")
        .message(5, integer("axis", 1));
    let graph = nodes.chain([flatten]).fold(Message::new(), |graph, node| graph.message(1, node));
    let graph = graph.text(2, "fused").message(11, input).message(12, output);
    Message::new().number(1, 8).message(7, graph).message(8, opset("", 17)).message(8, opset(DOMAIN, 1))
}

fn name(value: Value) -> String {
    format!("value_{value}")
}

/// The operator of the private domain for a layer.
fn op_type(kind: &LayerKind) -> &'static str {
    match kind {
        LayerKind::Conv(_) => "Conv",
        LayerKind::InvertedBottleneck(_) => "InvertedBottleneck",
        LayerKind::Pool(..) => "Pool",
        LayerKind::GlobalAveragePool => "GlobalAveragePool",
        LayerKind::Scale => "Scale",
        other => unreachable!("{other:?} has no fused kernel, and `fuse` rejects such a network"),
    }
}

/// An `AttributeProto` of type INT.
fn integer(name: &str, value: u64) -> Message {
    Message::new().text(1, name).number(3, value).number(20, 2)
}

/// A `ValueInfoProto` of float32; `None` is the dynamic batch axis.
fn tensor(name: &str, shape: &[Option<usize>]) -> Message {
    let dimension = |size: &Option<usize>| match size {
        Some(size) => Message::new().number(1, *size as u64),
        None => Message::new().text(2, "batch"),
    };
    let shape = shape.iter().fold(Message::new(), |shape, size| shape.message(1, dimension(size)));
    let tensor = Message::new().number(1, 1).message(2, shape);
    Message::new().text(1, name).message(2, Message::new().message(1, tensor))
}

/// A protobuf message that is being written field by field
/// (<https://protobuf.dev/programming-guides/encoding>).
#[derive(Clone, Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn new() -> Self {
        Self::default()
    }

    /// Appends a field of type int32, int64 or enum.
    fn number(mut self, field: u32, value: u64) -> Self {
        self.varint(u64::from(field) << 3);
        self.varint(value);
        self
    }

    /// Appends a field of type string.
    fn text(self, field: u32, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    /// Appends a field that is a message.
    fn message(self, field: u32, message: Self) -> Self {
        self.bytes(field, &message.0)
    }

    fn bytes(mut self, field: u32, bytes: &[u8]) -> Self {
        const LENGTH_DELIMITED: u64 = 2;
        self.varint(u64::from(field) << 3 | LENGTH_DELIMITED);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends seven bits per byte, the lowest first; the highest bit is set if more bytes follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}
