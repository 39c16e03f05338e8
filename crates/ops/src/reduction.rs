//! Reductions over axes.

/// How a reduction combines values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the ONNX operators `ReduceSum` and so on")]
pub enum Reduction {
    Sum,
    Mean,
    /// The largest value, or NaN if one is NaN.
    Max,
    /// The smallest value, or NaN if one is NaN.
    Min,
    Product,
}
