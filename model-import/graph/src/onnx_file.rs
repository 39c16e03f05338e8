//! The ONNX file as a protobuf message: operator set, operators, external weights, implausible values. Nothing here follows
//! the edges of the graph.

use std::collections::BTreeMap;
use std::str::FromStr;

use onnx_ir::ir::NodeType;
use onnx_ir::{GraphProto, Message, ModelProto, NodeProto, TensorProto};

use crate::onnx::explain_malformed;

/// The most operators of a network. The largest classifiers have a tenth of that, and the parser's time grows with the square
/// of the number.
const MAX_OPERATORS: usize = 10_000;
/// The most pixels of a window, of its strides and of its padding, and the most groups of a convolution.
const MAX_WINDOW: i64 = 1 << 16;
/// Operators that onnx-ir 0.22.0 parses and burn-onnx 0.22.0 generates no code for: the variants of `NodeType` that the dispatch
/// of its `node_codegen.rs` lacks. (burn-onnx rewrites `SplitToSequence` and `SequenceAt` where one follows the other. A list of
/// operators cannot express that.)
const WITHOUT_CODE: [&str; 34] = [
    "AffineGrid",
    "CenterCropPad",
    "Compress",
    "ConcatFromSequence",
    "ConvInteger",
    "DynamicQuantizeLinear",
    "Im",
    "ImageDecoder",
    "MaxRoiPool",
    "MaxUnpool",
    "Multinomial",
    "NegativeLogLikelihoodLoss",
    "Optional",
    "OptionalGetElement",
    "OptionalHasElement",
    "QLinearConv",
    "RMSNormalization",
    "RegexFullMatch",
    "ReverseSequence",
    "RoiAlign",
    "RotaryEmbedding",
    "SequenceConstruct",
    "SequenceEmpty",
    "SequenceErase",
    "SequenceInsert",
    "SequenceLength",
    "SequenceMap",
    "SoftmaxCrossEntropyLoss",
    "StringConcat",
    "StringNormalizer",
    "StringSplit",
    "TensorScatter",
    "TfIdfVectorizer",
    "Unique",
];

/// An ONNX file whose protobuf message is parsed.
#[derive(Clone, Debug)]
pub struct OnnxFile(ModelProto);

/// A tensor whose values are in another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalWeights {
    /// Name of the tensor, or of the constant that holds it.
    pub tensor: String,
    /// Path of the other file, as the ONNX file gives it; empty if it gives none.
    pub file: String,
}

impl OnnxFile {
    /// Parses the bytes of a file.
    ///
    /// # Errors
    ///
    /// The bytes are not an ONNX model. The text has the next step.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let model = ModelProto::parse_from_bytes(bytes).map_err(|e| explain_malformed(bytes, &e.to_string()))?;
        // Protobuf accepts nearly any bytes as a message with unknown fields.
        if model.graph.node.is_empty() {
            return Err(explain_malformed(bytes, "its graph has no operators"));
        }
        Ok(Self(model))
    }

    /// The version of ONNX's own operators, if the file declares it.
    pub fn opset(&self) -> Option<i64> {
        let own = self.0.opset_import.iter().find(|import| matches!(import.domain.as_str(), "" | "ai.onnx"));
        own.map(|import| import.version)
    }

    /// The name of the only output; empty if there are several.
    pub fn output(&self) -> String {
        let [output] = &self.0.graph.output[..] else { return String::new() };
        output.name.clone()
    }

    /// Name and version of the program that wrote the file; empty if the file does not declare them.
    pub fn producer(&self) -> String {
        format!("{} {}", self.0.producer_name, self.0.producer_version).trim().to_string()
    }

    /// The operators, those of foreign domains with their domain, and the number of their occurrences, subgraphs included.
    pub fn operators(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        count_operators(&self.0.graph, &mut counts);
        counts
    }

    /// A comma-separated list of the operators that burn-onnx cannot import, or `None` if it can import all of them.
    pub fn unsupported_operators(&self) -> Option<String> {
        let is_supported = |name: &str| {
            let plain = name.strip_prefix("ai.onnx.ml::").unwrap_or(name);
            NodeType::from_str(plain).is_ok() && !WITHOUT_CODE.contains(&plain)
        };
        let unsupported: Vec<String> = self
            .operators()
            .iter()
            .filter(|(name, _)| !is_supported(name))
            .map(|(name, count)| if *count == 1 { name.clone() } else { format!("{name} ({count} times)") })
            .collect();
        (!unsupported.is_empty()).then(|| unsupported.join(", "))
    }

    /// The size that the file declares for an axis of its only output. Shape inference does not always find it.
    pub fn declared_output_axis(&self, axis: usize) -> Option<usize> {
        let [output] = &self.0.graph.output[..] else { return None };
        let size = output.type_.tensor_type().shape.dim.get(axis).filter(|size| size.has_dim_value())?;
        // 0 and -1 are open axes.
        usize::try_from(size.dim_value()).ok().filter(|size| *size > 0)
    }

    /// The first tensor whose values are in another file; constants and subgraphs are searched as well.
    pub fn external_weights(&self) -> Option<ExternalWeights> {
        find_external(&self.0.graph)
    }

    /// Checks for values that no exporter writes and that the parser, or the code after it, would trust.
    ///
    /// # Errors
    ///
    /// The first such value, the allowed range, and the next step.
    pub fn validate(&self) -> Result<(), String> {
        let operators = count_nodes(&self.0.graph);
        if operators > MAX_OPERATORS {
            return Err(format!(
                "it has {operators} operators, but no more than {MAX_OPERATORS} are allowed. Fold its constants \
                 (onnx-simplifier does), or export one classifier alone."
            ));
        }
        validate_graph(&self.0.graph)
    }
}

