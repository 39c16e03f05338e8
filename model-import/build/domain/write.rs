//! The fused network as an ONNX file of the private domain. It holds the structure alone: each node names its layer by
//! number, and the hooks know the layers, so that burn-onnx does not store their weights a second time.
//!
//! Field numbers are those of `onnx.proto` (IR version 8). Written by hand because every protobuf library changes the
//! features of crates that Burn is built on, and would have it built twice.

use std::path::Path;

use super::hooks::{DOMAIN, LAYER};
use super::protobuf::Message;
use crate::fuse::layer::{Kind, Network, Value};

/// Writes the file.
pub fn write(network: &Network, path: &Path) -> std::io::Result<()> {
    std::fs::write(path, model(network).into_bytes())
}

fn model(network: &Network) -> Message {
    let opset = |domain: &str, version: u64| Message::new().text(1, domain).number(2, version);
    let [height, width] = network.size;
    let input = tensor(&name(network.input), &[None, Some(height), Some(width), Some(3)]);
    let output = tensor("logits", &[None, Some(network.outputs)]);
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

/// The private operator of a layer.
fn op_type(kind: &Kind) -> &'static str {
    match kind {
        Kind::Conv(_) => "Conv",
        Kind::Chain(_) => "Chain",
        Kind::Pool(..) => "Pool",
        Kind::GlobalAveragePool => "GlobalAveragePool",
        Kind::Scale => "Scale",
        other => unreachable!("{other:?} is merged into a convolution, or the network is not fused"),
    }
}

/// An `AttributeProto` of type INT.
fn integer(name: &str, value: u64) -> Message {
    Message::new().text(1, name).number(3, value).number(20, 2)
}

/// A `ValueInfoProto` of float32; `None` is the batch.
fn tensor(name: &str, shape: &[Option<usize>]) -> Message {
    let dimension = |size: &Option<usize>| match size {
        Some(size) => Message::new().number(1, *size as u64),
        None => Message::new().text(2, "batch"),
    };
    let shape = shape.iter().fold(Message::new(), |shape, size| shape.message(1, dimension(size)));
    let tensor = Message::new().number(1, 1).message(2, shape);
    Message::new().text(1, name).message(2, Message::new().message(1, tensor))
}
