//! The activation functions that a convolution applies to its sums before it stores them.

use super::isa::SafeKernel;
use super::simd::Simd;
use super::tensor::{Function, ValueLoop, math};

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

    /// Returns the same function for [`crate::cpu::tensor::unary`], or `None` for the identity.
    pub fn function(self) -> Option<Function> {
        Some(match self {
            Self::Identity => return None,
            Self::Clamp { low, high } => Function::Clamp { low, high },
            Self::HardSigmoid { alpha, beta } => Function::HardSigmoid { alpha, beta },
            Self::HardSwish => Function::HardSwish,
            Self::LeakyRelu { slope } => Function::LeakyRelu { slope },
            Self::Sigmoid => Function::Sigmoid,
            Self::Tanh => Function::Tanh,
            Self::Swish => Function::Swish { alpha: 1.0 },
            Self::Gelu => Function::Gelu,
            Self::GeluTanh => Function::GeluTanh,
        })
    }

    /// Returns whether [`Activation::apply`] leaves the function out, because it needs too many registers or is rare. A kernel
    /// then runs a [`SecondPass`] over values that it has just stored.
    #[inline(always)]
    pub(super) fn has_second_pass(self) -> bool {
        !matches!(self, Self::Identity | Self::Clamp { .. } | Self::HardSigmoid { .. } | Self::HardSwish)
    }

    /// Applies the function to the vectors of a register tile, unless it [has a second
    /// pass](Activation::has_second_pass). NaN stays NaN.
    ///
    /// # Safety
    ///
    /// The processor has the instruction set `S`.
    #[inline(always)]
    pub(crate) unsafe fn apply<S: Simd, const ROWS: usize, const VECTORS: usize>(
        self,
        tile: [[S::V; VECTORS]; ROWS],
    ) -> [[S::V; VECTORS]; ROWS] {
        // SAFETY: the block only computes with vectors of `S`, and the caller guarantees the instruction set.
        unsafe {
            match self {
                Self::Clamp { low, high } => {
                    let (low, high) = (S::splat(low), S::splat(high));
                    map_tile::<S, ROWS, VECTORS>(tile, |x| S::min(high, S::max(low, x)))
                }
                Self::HardSigmoid { alpha, beta } => {
                    let (alpha, beta) = (S::splat(alpha), S::splat(beta));
                    map_tile::<S, ROWS, VECTORS>(tile, |x| hard_sigmoid::<S>(alpha, beta, x))
                }
                Self::HardSwish => {
                    let (alpha, beta) = (S::splat(1.0 / 6.0), S::splat(0.5));
                    map_tile::<S, ROWS, VECTORS>(tile, |x| S::mul(x, hard_sigmoid::<S>(alpha, beta, x)))
                }
                _ => tile,
            }
        }
    }
}

/// The activation of stored values, for [`Activation::has_second_pass`].
///
/// Kernels call it from functions that are not inlined. Inside the loops of the dense kernel it would slow down the other
/// activations.
pub(super) struct SecondPass<V> {
    pub(super) activation: Activation,
    pub(super) values: V,
}

impl<V: ValueLoop> SafeKernel for SecondPass<V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { activation, values } = self;
        match activation {
            Activation::LeakyRelu { slope } => values.run(|x| if x < 0.0 { slope * x } else { x }),
            Activation::Sigmoid => values.run(math::sigmoid::<S>),
            Activation::Tanh => values.run(math::tanh::<S>),
            Activation::Swish => values.run(|x| x * math::sigmoid::<S>(x)),
            Activation::Gelu => values.run(math::gelu::<S>),
            Activation::GeluTanh => values.run(math::gelu_tanh::<S>),
            Activation::Identity
            | Activation::Clamp { .. }
            | Activation::HardSigmoid { .. }
            | Activation::HardSwish => {}
        }
    }
}

/// Applies `function` to every vector. The loops are counted: with iterators the compiler keeps the tile in memory, which
/// halves the speed.
#[inline(always)]
fn map_tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
    mut tile: [[S::V; VECTORS]; ROWS],
    function: impl Fn(S::V) -> S::V,
) -> [[S::V; VECTORS]; ROWS] {
    for r in 0..ROWS {
        for v in 0..VECTORS {
            tile[r][v] = function(tile[r][v]);
        }
    }
    tile
}

#[inline(always)]
unsafe fn hard_sigmoid<S: Simd>(alpha: S::V, beta: S::V, x: S::V) -> S::V {
    // SAFETY: as in `Activation::apply`.
    unsafe { S::min(S::splat(1.0), S::max(S::splat(0.0), S::mul_add(alpha, x, beta))) }
}
