//! Functions of one value.

/// A function of one value. Conditions are 0 or 1. NaN stays NaN, except in the functions that return a condition.
///
/// `x * 0` at minus infinity is NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the variants without a comment are the ONNX operators of the same name")]
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
    /// 1 for NaN, otherwise 0.
    IsNan,
    /// 1 for the infinities, otherwise 0.
    IsInf,
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

impl Unary {
    /// The result for one value, computed with the standard library.
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
            Self::Elu { alpha, gamma, scale } if x < 0.0 => gamma * alpha * (scale * x).exp_m1(),
            Self::Elu { gamma, .. } => gamma * x,
            Self::ThresholdedRelu { alpha } if x <= alpha => 0.0,
            Self::ThresholdedRelu { .. } => x,
            Self::Shrink { lambda, bias } if x < -lambda => x + bias,
            Self::Shrink { lambda, .. } if x <= lambda => 0.0,
            Self::Shrink { bias, .. } => x - bias,
            Self::Clamp { low, high } => clamp(x, low, high),
            Self::HardSigmoid { alpha, beta } => clamp(alpha * x + beta, 0.0, 1.0),
            Self::HardSwish => x * Self::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }.of(x),
            Self::Power(exponent) => x.powf(exponent),
        }
    }
}

/// Returns `min(max(x, low), high)`, or NaN for NaN.
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if low > x { low } else { x };
    if high < x { high } else { x }
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
