//! Checks that the ONNX graph is a classifier that fits its manifest, before any code is generated from it.

use std::path::Path;

use onnx_ir::ir::{ArgType, Argument, DType};
use onnx_ir::{ModelProto, Node, OnnxGraph, OnnxGraphBuilder};

use super::error::Refusal;
use super::manifest::Model;
use super::{ending, proto, sanity};

/// Reads a model's graph.
pub fn read(model: &Model) -> Result<OnnxGraph, Refusal> {
    let (name, path) = (&model.manifest.name, model.onnx_path());
    let bytes = std::fs::read(&path).map_err(|e| Refusal::Unreadable { path: path.clone(), reason: e.to_string() })?;
    Refusal::catch(name, || {
        let refuse =
            |reason| Refusal::Import { model: name.clone(), reason: format!("this is no ONNX file: {reason}") };
        parse(name, &path, &proto::read(&bytes).map_err(refuse)?)
    })
}

/// The graph of the file at `path`, which was read as `file`. Its operators must all be such as can be imported. The refusal
/// calls it by `name`.
///
/// # Panics
///
/// At what burn-onnx did not expect: [`Refusal::catch`] has to be around it.
pub fn parse(name: &str, path: &Path, file: &ModelProto) -> Result<OnnxGraph, Refusal> {
    let refuse = |reason: String| Refusal::Import { model: name.to_string(), reason };
    if let Some(unknown) = proto::unknown_operators(file) {
        return Err(refuse(format!("burn-onnx cannot import the operator(s) {unknown}")));
    }
    if let Some(reason) = sanity::oddity(file) {
        return Err(Refusal::Graph { model: name.to_string(), reason });
    }
    OnnxGraphBuilder::new().parse_file(path).map_err(|e| refuse(e.to_string()))
}

/// Refuses a graph that is not `float32 [batch, 3, height, width] -> float32 [batch, labels]`.
pub fn check(model: &Model, graph: &OnnxGraph) -> Result<(), Refusal> {
    let size = &model.manifest.input;
    check_classifier(graph, [size.height as usize, size.width as usize], model.labels.len())
        .map_err(|reason| Refusal::Graph { model: model.manifest.name.clone(), reason })
}

/// The same with the picture's height and width and the number of classes, and the reason alone.
pub fn check_classifier(graph: &OnnxGraph, [height, width]: [usize; 2], classes: usize) -> Result<(), String> {
    let [input] = graph.inputs.as_slice() else {
        return Err(format!(
            "it has {} inputs, but a classifier has one. Export it with the picture as its only input.",
            graph.inputs.len()
        ));
    };
    let [output] = graph.outputs.as_slice() else {
        return Err(format!(
            "it has {} outputs, but a classifier has one. Export it with the logits as its only output.",
            graph.outputs.len()
        ));
    };
    if let Some(why) = ending::no_logits(graph, &output.name) {
        return Err(format!("{why}. Export it with the logits as its output."));
    }
    let says_so = matches!(shape(input)[..], [_, first, _, Some(3)] if first != Some(3));
    if says_so || is_turned(graph, &input.name) {
        return Err(format!(
            "its input '{}' has the channels last, but Kiln takes them first: [batch, 3, height, width]. Export it so \
             (tf2onnx: --inputs-as-nchw {}).",
            input.name, input.name
        ));
    }
    let expected = [None, Some(3), Some(height), Some(width)];
    check_tensor(input, &expected, "input", "Correct [input] in model.toml or export with this shape.")?;
    check_tensor(output, &[None, Some(classes)], "output", "Is the labels file complete, one class a line?")
}

/// What is known of a tensor's axes; nothing of what is no tensor.
pub fn shape(argument: &Argument) -> Vec<Option<usize>> {
    match &argument.ty {
        ArgType::Tensor(tensor) => tensor.static_shape.clone().unwrap_or_else(|| vec![None; tensor.rank]),
        _ => Vec::new(),
    }
}

/// Whether the picture's channels, which come last, are brought to the front before anything else is done.
fn is_turned(graph: &OnnxGraph, input: &str) -> bool {
    graph.nodes.iter().any(|node| match node {
        Node::Transpose(turn) => turn.inputs.iter().any(|from| from.name == input) && turn.config.perm == [0, 3, 1, 2],
        _ => false,
    })
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
    let shape = shape(argument);
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
