//! Functions of one value, applied to every value of a tensor.

use super::super::context::Context;
use super::super::isa::{Isa, SafeKernel};
use super::super::simd::Simd;
use super::for_each_rows;
use super::math::{erf, exp, fma, gelu, gelu_tanh, mish, sigmoid, tanh};

/// A function of one value. Conditions are 0 or 1. NaN stays NaN, except in [`Function::Not`].
///
/// `Exp`, `Erf`, `Sigmoid`, `Tanh` and the activations built on them are vectorised, with a relative error below 1e-6 (for
/// the activations relative to their argument). `x * 0` at minus infinity is NaN. The remaining transcendental functions are
/// those of the standard library.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the variants without a comment are the ONNX operators of the same name")]
pub enum Function {
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
    /// `e^x`; 0 if that is below the smallest normal number.
    Exp,
    Floor,
    Log,
    Neg,
    /// 1 for zero, otherwise 0.
    Not,
    Reciprocal,
    /// The nearest integer, and the even one of two.
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
    Trunc,
    /// `x * sigmoid(alpha * x)`; SiLU is `alpha = 1`.
    Swish {
        alpha: f32,
    },
    /// `x * (1 + erf(x / sqrt(2))) / 2`
    Gelu,
    /// The approximation of GELU by the hyperbolic tangent.
    GeluTanh,
    /// `x * tanh(softplus(x))`
    Mish,
    /// `x`, and `slope * x` below zero.
    LeakyRelu {
        slope: f32,
    },
    /// `gamma * x`, and `gamma * alpha * (e^(scale * x) - 1)` below zero. ELU has `gamma = scale = 1`, SELU `scale = 1`,
    /// CELU `gamma = 1, scale = 1 / alpha`.
    Elu {
        alpha: f32,
        gamma: f32,
        scale: f32,
    },
    /// `x` above `alpha`, otherwise 0.
    ThresholdedRelu {
        alpha: f32,
    },
    /// `x + bias` below `-lambda`, `x - bias` above `lambda`, otherwise 0.
    Shrink {
        lambda: f32,
        bias: f32,
    },
    /// `min(max(x, low), high)`
    Clamp {
        low: f32,
        high: f32,
    },
    /// `clamp(alpha * x + beta, 0, 1)`
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    /// `x * clamp(x / 6 + 1/2, 0, 1)`
    HardSwish,
    /// `x` to a constant power.
    Power(f32),
}

/// A loop that applies a function to values. [`Function::visit`] compiles the loop for each function.
pub(in crate::cpu) trait ValueLoop {
    /// Runs the loop. Implementations are `inline(always)`.
    fn run(self, function: impl Fn(f32) -> f32);
}

impl Function {
    /// Calls `values` with this function.
    #[inline(always)]
    pub(in crate::cpu) fn visit<S: Simd>(self, values: impl ValueLoop) {
        match self {
            Self::Abs => values.run(f32::abs),
            Self::Acos => values.run(f32::acos),
            Self::Acosh => values.run(f32::acosh),
            Self::Asin => values.run(f32::asin),
            Self::Asinh => values.run(f32::asinh),
            Self::Atan => values.run(f32::atan),
            Self::Atanh => values.run(f32::atanh),
            Self::Ceil => values.run(f32::ceil),
            Self::Cos => values.run(f32::cos),
            Self::Cosh => values.run(f32::cosh),
            Self::Erf => values.run(erf::<S>),
            Self::Exp => values.run(exp::<S>),
            Self::Floor => values.run(f32::floor),
            Self::Log => values.run(f32::ln),
            Self::Neg => values.run(|x| -x),
            Self::Not => values.run(|x| if x == 0.0 { 1.0 } else { 0.0 }),
            Self::Reciprocal => values.run(|x| 1.0 / x),
            Self::Round => values.run(f32::round_ties_even),
            Self::Sigmoid => values.run(sigmoid::<S>),
            Self::Sign => values.run(|x| {
                if x > 0.0 {
                    1.0
                } else if x < 0.0 {
                    -1.0
                } else {
                    x
                }
            }),
            Self::Sin => values.run(f32::sin),
            Self::Sinh => values.run(f32::sinh),
            Self::Softplus => values.run(|x| x.max(0.0) + (-x.abs()).exp().ln_1p()),
            Self::Softsign => values.run(|x| x / (1.0 + x.abs())),
            Self::Sqrt => values.run(f32::sqrt),
            Self::Tan => values.run(f32::tan),
            Self::Tanh => values.run(tanh::<S>),
            Self::Trunc => values.run(f32::trunc),
            Self::Swish { alpha } => values.run(|x| x * sigmoid::<S>(alpha * x)),
            Self::Gelu => values.run(gelu::<S>),
            Self::GeluTanh => values.run(gelu_tanh::<S>),
            Self::Mish => values.run(mish::<S>),
            Self::LeakyRelu { slope } => values.run(|x| if x < 0.0 { slope * x } else { x }),
            Self::Elu { alpha, gamma, scale } => values.run(|x| {
                let below = alpha * (exp::<S>(scale * x) - 1.0);
                gamma * if x < 0.0 { below } else { x }
            }),
            Self::ThresholdedRelu { alpha } => values.run(|x| if x <= alpha { 0.0 } else { x }),
            Self::Shrink { lambda, bias } => {
                values.run(|x| {
                    if x < -lambda {
                        x + bias
                    } else if x <= lambda {
                        0.0
                    } else {
                        x - bias
                    }
                });
            }
            Self::Clamp { low, high } => values.run(|x| clamp(x, low, high)),
            Self::HardSigmoid { alpha, beta } => values.run(|x| clamp(fma::<S>(alpha, x, beta), 0.0, 1.0)),
            Self::HardSwish => values.run(|x| x * clamp(fma::<S>(1.0 / 6.0, x, 0.5), 0.0, 1.0)),
            Self::Power(exponent) => visit_power(exponent, values),
        }
    }