/// The graphs inside a node: bodies of loops and branches.
fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

fn count_operators(graph: &GraphProto, counts: &mut BTreeMap<String, usize>) {
    for node in &graph.node {
        let name = match node.domain.as_str() {
            "" | "ai.onnx" => node.op_type.clone(),
            domain => format!("{domain}::{}", node.op_type),
        };
        *counts.entry(name).or_default() += 1;
        subgraphs(node).for_each(|inner| count_operators(inner, counts));
    }
}

fn count_nodes(graph: &GraphProto) -> usize {
    graph.node.len() + graph.node.iter().flat_map(subgraphs).map(count_nodes).sum::<usize>()
}

fn find_external(graph: &GraphProto) -> Option<ExternalWeights> {
    let external = |name: &str, tensor: &TensorProto| {
        let location = tensor.external_data.iter().find(|entry| entry.key == "location");
        let file = location.map(|entry| entry.value.clone()).unwrap_or_default();
        (!tensor.external_data.is_empty()).then(|| ExternalWeights { tensor: name.to_string(), file })
    };
    let in_node = |node: &NodeProto| {
        let name = node.output.first().map_or("", String::as_str);
        let mut tensors = node.attribute.iter().flat_map(|attribute| attribute.t.iter().chain(&attribute.tensors));
        tensors.find_map(|tensor| external(name, tensor)).or_else(|| subgraphs(node).find_map(find_external))
    };
    let first = graph.initializer.iter().find_map(|tensor| external(&tensor.name, tensor));
    first.or_else(|| graph.node.iter().find_map(in_node))
}

fn validate_graph(graph: &GraphProto) -> Result<(), String> {
    graph.node.iter().try_for_each(|node| {
        validate_window(node)?;
        subgraphs(node).try_for_each(validate_graph)
    })
}

/// Checks the attributes of convolutions and pooling.
fn validate_window(node: &NodeProto) -> Result<(), String> {
    if !node.op_type.contains("Conv") && !node.op_type.ends_with("Pool") {
        return Ok(());
    }
    for attribute in &node.attribute {
        let min = match attribute.name.as_str() {
            "strides" | "dilations" | "kernel_shape" | "group" => 1,
            "pads" => 0,
            _ => continue,
        };
        let scalar = (attribute.name == "group").then_some(attribute.i);
        let mut values = attribute.ints.iter().copied().chain(scalar);
        if let Some(value) = values.find(|value| !(min..=MAX_WINDOW).contains(value)) {
            return Err(format!(
                "its {} '{}' has {value} in '{}', but from {min} to {MAX_WINDOW} are possible. The file is damaged, or was not \
                 written by an exporter.",
                node.op_type, node.name, attribute.name
            ));
        }
    }
    Ok(())
}
