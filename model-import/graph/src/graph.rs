//! The typed graph of an ONNX file, and the checks that it is a classifier that fits its manifest.

use std::path::Path;

use onnx_ir::ir::{ArgType, Argument, DType};
use onnx_ir::{Node, OnnxGraph, OnnxGraphBuilder};

use crate::error::{ModelError, without_node_name};
use crate::manifest::Model;
use crate::onnx_file::OnnxFile;

/// An ONNX graph whose nodes are typed and whose shapes are inferred, as far as the file determines them.
#[derive(Clone, Debug)]
pub struct Graph(pub(crate) OnnxGraph);

/// Name and shape of an input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorShape {
    /// Its name in the file.
    pub name: String,
    /// The size of each axis; `None` is an axis that the file leaves open. Empty if the value is not a tensor.
    pub axes: Vec<Option<usize>>,
}

impl Graph {
    /// Reads a model's graph.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not ONNX, or has operators or values that cannot be imported.
    pub fn read_model(model: &Model) -> Result<Self, ModelError> {
        let (name, path) = (&model.manifest.name, model.onnx_path());
        let bytes =
            std::fs::read(&path).map_err(|e| ModelError::Unreadable { path: path.clone(), reason: e.to_string() })?;
        ModelError::catch_panic(name, || {
            let file = OnnxFile::parse(&bytes).map_err(|reason| ModelError::Graph {
                model: name.clone(),
                reason: format!("this is not an ONNX file: {reason}"),
            })?;
            Self::read(name, &path, &file)
        })
    }

    /// Reads the graph at `path`, whose protobuf message is `file`. Errors call the model `name`.
    ///
    /// # Errors
    ///
    /// burn-onnx does not support an operator, or the file has values that no exporter writes.
    ///
    /// # Panics
    ///
    /// onnx-ir does not expect what is in the file. Call this inside [`ModelError::catch_panic`].
    pub fn read(name: &str, path: &Path, file: &OnnxFile) -> Result<Self, ModelError> {
        let unsupported = |reason: String| ModelError::Import { model: name.to_string(), reason };
        if let Some(operators) = file.unsupported_operators() {
            return Err(unsupported(format!("burn-onnx cannot import the operator(s) {operators}")));
        }
        file.validate().map_err(|reason| ModelError::Graph { model: name.to_string(), reason })?;
        OnnxGraphBuilder::new().parse_file(path).map(Self).map_err(|e| unsupported(without_node_name(&e.to_string())))
    }

    /// The first input.
    pub fn input(&self) -> Option<TensorShape> {
        self.0.inputs.first().map(TensorShape::of)
    }

    /// The first output.
    pub fn output(&self) -> Option<TensorShape> {
        self.0.outputs.first().map(TensorShape::of)
    }

    /// The number of nodes, constants included.
    pub fn node_count(&self) -> usize {
        self.0.nodes.len()
    }

    /// Checks for parts for which the code of burn-onnx does not compile. Only networks that stay unfused need this check: Kiln
    /// generates the code of fused layers.
    ///
    /// # Errors
    ///
    /// The first such part.
    pub fn check_unfused(&self) -> Result<(), String> {
        let is_open = |size: &Option<usize>| size.is_some_and(|size| plausible(size).is_none());
        let inputs = self.0.inputs.iter().filter_map(|input| match &input.ty {
            ArgType::Tensor(tensor) => tensor.static_shape.as_ref(),
            _ => None,
        });
        let open_axis = inputs.flatten().any(is_open).then_some("an input axis that is declared as 0 or -1");
        match self.0.nodes.iter().find_map(without_code).or(open_axis) {
            None => Ok(()),
            Some(part) => Err(format!("burn-onnx has no code that compiles for {part}.")),
        }
    }

