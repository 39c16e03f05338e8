//! Checks that the ONNX graph is a classifier that fits its manifest, before any code is generated from it.

use onnx_ir::ir::{ArgType, Argument, DType};
use onnx_ir::{Node, OnnxGraph, OnnxGraphBuilder};

use super::error::Refusal;
use super::manifest::Model;

/// Reads a model's graph.
pub fn read(model: &Model) -> Result<OnnxGraph, Refusal> {
    OnnxGraphBuilder::new()
        .parse_file(model.onnx_path())
        .map_err(|e| Refusal::Import { model: model.manifest.name.clone(), reason: e.to_string() })
}

/// Refuses a graph that is not `float32 [batch, 3, height, width] -> float32 [batch, labels]`.
pub fn check(model: &Model, graph: &OnnxGraph) -> Result<(), Refusal> {
    let name = &model.manifest.name;
    let refuse = |reason: String| Refusal::Graph { model: name.clone(), reason };
    let unknown: Vec<&str> = graph
        .nodes
        .iter()
        .filter_map(|node| match node {
            Node::Custom(custom) => Some(custom.op_type.as_str()),
            _ => None,
        })
        .collect();
    if !unknown.is_empty() {
        let reason = format!("burn-onnx does not know the operator(s) {}", unknown.join(", "));
        return Err(Refusal::Import { model: name.clone(), reason });
    }
    let [input] = graph.inputs.as_slice() else {
        return Err(refuse(format!(
            "it has {} inputs, but a classifier has one. Export it with the picture as its only input.",
            graph.inputs.len()
        )));
    };
    let [output] = graph.outputs.as_slice() else {
        return Err(refuse(format!(
            "it has {} outputs, but a classifier has one. Export it with the logits as its only output.",
            graph.outputs.len()
        )));
    };
    if ends_in_softmax(graph, &output.name) {
        return Err(refuse(
            "it ends in a softmax, which Kiln applies itself. Export it with the logits as its output.".to_string(),
        ));
    }
    let size = &model.manifest.input;
    let expected = [None, Some(3), Some(size.height as usize), Some(size.width as usize)];
    check_tensor(input, &expected, "input", "Correct [input] in model.toml or export with this shape.")
        .map_err(refuse)?;
    let expected = [None, Some(model.labels.len())];
    check_tensor(output, &expected, "output", "Is the labels file complete, one class a line?").map_err(refuse)?;
    Ok(())
}

/// Whether `output` is a softmax, seen through nodes that only rename or reshape.
fn ends_in_softmax(graph: &OnnxGraph, output: &str) -> bool {
    let mut value = output;
    // Each step goes one node back, so there are no more than there are nodes.
    for _ in &graph.nodes {
        let maker = graph.nodes.iter().find(|node| node.outputs().iter().any(|made| made.name == value));
        match maker {
            Some(Node::Softmax(_) | Node::LogSoftmax(_)) => return true,
            Some(node @ (Node::Identity(_) | Node::Flatten(_) | Node::Reshape(_) | Node::Squeeze(_))) => {
                let Some(input) = node.inputs().first() else { return false };
                value = &input.name;
            }
            _ => return false,
        }
    }
    false
}

/// Compares a tensor with `expected`; `None` stands for the batch, which must not be fixed.
fn check_tensor(argument: &Argument, expected: &[Option<usize>], what: &str, advice: &str) -> Result<(), String> {
    let ArgType::Tensor(tensor) = &argument.ty else {
        return Err(format!("its {what} '{}' is not a tensor. {advice}", argument.name));
    };
    if tensor.dtype != DType::F32 {
        return Err(format!(
            "its {what} '{}' is {:?}, but float32 is needed. Export it in float32.",
            argument.name, tensor.dtype
        ));
    }
    if tensor.rank != expected.len() {
        return Err(format!(
            "its {what} '{}' has {} dimensions, but {} are needed. {advice}",
            argument.name,
            tensor.rank,
            expected.len()
        ));
    }
    let shape = tensor.static_shape.clone().unwrap_or_else(|| vec![None; tensor.rank]);
    if let Some(batch) = shape[0] {
        return Err(format!(
            "its {what} '{}' has a fixed batch of {batch}. Export it with a dynamic batch axis.",
            argument.name
        ));
    }
    for (axis, (have, want)) in shape.iter().zip(expected).enumerate().skip(1) {
        // A dimension that the exporter left open is taken at the manifest's word.
        if have.is_some() && have != want {
            return Err(format!(
                "axis {axis} of its {what} '{}' is {}, but the manifest makes it {}. {advice}",
                argument.name,
                have.unwrap_or_default(),
                want.unwrap_or_default()
            ));
        }
    }
    Ok(())
}
