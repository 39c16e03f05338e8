//! The ONNX file as it lies on disk: operator set, operators, where the weights are. Nothing here follows the graph.

use std::collections::BTreeMap;
use std::str::FromStr;

use onnx_ir::ir::NodeType;
use onnx_ir::{GraphProto, Message, ModelProto, NodeProto, TensorProto};

/// Operators that onnx-ir 0.22.0 parses and burn-onnx 0.22.0 generates no code for: those of `NodeType` that are not in the
/// dispatch of its `node_codegen.rs`. (`SplitToSequence` and `SequenceAt` it rewrites where one follows the other, which a list
/// of operators does not tell.)
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

/// Reads a file's bytes as a model.
pub fn read(bytes: &[u8]) -> Result<ModelProto, String> {
    let model = ModelProto::parse_from_bytes(bytes).map_err(|e| e.to_string())?;
    // Nearly any bytes are a message with unknown fields.
    if model.graph.node.is_empty() {
        return Err("it has no graph".to_string());
    }
    Ok(model)
}

/// The version of ONNX's own operators, if the file says so.
pub fn opset(model: &ModelProto) -> Option<i64> {
    let own = model.opset_import.iter().find(|import| matches!(import.domain.as_str(), "" | "ai.onnx"));
    own.map(|import| import.version)
}

/// Every operator by its name, those of other domains with their domain, and how often it occurs; inside of others too.
pub fn operators(model: &ModelProto) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    count(&model.graph, &mut counts);
    counts
}

fn count(graph: &GraphProto, counts: &mut BTreeMap<String, usize>) {
    for node in &graph.node {
        let name = match node.domain.as_str() {
            "" | "ai.onnx" => node.op_type.clone(),
            domain => format!("{domain}::{}", node.op_type),
        };
        *counts.entry(name).or_default() += 1;
        for attribute in &node.attribute {
            attribute.g.iter().chain(&attribute.graphs).for_each(|inner| count(inner, counts));
        }
    }
}

/// Those of them that burn-onnx cannot import, in words, if there are any.
pub fn unknown_operators(model: &ModelProto) -> Option<String> {
    let is_known = |name: &str| {
        let plain = name.strip_prefix("ai.onnx.ml::").unwrap_or(name);
        NodeType::from_str(plain).is_ok() && !WITHOUT_CODE.contains(&plain)
    };
    let unknown: Vec<String> = operators(model)
        .iter()
        .filter(|(name, _)| !is_known(name))
        .map(|(name, count)| if *count == 1 { name.clone() } else { format!("{name} ({count} times)") })
        .collect();
    (!unknown.is_empty()).then(|| unknown.join(", "))
}

/// What the file itself says of an axis of its one output, which is not always found again by following the graph.
pub fn output_axis(model: &ModelProto, axis: usize) -> Option<usize> {
    let [output] = &model.graph.output[..] else { return None };
    let size = output.type_.tensor_type().shape.dim.get(axis).filter(|size| size.has_dim_value())?;
    usize::try_from(size.dim_value()).ok()
}

/// The first tensor whose values lie in another file, and that file; those of constants and of graphs inside of others too.
pub fn outside_weights(model: &ModelProto) -> Option<(String, String)> {
    outside(&model.graph)
}

fn outside(graph: &GraphProto) -> Option<(String, String)> {
    let told = |name: &str, tensor: &TensorProto| {
        let file = tensor.external_data.iter().find(|entry| entry.key == "location");
        let is_outside = !tensor.external_data.is_empty();
        is_outside.then(|| (name.to_string(), file.map(|entry| entry.value.clone()).unwrap_or_default()))
    };
    let in_node = |node: &NodeProto| {
        let name = node.output.first().map_or("", String::as_str);
        node.attribute.iter().find_map(|attribute| {
            let mut inner = attribute.g.iter().chain(&attribute.graphs);
            let mut tensors = attribute.t.iter().chain(&attribute.tensors);
            tensors.find_map(|tensor| told(name, tensor)).or_else(|| inner.find_map(outside))
        })
    };
    let first = graph.initializer.iter().find_map(|tensor| told(&tensor.name, tensor));
    first.or_else(|| graph.node.iter().find_map(in_node))
}