    /// Checks that the graph is `float32 [batch, 3, height, width] -> float32 [batch, labels]` of the model's manifest.
    ///
    /// # Errors
    ///
    /// The first difference, and the next step.
    pub fn check_model(&self, model: &Model) -> Result<(), ModelError> {
        let size = &model.manifest.input;
        self.check_classifier([size.height as usize, size.width as usize], model.labels.len())
            .map_err(|reason| ModelError::Graph { model: model.manifest.name.clone(), reason })
    }

    /// Checks that the graph is `float32 [batch, 3, height, width] -> float32 [batch, classes]` and returns logits.
    ///
    /// # Errors
    ///
    /// The first difference, and the next step.
    pub fn check_classifier(&self, [height, width]: [usize; 2], classes: usize) -> Result<(), String> {
        let [input] = self.0.inputs.as_slice() else {
            return Err(format!(
                "it has {} inputs, but a classifier has one. Export it with the image as its only input.",
                self.0.inputs.len()
            ));
        };
        let [output] = self.0.outputs.as_slice() else {
            return Err(format!(
                "it has {} outputs, but a classifier has one. Export it with the logits as its only output.",
                self.0.outputs.len()
            ));
        };
        check_output_is_logits(&self.0, &output.name)?;
        let declares_channels_last = matches!(shape(input)[..], [_, first, _, Some(3)] if first != Some(3));
        if declares_channels_last || transposes_to_channels_first(&self.0, &input.name) {
            return Err(format!(
                "its input '{}' has the channels last, but Kiln takes them first: [batch, 3, height, width]. Export it so \
                 (tf2onnx: --inputs-as-nchw {}).",
                input.name, input.name
            ));
        }
        let role = format!("input '{}'", input.name);
        let axes = check_tensor(input, &role, &["batch", "3", "height", "width"])?;
        if let Some(channels) = axes[1].filter(|channels| *channels != 3) {
            return Err(format!(
                "axis 1 of its {role} is {channels}, but a network that is built in takes 3 channels (RGB)."
            ));
        }
        let advice = "Correct [input] in model.toml or export with this shape.";
        check_axes(&axes, &[None, Some(3), Some(height), Some(width)], &role, advice)?;
        // onnx-ir replaces the output's name.
        let axes = check_tensor(output, "output", &["batch", "classes"])?;
        check_axes(&axes, &[None, Some(classes)], "output", "Is the labels file complete, one class a line?")
    }
}

impl TensorShape {
    fn of(argument: &Argument) -> Self {
        Self { name: argument.name.clone(), axes: shape(argument) }
    }

    /// The size of an axis, if the file determines it.
    pub fn axis(&self, axis: usize) -> Option<usize> {
        self.axes.get(axis).copied().flatten()
    }
}

fn shape(argument: &Argument) -> Vec<Option<usize>> {
    match &argument.ty {
        ArgType::Tensor(tensor) => match &tensor.static_shape {
            Some(sizes) => sizes.iter().map(|size| size.and_then(plausible)).collect(),
            None => vec![None; tensor.rank],
        },
        _ => Vec::new(),
    }
}

/// The size of an axis. Exporters write 0 or -1 for an axis that they leave open; onnx-ir reads -1 as the largest number.
fn plausible(size: usize) -> Option<usize> {
    (size > 0 && i64::try_from(size).is_ok()).then_some(size)
}

/// The part of a network for which the code of burn-onnx 0.22.0 does not compile, if the node is one.
fn without_code(node: &Node) -> Option<&'static str> {
    match node {
        Node::AveragePool3d(_) | Node::MaxPool3d(_) => Some("pooling over three axes"),
        Node::QuantizeLinear(_) | Node::DequantizeLinear(_) => Some("quantised values"),
        Node::Clip(clip) => {
            let is_number = |input: &Argument| matches!(input.ty, ArgType::ScalarNative(_) | ArgType::Shape(_));
            clip.inputs.first().is_some_and(is_number).then_some("Clip of a number that is no tensor")
        }
        _ => None,
    }
}

