//! Operations on tensors of any rank, for what no fused kernel computes.

use kiln_ops::{Binary, Geometry, Reduction, Unary};

use crate::host::Linear;

/// The size of an axis: a number, or a multiple of the batch size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dim {
    /// The size for a batch of one image. Never 0.
    pub size: usize,
    /// Whether the size grows with the batch.
    pub batched: bool,
}

impl Dim {
    /// A size that does not depend on the batch.
    pub fn fixed(size: usize) -> Self {
        Self { size, batched: false }
    }

    /// One per image.
    pub fn batch() -> Self {
        Self { size: 1, batched: true }
    }

    /// The size for a batch of `images`.
    pub fn at(self, images: usize) -> usize {
        if self.batched { self.size * images } else { self.size }
    }

    /// The size, if it does not depend on the batch.
    pub fn as_fixed(self) -> Option<usize> {
        (!self.batched).then_some(self.size)
    }

    pub(crate) fn to_linear(self) -> Linear {
        let size = i64::try_from(self.size).unwrap_or(i64::MAX);
        if self.batched { Linear { constant: 0, per_image: size } } else { Linear::constant(size) }
    }

    pub(crate) fn from_linear(value: Linear) -> Option<Self> {
        let positive = |size: i64| usize::try_from(size).ok().filter(|size| *size > 0);
        match value {
            Linear { constant, per_image: 0 } => Some(Self::fixed(positive(constant)?)),
            Linear { constant: 0, per_image } => Some(Self { size: positive(per_image)?, batched: true }),
            _ => None,
        }
    }

    pub(crate) fn is_one(self) -> bool {
        self == Self::fixed(1)
    }
}

/// An operation. Axes are those of the tensors as they lie in memory.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorOp {
    /// The same elements with another shape.
    Reshape(Vec<Dim>),
    /// Axis `i` of the result is axis `perm[i]` of the input.
    Permute(Vec<usize>),
    /// The elements from `start` to `end` of an axis, each `step`-th.
    Slice {
        /// The axis.
        axis: usize,
        /// The first element.
        start: usize,
        /// The end, exclusive.
        end: usize,
        /// The distance; at least 1.
        step: usize,
    },
    /// Elements of an axis by their indices, in any order.
    Select {
        /// The axis.
        axis: usize,
        /// The indices, each smaller than the axis.
        indices: Vec<usize>,
    },
    /// Repeats axes of size 1.
    Expand(Vec<Dim>),
    /// Joins the inputs along an axis.
    Concat(usize),
    /// Adds elements of one value around the input: before and after each axis.
    Pad {
        /// Number of elements before and after, by axis.
        pads: Vec<[usize; 2]>,
        /// Their value.
        value: f32,
    },
    /// An elementwise function.
    Unary(Unary),
    /// An elementwise function of two inputs of equal rank, which are broadcast.
    Binary(Binary),
    /// The second input where the first is not zero, else the third. The inputs have equal rank and are broadcast.
    Where,
    /// Reduces axes, which keep size 1.
    Reduce {
        /// How.
        reduction: Reduction,
        /// The axes, in ascending order.
        axes: Vec<usize>,
        /// The number of axes of the input.
        rank: usize,
    },
    /// Softmax over an axis, or its logarithm.
    Softmax {
        /// The axis.
        axis: usize,
        /// Its size.
        size: usize,
        /// Whether the result is the logarithm.
        is_log: bool,
    },
    /// `(x - mean) / sqrt(variance + epsilon) * scale + bias` over the last axis.
    LayerNorm {
        /// The summand under the root.
        epsilon: f32,
        /// One factor for each element of the last axis.
        scale: Vec<f32>,
        /// One summand for each element of the last axis.
        bias: Vec<f32>,
    },
    /// Matrix product over the last two axes; the axes before are broadcast.
    MatMul,
    /// A maximum under a window with dilation, in NHWC.
    DilatedMaxPool {
        /// Window, stride and padding.
        geometry: Geometry,
        /// Distance between neighbouring elements of the window.
        dilation: [usize; 2],
    },
    /// A transposed convolution in NHWC.
    ConvTranspose(Box<ConvTranspose>),
}

/// A transposed convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvTranspose {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Groups of channels.
    pub groups: usize,
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Distance between the outputs of neighbouring inputs.
    pub stride: [usize; 2],
    /// Distance between neighbouring elements of the window.
    pub dilation: [usize; 2],
    /// Rows and columns that are cut off before the result.
    pub before: [usize; 2],
    /// Height and width of the result.
    pub size: [usize; 2],
    /// `[inputs, outputs / groups, height, width]`.
    pub weight: Vec<f32>,
    /// `[outputs]`.
    pub bias: Vec<f32>,
}
