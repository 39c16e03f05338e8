//! Functions of one value, applied to every value of a tensor.

use kiln_ops::Unary;

use super::super::context::Context;
use super::super::isa::{Isa, SafeKernel};
use super::super::simd::Simd;
use super::for_each_rows;
use super::math::{erf, exp, fma, gelu, gelu_tanh, mish, sigmoid, swish, tanh};

/// A loop that applies a function to values. [`visit`] compiles the loop for each function.
pub(in crate::cpu) trait ValueLoop {
    /// Runs the loop. Implementations are `inline(always)`.
    fn run(self, function: impl Fn(f32) -> f32);
}

/// Calls `values` with a function.
///
/// `Exp`, `Erf`, `Sigmoid`, `Tanh` and the activations built on them are vectorised, with a relative error below 1e-6 (for
/// the activations relative to their argument). The remaining transcendental functions are those of the standard library.
#[inline(always)]
pub(in crate::cpu) fn visit<S: Simd>(function: Unary, values: impl ValueLoop) {
    match function {
        Unary::Abs => values.run(f32::abs),
        Unary::Acos => values.run(f32::acos),
        Unary::Acosh => values.run(f32::acosh),
        Unary::Asin => values.run(f32::asin),
        Unary::Asinh => values.run(f32::asinh),
        Unary::Atan => values.run(f32::atan),
        Unary::Atanh => values.run(f32::atanh),
        Unary::Ceil => values.run(f32::ceil),
        Unary::Cos => values.run(f32::cos),
        Unary::Cosh => values.run(f32::cosh),
        Unary::Erf => values.run(erf::<S>),
        Unary::Exp => values.run(exp::<S>),
        Unary::Floor => values.run(f32::floor),
        Unary::Log => values.run(f32::ln),
        Unary::Neg => values.run(|x| -x),
        Unary::Not => values.run(|x| if x == 0.0 { 1.0 } else { 0.0 }),
        Unary::Reciprocal => values.run(|x| 1.0 / x),
        Unary::Round => values.run(f32::round_ties_even),
        Unary::Sigmoid => values.run(sigmoid::<S>),
        Unary::Sign => values.run(|x| {
            if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                x
            }
        }),
        Unary::Sin => values.run(f32::sin),
        Unary::Sinh => values.run(f32::sinh),
        Unary::Softplus => values.run(|x| x.max(0.0) + (-x.abs()).exp().ln_1p()),
        Unary::Softsign => values.run(|x| x / (1.0 + x.abs())),
        Unary::Sqrt => values.run(f32::sqrt),
        Unary::Tan => values.run(f32::tan),
        Unary::Tanh => values.run(tanh::<S>),
        Unary::Trunc => values.run(f32::trunc),
        Unary::IsNan => values.run(|x| if x.is_nan() { 1.0 } else { 0.0 }),
        Unary::IsInf => values.run(|x| if x.is_infinite() { 1.0 } else { 0.0 }),
        Unary::Swish { alpha } => values.run(|x| swish::<S>(alpha, x)),
        Unary::Gelu => values.run(gelu::<S>),
        Unary::GeluTanh => values.run(gelu_tanh::<S>),
        Unary::Mish => values.run(mish::<S>),
        Unary::LeakyRelu { slope } => values.run(|x| if x < 0.0 { slope * x } else { x }),
        Unary::Elu { alpha, gamma, scale } => values.run(|x| {
            let below = alpha * (exp::<S>(scale * x) - 1.0);
            gamma * if x < 0.0 { below } else { x }
        }),
        Unary::ThresholdedRelu { alpha } => values.run(|x| if x <= alpha { 0.0 } else { x }),
        Unary::Shrink { lambda, bias } => {
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
        Unary::Clamp { low, high } => values.run(|x| clamp(x, low, high)),
        Unary::HardSigmoid { alpha, beta } => values.run(|x| clamp(fma::<S>(alpha, x, beta), 0.0, 1.0)),
        Unary::HardSwish => values.run(|x| x * clamp(fma::<S>(1.0 / 6.0, x, 0.5), 0.0, 1.0)),
        Unary::Power(exponent) => visit_power(exponent, values),
    }
}

/// Returns the work for one value, compared with an addition.
pub(super) fn cost(function: Unary) -> usize {
    match function {
        Unary::Abs
        | Unary::Ceil
        | Unary::Floor
        | Unary::Neg
        | Unary::Not
        | Unary::Round
        | Unary::Sign
        | Unary::Trunc
        | Unary::IsNan
        | Unary::IsInf => 1,
        Unary::Clamp { .. } | Unary::HardSigmoid { .. } | Unary::HardSwish | Unary::LeakyRelu { .. } => 1,
        Unary::ThresholdedRelu { .. } | Unary::Shrink { .. } | Unary::Reciprocal | Unary::Sqrt | Unary::Softsign => 1,
        Unary::Erf | Unary::Exp | Unary::Sigmoid | Unary::Tanh | Unary::Swish { .. } | Unary::Elu { .. } => 4,
        Unary::Gelu | Unary::GeluTanh | Unary::Mish => 4,
        _ => 16,
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
pub fn unary(context: &Context, function: Unary, input: &[f32], output: &mut [f32]) {
    assert_eq!(input.len(), output.len(), "values of a function");
    for_each_rows(context, output, 1, cost(function), |range, output| {
        context.isa().run(UnaryKernel { function, input: &input[range], output });
    });
}

struct UnaryKernel<'a> {
    function: Unary,
    input: &'a [f32],
    output: &'a mut [f32],
}

impl SafeKernel for UnaryKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        visit::<S>(self.function, Copying { input: self.input, output: self.output });
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
pub(in crate::cpu) fn apply_in_place(isa: Isa, function: Unary, values: &mut [f32]) {
    isa.run(InPlaceKernel { function, values });
}

struct InPlaceKernel<'a> {
    function: Unary,
    values: &'a mut [f32],
}

impl SafeKernel for InPlaceKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        visit::<S>(self.function, InPlace(self.values));
    }
}
