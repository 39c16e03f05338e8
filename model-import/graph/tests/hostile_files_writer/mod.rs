//! Writes ONNX files field by field, also those that no exporter writes. The field numbers are those of onnx.proto3.

#[path = "../onnx_file/protobuf.rs"]
mod protobuf;

use protobuf::varint;
pub use protobuf::{message, number};

/// A file with opset 17, the input `x` and the output `y`. A size that is not a number is open.
pub fn model(input: &[&str], nodes: &[Vec<u8>], tensors: &[Vec<u8>]) -> Vec<u8> {
    let axis = |size: &&str| {
        let size = size.parse().map_or_else(|_| message(2, size.as_bytes()), |size| number(1, size));
        message(1, &size)
    };
    let shape: Vec<u8> = input.iter().flat_map(axis).collect();
    let r#type = message(1, &[number(1, 1), message(2, &shape)].concat());
    let input = message(11, &[message(1, b"x"), message(2, &r#type)].concat());
    let output = message(12, &message(1, b"y"));
    let graph = graph(nodes, tensors, &[input, output].concat());
    [number(1, 8), message(7, &graph), message(8, &number(2, 17))].concat()
}

/// A graph with other fields.
pub fn graph(nodes: &[Vec<u8>], tensors: &[Vec<u8>], others: &[u8]) -> Vec<u8> {
    let mut graph = Vec::new();
    nodes.iter().for_each(|node| graph.extend(message(1, node)));
    tensors.iter().for_each(|tensor| graph.extend(message(5, tensor)));
    graph.extend_from_slice(others);
    graph
}

/// A node. The operator may have a domain in front, as in `com.microsoft::Attention`.
pub fn node(operator: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let (domain, operator) = operator.split_once("::").unwrap_or(("", operator));
    let mut node = Vec::new();
    inputs.iter().for_each(|input| node.extend(message(1, input.as_bytes())));
    outputs.iter().for_each(|output| node.extend(message(2, output.as_bytes())));
    node.extend(message(4, operator.as_bytes()));
    attributes.iter().for_each(|attribute| node.extend(message(5, attribute)));
    node.extend(message(7, domain.as_bytes()));
    node
}

/// An attribute with an integer.
pub fn int(name: &str, value: i64) -> Vec<u8> {
    [message(1, name.as_bytes()), number(3, value as u64)].concat()
}

/// An attribute with integers.
pub fn ints(name: &str, values: &[i64]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().flat_map(|value| varint(*value as u64)).collect();
    [message(1, name.as_bytes()), message(8, &values)].concat()
}

/// An attribute with a float.
pub fn float(name: &str, value: f32) -> Vec<u8> {
    [message(1, name.as_bytes()), vec![2 << 3 | 5], value.to_le_bytes().to_vec()].concat()
}

/// An attribute with text.
pub fn text(name: &str, value: &str) -> Vec<u8> {
    [message(1, name.as_bytes()), message(4, value.as_bytes())].concat()
}

/// An attribute with its type, by the number of `AttributeProto.AttributeType`.
pub fn typed(attribute: &[u8], number_of_type: u64) -> Vec<u8> {
    [attribute, &number(20, number_of_type)].concat()
}

/// An attribute with a graph.
pub fn branch(name: &str, graph: &[u8]) -> Vec<u8> {
    [message(1, name.as_bytes()), message(6, graph)].concat()
}

/// A tensor of floats.
pub fn floats(name: &str, shape: &[i64], values: &[f32]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    [tensor(name, shape, 1), message(9, &values)].concat()
}

/// A tensor of integers of 64 bits.
pub fn int64s(name: &str, shape: &[i64], values: &[i64]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    [tensor(name, shape, 7), message(9, &values)].concat()
}

/// A tensor of floats in another file.
pub fn external(name: &str, shape: &[i64], location: &str) -> Vec<u8> {
    let entry = [message(1, b"location"), message(2, location.as_bytes())].concat();
    [tensor(name, shape, 1), message(13, &entry), number(14, 1)].concat()
}

fn tensor(name: &str, shape: &[i64], element: u64) -> Vec<u8> {
    let shape: Vec<u8> = shape.iter().flat_map(|size| number(1, *size as u64)).collect();
    [shape, number(2, element), message(8, name.as_bytes())].concat()
}

/// The same field many times.
pub fn repeat_field(field: u64, content: &[u8], count: usize) -> Vec<u8> {
    message(field, content).repeat(count)
}
