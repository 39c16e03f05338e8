//! Minimal ONNX files for tests, written field by field, as onnx.proto3 has them.
#![allow(dead_code, reason = "each test file uses a part")]

/// An input's name and its axes behind the batch; `None` is left open.
pub type Input<'a> = (&'a str, &'a [Option<u16>]);

/// What a classifier takes.
pub const INPUT: Input<'static> = ("input", &[Some(3), Some(224), Some(224)]);

/// Global average pooling and a flattening of `input` [batch, 3, 224, 224], then `operators`, each on what the one before it
/// made, to `logits` [batch, 1000].
pub fn model_of(operators: &[&str]) -> Vec<u8> {
    model_with(&[INPUT], operators, Some(1000))
}

/// The same on the first of these inputs, with so many classes.
pub fn model_with(inputs: &[Input<'_>], operators: &[&str], classes: Option<u16>) -> Vec<u8> {
    model(inputs, operators, classes, &[])
}

/// The same with a tensor whose values lie in another file.
pub fn model_with_outside_weights(file: &str) -> Vec<u8> {
    let entry = |key: &str, value: &str| bytes(13, &[bytes(1, key.as_bytes()), bytes(2, value.as_bytes())].concat());
    let tensor = [varint(1, 4), varint(2, 1), bytes(8, b"weight"), entry("location", file), varint(14, 1)].concat();
    model(&[INPUT], &[], Some(1000), &bytes(5, &tensor))
}

fn model(inputs: &[Input<'_>], operators: &[&str], classes: Option<u16>, initializers: &[u8]) -> Vec<u8> {
    let mut nodes = Vec::new();
    let mut value = inputs[0].0.to_string();
    let all = ["GlobalAveragePool", "Flatten"].iter().chain(operators);
    let last = operators.len() + 1;
    for (index, operator) in all.enumerate() {
        let output = if index == last { "logits".to_string() } else { format!("value{index}") };
        let node = [bytes(1, value.as_bytes()), bytes(2, output.as_bytes()), bytes(4, operator.as_bytes())].concat();
        nodes.extend(bytes(1, &node));
        value = output;
    }
    let inputs: Vec<u8> = inputs.iter().flat_map(|(name, axes)| bytes(11, &value_info(name, axes))).collect();
    let output = bytes(12, &value_info("logits", &[classes]));
    let graph = [nodes, bytes(2, b"graph"), initializers.to_vec(), inputs, output].concat();
    [varint(1, 8), bytes(7, &graph), bytes(8, &varint(2, 17))].concat()
}

fn bytes(field: u8, content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 16_384);
    let length = content.len();
    let varint = if length < 128 { vec![length as u8] } else { vec![length as u8 | 0x80, (length >> 7) as u8] };
    [&[field << 3 | 2], varint.as_slice(), content].concat()
}

fn varint(field: u8, value: u16) -> Vec<u8> {
    if value < 128 { vec![field << 3, value as u8] } else { vec![field << 3, value as u8 | 0x80, (value >> 7) as u8] }
}

fn value_info(name: &str, axes: &[Option<u16>]) -> Vec<u8> {
    let axis = |axis: &Option<u16>| match axis {
        Some(size) => bytes(1, &varint(1, *size)),
        None => bytes(1, &bytes(2, b"open")),
    };
    let shape: Vec<u8> = bytes(1, &bytes(2, b"batch")).into_iter().chain(axes.iter().flat_map(axis)).collect();
    let tensor = [varint(1, 1), bytes(2, &shape)].concat();
    [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
}
