//! The functions that a convolution applies to its sums before it stores them.

use crate::Unary;

/// An elementwise function at the end of a convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `x`
    Identity,
    /// `min(max(x, low), high)`. ReLU is `(0, inf)`, ReLU6 is `(0, 6)`.
    Clamp {
        /// The lower bound.
        low: f32,
        /// The upper bound.
        high: f32,
    },
    /// `clamp(alpha * x + beta, 0, 1)` (ONNX `HardSigmoid`).
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Value at zero.
        beta: f32,
    },
    /// `x * clamp(x / 6 + 1/2, 0, 1)` (ONNX `HardSwish`).
    HardSwish,
    /// `x`, and `slope * x` below zero (ONNX `LeakyRelu`).
    LeakyRelu {
        /// Slope below zero.
        slope: f32,
    },
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `x * sigmoid(x)` (SiLU).
    Swish,
    /// `x * (1 + erf(x / sqrt(2))) / 2`
    Gelu,
    /// The approximation of GELU by the hyperbolic tangent.
    GeluTanh,
}

impl Activation {
    /// Rectified linear unit.
    pub const RELU: Self = Self::Clamp { low: 0.0, high: f32::INFINITY };

    /// Returns the function; `None` for the identity.
    pub fn function(self) -> Option<Unary> {
        Some(match self {
            Self::Identity => return None,
            Self::Clamp { low, high } => Unary::Clamp { low, high },
            Self::HardSigmoid { alpha, beta } => Unary::HardSigmoid { alpha, beta },
            Self::HardSwish => Unary::HardSwish,
            Self::LeakyRelu { slope } => Unary::LeakyRelu { slope },
            Self::Sigmoid => Unary::Sigmoid,
            Self::Tanh => Unary::Tanh,
            Self::Swish => Unary::Swish { alpha: 1.0 },
            Self::Gelu => Unary::Gelu,
            Self::GeluTanh => Unary::GeluTanh,
        })
    }

    /// Returns the activation that is a function; `None` if convolutions do not have it.
    pub fn of(function: Unary) -> Option<Self> {
        Some(match function {
            Unary::Clamp { low, high } => Self::Clamp { low, high },
            Unary::HardSigmoid { alpha, beta } => Self::HardSigmoid { alpha, beta },
            Unary::HardSwish => Self::HardSwish,
            Unary::LeakyRelu { slope } => Self::LeakyRelu { slope },
            Unary::Sigmoid => Self::Sigmoid,
            Unary::Tanh => Self::Tanh,
            Unary::Swish { alpha: 1.0 } => Self::Swish,
            Unary::Gelu => Self::Gelu,
            Unary::GeluTanh => Self::GeluTanh,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activation_of_its_function_is_itself() {
        let all = [
            Activation::RELU,
            Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
            Activation::HardSwish,
            Activation::LeakyRelu { slope: 0.1 },
            Activation::Sigmoid,
            Activation::Tanh,
            Activation::Swish,
            Activation::Gelu,
            Activation::GeluTanh,
        ];
        for activation in all {
            assert_eq!(activation.function().and_then(Activation::of), Some(activation));
        }
        assert_eq!(Activation::Identity.function(), None);
        assert_eq!(Activation::of(Unary::Swish { alpha: 1.702 }), None);
    }
}
