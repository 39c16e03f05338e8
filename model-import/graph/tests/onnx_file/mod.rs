//! Minimal ONNX files for tests, written field by field with the field numbers of onnx.proto3.
#![allow(dead_code, reason = "each test file uses some of the functions")]

/// An input's name and its axes after the batch; `None` is a dynamic axis.
pub type Input<'a> = (&'a str, &'a [Option<u64>]);

/// The usual input of a classifier.
pub const INPUT: Input<'static> = ("input", &[Some(3), Some(224), Some(224)]);

/// Global average pooling and flattening of `input` [batch, 3, 224, 224], then `operators`, each applied to the result of the
/// one before, to `logits` [batch, 1000].
pub fn model_of(operators: &[&str]) -> Vec<u8> {
    model_with(&[INPUT], operators, Some(1000))
}

/// The same for the first of `inputs`, with `classes` classes.
pub fn model_with(inputs: &[Input<'_>], operators: &[&str], classes: Option<u64>) -> Vec<u8> {
    model(inputs, pooled(inputs[0].0, operators), classes, &[])
}

/// The same with a tensor whose values are in another file: an initializer, or the value of a constant.
pub fn model_with_external_weights(file: &str, is_constant: bool) -> Vec<u8> {
    let entry = |key: &str, value: &str| bytes(13, &[bytes(1, key.as_bytes()), bytes(2, value.as_bytes())].concat());
    let tensor = [varint(1, 4), varint(2, 1), bytes(8, b"weight"), entry("location", file), varint(14, 1)].concat();
    if !is_constant {
        return model(&[INPUT], pooled("input", &[]), Some(1000), &bytes(5, &tensor));
    }
    let value = [bytes(1, b"value"), bytes(5, &tensor), TENSOR.to_vec()].concat();
    model(&[INPUT], [pooled("input", &[]), node("Constant", &[], "weight", &[value])].concat(), Some(1000), &[])
}

/// A classifier of [`INPUT`] with 3 classes and these nodes, the last of which produces `logits`; see [`node`].
pub fn model_of_nodes(nodes: &[Vec<u8>]) -> Vec<u8> {
    model(&[INPUT], nodes.concat(), Some(3), &[])
}

/// The same for another input, with `classes` classes.
pub fn model_of_nodes_with(input: Input<'_>, nodes: &[Vec<u8>], classes: u64) -> Vec<u8> {
    model(&[input], nodes.concat(), Some(classes), &[])
}

/// A node with attributes.
pub fn node(operator: &str, inputs: &[&str], output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let inputs = inputs.iter().flat_map(|input| bytes(1, input.as_bytes()));
    let parts = [bytes(2, output.as_bytes()), bytes(4, operator.as_bytes())].concat();
    let attributes = attributes.iter().flat_map(|attribute| bytes(5, attribute));
    bytes(1, &inputs.chain(parts).chain(attributes).collect::<Vec<u8>>())
}

/// A constant float32 tensor of ones.
pub fn ones(shape: &[u64], output: &str) -> Vec<u8> {
    let values = vec![1.0_f32; shape.iter().product::<u64>() as usize];
    let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let shape: Vec<u8> = shape.iter().flat_map(|side| varint(1, *side)).collect();
    let tensor = [shape, varint(2, 1), bytes(9, &values)].concat();
    node("Constant", &[], output, &[[bytes(1, b"value"), bytes(5, &tensor), TENSOR.to_vec()].concat()])
}

/// An attribute with a list of integers.
pub fn integers(name: &str, values: &[i64]) -> Vec<u8> {
    let values = values.iter().flat_map(|value| varint(8, *value as u64));
    bytes(1, name.as_bytes()).into_iter().chain(values).chain(INTS).collect()
}

/// An attribute with one integer.
pub fn integer(name: &str, value: i64) -> Vec<u8> {
    [bytes(1, name.as_bytes()), varint(3, value as u64), INT.to_vec()].concat()
}

/// Field 20 of an attribute: its type.
const TENSOR: [u8; 3] = [0xa0, 1, 4];
const INT: [u8; 3] = [0xa0, 1, 2];
const INTS: [u8; 3] = [0xa0, 1, 7];

/// Pooling, flattening and `operators`, from `input` to `logits`.
fn pooled(input: &str, operators: &[&str]) -> Vec<u8> {
    let mut nodes = Vec::new();
    let mut value = input.to_string();
    let all = ["GlobalAveragePool", "Flatten"].iter().chain(operators);
    let last = operators.len() + 1;
    for (index, operator) in all.enumerate() {
        let output = if index == last { "logits".to_string() } else { format!("value{index}") };
        nodes.extend(node(operator, &[&value], &output, &[]));
        value = output;
    }
    nodes
}

fn model(inputs: &[Input<'_>], nodes: Vec<u8>, classes: Option<u64>, initializers: &[u8]) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|(name, axes)| bytes(11, &value_info(name, axes))).collect();
    let output = bytes(12, &value_info("logits", &[classes]));
    let graph = [nodes, bytes(2, b"graph"), initializers.to_vec(), inputs, output].concat();
    [varint(1, 8), bytes(7, &graph), bytes(8, &varint(2, 17))].concat()
}

fn bytes(field: u8, content: &[u8]) -> Vec<u8> {
    [&[field << 3 | 2], number(content.len() as u64).as_slice(), content].concat()
}

fn varint(field: u8, value: u64) -> Vec<u8> {
    [vec![field << 3], number(value)].concat()
}

/// Seven bits per byte, the lowest first; the highest bit is set if more bytes follow.
fn number(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 128 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn value_info(name: &str, axes: &[Option<u64>]) -> Vec<u8> {
    let axis = |axis: &Option<u64>| match axis {
        Some(size) => bytes(1, &varint(1, *size)),
        None => bytes(1, &bytes(2, b"open")),
    };
    let shape: Vec<u8> = bytes(1, &bytes(2, b"batch")).into_iter().chain(axes.iter().flat_map(axis)).collect();
    let tensor = [varint(1, 1), bytes(2, &shape)].concat();
    [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
}
