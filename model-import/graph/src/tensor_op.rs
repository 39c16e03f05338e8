//! Operations on tensors of any rank, for what no fused kernel computes.

use crate::geometry::Geometry;
use crate::host::{Binary, Linear};

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

/// A reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Reduction {
    Sum,
    Mean,
    Max,
    Min,
    Product,
}

/// An elementwise function.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Unary {
    Abs,
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Ceil,
    Cos,
    Cosh,
    Erf,
    Exp,
    Floor,
    Log,
    Neg,
    /// 1 where the input is 0, else 0.
    Not,
    Reciprocal,
    /// To the nearest integer; halves go to the even one.
    Round,
    Sigmoid,
    Sign,
    Sin,
    Sinh,
    Softplus,
    Softsign,
    Sqrt,
    Tan,
    Tanh,
    /// Toward zero.
    Trunc,
    IsNan,
    IsInf,
    /// `x * sigmoid(alpha * x)`: SiLU where `alpha` is 1.
    Swish {
        alpha: f32,
    },
    /// `x / 2 * (1 + erf(x / sqrt(2)))`
    Gelu,
    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`
    GeluTanh,
    /// `x * tanh(softplus(x))`
    Mish,
    LeakyRelu {
        slope: f32,
    },
    /// `alpha * (exp(x / scale) - 1)` where `x` is negative, else `gamma * x`. Elu, Selu and Celu are of this form.
    Elu {
        alpha: f32,
        gamma: f32,
        scale: f32,
    },
    /// `x` where it is larger than `alpha`, else 0.
    ThresholdedRelu {
        alpha: f32,
    },
    /// `x + bias` below `-lambda`, `x - bias` above `lambda`, else 0.
    Shrink {
        lambda: f32,
        bias: f32,
    },
    Clamp {
        low: f32,
        high: f32,
    },
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    /// `x` to a power.
    Power(f32),
}

impl Unary {
    /// The result for one float.
    pub fn of(self, x: f32) -> f32 {
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        let softplus = |x: f32| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let truth = |value: bool| f32::from(u8::from(value));
        match self {
            Self::Abs => x.abs(),
            Self::Acos => x.acos(),
            Self::Acosh => x.acosh(),
            Self::Asin => x.asin(),
            Self::Asinh => x.asinh(),
            Self::Atan => x.atan(),
            Self::Atanh => x.atanh(),
            Self::Ceil => x.ceil(),
            Self::Cos => x.cos(),
            Self::Cosh => x.cosh(),
            Self::Erf => erf(x),
            Self::Exp => x.exp(),
            Self::Floor => x.floor(),
            Self::Log => x.ln(),
            Self::Neg => -x,
            Self::Not => truth(x == 0.0),
            Self::Reciprocal => 1.0 / x,
            Self::Round => x.round_ties_even(),
            Self::Sigmoid => sigmoid(x),
            Self::Sign if x == 0.0 || x.is_nan() => x,
            Self::Sign => x.signum(),
            Self::Sin => x.sin(),
            Self::Sinh => x.sinh(),
            Self::Softplus => softplus(x),
            Self::Softsign => x / (1.0 + x.abs()),
            Self::Sqrt => x.sqrt(),
            Self::Tan => x.tan(),
            Self::Tanh => x.tanh(),
            Self::Trunc => x.trunc(),
            Self::IsNan => truth(x.is_nan()),
            Self::IsInf => truth(x.is_infinite()),
            Self::Swish { alpha } => x * sigmoid(alpha * x),
            Self::Gelu => x * 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)),
            Self::GeluTanh => x * 0.5 * (1.0 + (0.797_884_6 * (x + 0.044_715 * x * x * x)).tanh()),
            Self::Mish => x * softplus(x).tanh(),
            Self::LeakyRelu { slope } if x < 0.0 => x * slope,
            Self::LeakyRelu { .. } => x,
            Self::Elu { alpha, scale, .. } if x < 0.0 => alpha * (x / scale).exp_m1(),
            Self::Elu { gamma, .. } => gamma * x,
            Self::ThresholdedRelu { alpha } if x > alpha => x,
            Self::ThresholdedRelu { .. } => 0.0,
            Self::Shrink { lambda, bias } if x < -lambda => x + bias,
            Self::Shrink { lambda, bias } if x > lambda => x - bias,
            Self::Shrink { .. } => 0.0,
            Self::Clamp { low, high } => x.max(low).min(high),
            Self::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
            Self::Power(exponent) => x.powf(exponent),
        }
    }
}

/// The error function, to about 1e-7 (Numerical Recipes, `erfc` by a Chebyshev fit).
fn erf(x: f32) -> f32 {
    let x = f64::from(x);
    let t = 1.0 / (1.0 + 0.5 * x.abs());
    let coefficients = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let sum = coefficients.iter().rev().fold(0.0, |sum, coefficient| sum * t + coefficient);
    let erfc = t * (-x * x + sum).exp();
    (if x >= 0.0 { 1.0 - erfc } else { erfc - 1.0 }) as f32
}