/// Rejects an output that is already a probability. Kiln applies a softmax to the logits itself; a second one would change the
/// scores, and no shape reveals it.
fn check_output_is_logits(graph: &OnnxGraph, output: &str) -> Result<(), String> {
    let reason = match producer(graph, output) {
        Some(Node::Softmax(_) | Node::LogSoftmax(_)) => "it ends in a softmax, which Kiln applies itself",
        Some(Node::Sigmoid(_)) => {
            "it ends in a sigmoid, which is for classes that do not exclude each other; Kiln applies a softmax"
        }
        Some(Node::Div(division))
            if division
                .inputs
                .first()
                .is_some_and(|above| matches!(producer(graph, &above.name), Some(Node::Exp(_)))) =>
        {
            "it ends in a softmax, written as Exp and Div, which Kiln applies itself"
        }
        _ => return Ok(()),
    };
    Err(format!("{reason}. Export it with the logits as its output."))
}

/// The node that computes a value; nodes that only rename or reshape are skipped.
fn producer<'a>(graph: &'a OnnxGraph, value: &str) -> Option<&'a Node> {
    let mut value = value;
    // Each step goes one node back, so the number of nodes bounds the number of steps.
    for _ in &graph.nodes {
        let node = graph.nodes.iter().find(|node| node.outputs().iter().any(|output| output.name == value))?;
        match node {
            Node::Identity(_) | Node::Flatten(_) | Node::Reshape(_) | Node::Squeeze(_) => {
                value = &node.inputs().first()?.name;
            }
            _ => return Some(node),
        }
    }
    None
}

/// Whether the graph begins with a transpose from channels last to channels first.
fn transposes_to_channels_first(graph: &OnnxGraph, input: &str) -> bool {
    graph.nodes.iter().any(|node| match node {
        Node::Transpose(turn) => turn.inputs.iter().any(|from| from.name == input) && turn.config.perm == [0, 3, 1, 2],
        _ => false,
    })
}

/// Checks that a value is a float32 tensor with these axes, the first of which is a dynamic batch, and returns their sizes.
fn check_tensor(argument: &Argument, role: &str, form: &[&str]) -> Result<Vec<Option<usize>>, String> {
    let (needed, form) = (form.len(), form.join(", "));
    let ArgType::Tensor(tensor) = &argument.ty else {
        return Err(format!("its {role} is not a tensor. Export it with the shape [{form}]."));
    };
    if tensor.dtype != DType::F32 {
        return Err(format!("its {role} is {:?}, but float32 is needed. Export it in float32.", tensor.dtype));
    }
    if tensor.rank != needed {
        return Err(format!(
            "its {role} has {} dimensions, but {needed} are needed: [{form}]. Export it with this shape.",
            tensor.rank
        ));
    }
    let axes = shape(argument);
    match axes.first() {
        Some(Some(batch)) => {
            Err(format!("its {role} has a fixed batch of {batch}. Export it with a dynamic batch axis."))
        }
        _ if axes.len() == needed => Ok(axes),
        _ => Ok(vec![None; needed]),
    }
}

/// Compares axes with `expected`; the first one is the batch.
fn check_axes(axes: &[Option<usize>], expected: &[Option<usize>], role: &str, advice: &str) -> Result<(), String> {
    for (axis, (actual, expected)) in axes.iter().zip(expected).enumerate().skip(1) {
        // The manifest decides an axis that the exporter left open.
        if actual.is_some() && actual != expected {
            return Err(format!(
                "axis {axis} of its {role} is {}, but the manifest makes it {}. {advice}",
                actual.unwrap_or_default(),
                expected.unwrap_or_default()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_exporters_write_for_open_axes_are_open() {
        // onnx-ir reads -1 and the smallest integer so.
        for size in [0, usize::MAX, 1 << 63] {
            assert_eq!(plausible(size), None, "{size}");
        }
        assert_eq!(plausible(1), Some(1));
    }
}
