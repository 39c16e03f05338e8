//! Results of the graph passes: how many layers each pass fused, which it skipped, and why a network stays unfused.

use crate::network::{Layer, Value};

/// The first part of a graph that the fused kernels do not support. The messages are noun phrases.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfusable {
    /// No layer implements the operator, or not with these attributes.
    #[error("its {0}")]
    Node(String),
    /// The operation is supported only inside a convolution, and no pass could move it into one.
    #[error("its {node}, which cannot become part of a convolution: {reason}")]
    Layer {
        /// Operator and name of the ONNX node.
        node: String,
        /// Why the pass skipped it.
        reason: Reason,
    },
    /// The graph's output is not `[batch, classes]`.
    #[error("its result, which is not one row of numbers per image")]
    Output,
}

#[cfg(feature = "import")]
impl Unfusable {
    pub(crate) fn node(node: &onnx_ir::Node) -> Self {
        Self::Node(describe(node))
    }
}

/// Operator of a node, and its name in the file or its number among the nodes of that operator: onnx-ir replaces most names by the
/// operator and that number.
#[cfg(feature = "import")]
pub(crate) fn describe(node: &onnx_ir::Node) -> String {
    let (kind, name) = (node.node_type().to_string(), node.name());
    let operator = ["1d", "2d", "3d"].into_iter().find_map(|axes| kind.strip_suffix(axes)).unwrap_or(&kind);
    match name.strip_prefix(&kind.to_lowercase()) {
        Some(number) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{operator} (number {number} of them)")
        }
        _ => format!("{operator} '{name}'"),
    }
}

/// The result of one pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassReport {
    /// Name of the pass.
    pub pass: &'static str,
    /// The number of layers that became part of another one.
    pub fused: usize,
    /// The candidates that the pass left alone.
    pub skipped: Vec<SkippedLayer>,
}

/// A layer that a pass left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedLayer {
    /// Operator and name of the ONNX node.
    pub node: String,
    /// The value that the layer produces.
    pub output: Value,
    /// Why.
    pub reason: Reason,
}

impl SkippedLayer {
    pub(crate) fn new(layer: &Layer, reason: Reason) -> Self {
        Self { node: layer.node.clone(), output: layer.output, reason }
    }
}

/// Why a pass skips a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No convolution precedes the layer.
    #[error("its input is not the result of a convolution")]
    NoConvolution,
    /// No convolution follows the layer.
    #[error("no convolution reads its result")]
    NoConvolutionFollows,
    /// The value between the two layers has other consumers, which would lose it.
    #[error("other layers read the value between it and the convolution")]
    SharedValue,
    /// The convolution already applies an activation.
    #[error("the convolution has an activation already")]
    HasActivation,
    /// The convolution already adds a residual.
    #[error("the convolution has a residual already")]
    HasResidual,
    /// Depthwise kernels add no residual.
    #[error("the convolution is depthwise and cannot add a residual")]
    Depthwise,
    /// The layer is no part of a function that exporters write in pieces.
    #[error("it is no part of a known function")]
    NoFunction,
    /// Both operands of a sum are the same value.
    #[error("both of its operands are the same value")]
    SameOperands,
}