    /// Returns the work for one value, compared with an addition.
    pub(super) fn cost(self) -> usize {
        match self {
            Self::Abs | Self::Ceil | Self::Floor | Self::Neg | Self::Not | Self::Round | Self::Sign | Self::Trunc => 1,
            Self::Clamp { .. } | Self::HardSigmoid { .. } | Self::HardSwish | Self::LeakyRelu { .. } => 1,
            Self::ThresholdedRelu { .. } | Self::Shrink { .. } | Self::Reciprocal | Self::Sqrt | Self::Softsign => 1,
            Self::Erf | Self::Exp | Self::Sigmoid | Self::Tanh | Self::Swish { .. } | Self::Elu { .. } => 4,
            Self::Gelu | Self::GeluTanh | Self::Mish => 4,
            _ => 16,
        }
    }
}

/// Selects a short computation for common exponents.
#[inline(always)]
fn visit_power(exponent: f32, values: impl ValueLoop) {
    if exponent == 2.0 {
        values.run(|x| x * x)
    } else if exponent == 3.0 {
        values.run(|x| x * x * x)
    } else if exponent == 4.0 {
        values.run(|x| (x * x) * (x * x))
    } else if exponent == 1.0 {
        values.run(|x| x)
    } else if exponent == -1.0 {
        values.run(|x| 1.0 / x)
    } else if exponent == 0.5 {
        values.run(f32::sqrt)
    } else if exponent == -0.5 {
        values.run(|x| 1.0 / x.sqrt())
    } else {
        values.run(|x| x.powf(exponent))
    }
}

/// Returns `min(max(x, low), high)`, or NaN for NaN.
#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if low > x { low } else { x };
    if high < x { high } else { x }
}

/// Fills `output` with the function of each value of `input`.
///
/// # Panics
///
/// Panics if the lengths differ.
pub fn unary(context: &Context, function: Function, input: &[f32], output: &mut [f32]) {
    assert_eq!(input.len(), output.len(), "values of a function");
    for_each_rows(context, output, 1, function.cost(), |range, output| {
        context.isa().run(UnaryKernel { function, input: &input[range], output });
    });
}

struct UnaryKernel<'a> {
    function: Function,
    input: &'a [f32],
    output: &'a mut [f32],
}

impl SafeKernel for UnaryKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        self.function.visit::<S>(Copying { input: self.input, output: self.output });
    }
}

struct Copying<'a> {
    input: &'a [f32],
    output: &'a mut [f32],
}

impl ValueLoop for Copying<'_> {
    #[inline(always)]
    fn run(self, function: impl Fn(f32) -> f32) {
        for (output, input) in self.output.iter_mut().zip(self.input) {
            *output = function(*input);
        }
    }
}

/// Replaces each value by its function.
pub(in crate::cpu) struct InPlace<'a>(pub(in crate::cpu) &'a mut [f32]);

impl ValueLoop for InPlace<'_> {
    #[inline(always)]
    fn run(self, function: impl Fn(f32) -> f32) {
        for value in self.0 {
            *value = function(*value);
        }
    }
}

/// Replaces each value by its function, on this thread.
pub(in crate::cpu) fn apply_in_place(isa: Isa, function: Function, values: &mut [f32]) {
    isa.run(InPlaceKernel { function, values });
}

struct InPlaceKernel<'a> {
    function: Function,
    values: &'a mut [f32],
}

impl SafeKernel for InPlaceKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        self.function.visit::<S>(InPlace(self.values));
    }
}
