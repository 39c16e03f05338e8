//! Minimal ONNX files for tests, written field by field with the field numbers of onnx.proto3.
#![allow(dead_code, reason = "each test file uses some of the functions")]

mod protobuf;

use protobuf::{message, number};

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
    let entry =
        |key: &str, value: &str| message(13, &[message(1, key.as_bytes()), message(2, value.as_bytes())].concat());
    let tensor = [number(1, 4), number(2, 1), message(8, b"weight"), entry("location", file), number(14, 1)].concat();
    if !is_constant {
        return model(&[INPUT], pooled("input", &[]), Some(1000), &message(5, &tensor));
    }
    let value = [message(1, b"value"), message(5, &tensor), TENSOR.to_vec()].concat();
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
    let inputs = inputs.iter().flat_map(|input| message(1, input.as_bytes()));
    let parts = [message(2, output.as_bytes()), message(4, operator.as_bytes())].concat();
    let attributes = attributes.iter().flat_map(|attribute| message(5, attribute));
    message(1, &inputs.chain(parts).chain(attributes).collect::<Vec<u8>>())
}

/// A constant float32 tensor of ones.
pub fn ones(shape: &[u64], output: &str) -> Vec<u8> {
    let values = vec![1.0_f32; shape.iter().product::<u64>() as usize];
    let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let shape: Vec<u8> = shape.iter().flat_map(|side| number(1, *side)).collect();
    let tensor = [shape, number(2, 1), message(9, &values)].concat();
    node("Constant", &[], output, &[[message(1, b"value"), message(5, &tensor), TENSOR.to_vec()].concat()])
}

/// An attribute with a list of integers.
pub fn integers(name: &str, values: &[i64]) -> Vec<u8> {
    let values = values.iter().flat_map(|value| number(8, *value as u64));
    message(1, name.as_bytes()).into_iter().chain(values).chain(INTS).collect()
}

/// An attribute with one integer.
pub fn integer(name: &str, value: i64) -> Vec<u8> {
    [message(1, name.as_bytes()), number(3, value as u64), INT.to_vec()].concat()
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
    let inputs: Vec<u8> = inputs.iter().flat_map(|(name, axes)| message(11, &value_info(name, axes))).collect();
    let output = message(12, &value_info("logits", &[classes]));
    let graph = [nodes, message(2, b"graph"), initializers.to_vec(), inputs, output].concat();
    [number(1, 8), message(7, &graph), message(8, &number(2, 17))].concat()
}

fn value_info(name: &str, axes: &[Option<u64>]) -> Vec<u8> {
    let axis = |axis: &Option<u64>| match axis {
        Some(size) => message(1, &number(1, *size)),
        None => message(1, &message(2, b"open")),
    };
    let shape: Vec<u8> = message(1, &message(2, b"batch")).into_iter().chain(axes.iter().flat_map(axis)).collect();
    let tensor = [number(1, 1), message(2, &shape)].concat();
    [message(1, name.as_bytes()), message(2, &message(1, &tensor))].concat()
}
