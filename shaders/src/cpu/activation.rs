//! The activations of convolutions, applied to a register tile or to values that were just stored.

use kiln_ops::Activation;

use super::isa::SafeKernel;
use super::simd::Simd;
use super::tensor::{ValueLoop, math};

/// Returns whether [`apply`] leaves the function out, because it needs too many registers or is rare. A kernel then runs a
/// [`SecondPass`] over values that it has just stored.
#[inline(always)]
pub(super) fn has_second_pass(activation: Activation) -> bool {
    use Activation::{Clamp, HardSigmoid, HardSwish, Identity};
    !matches!(activation, Identity | Clamp { .. } | HardSigmoid { .. } | HardSwish)
}

/// Applies an activation to the vectors of a register tile, unless it [has a second pass](has_second_pass). NaN stays NaN.
///
/// # Safety
///
/// The processor has the instruction set `S`.
#[inline(always)]
pub(super) unsafe fn apply<S: Simd, const ROWS: usize, const VECTORS: usize>(
    activation: Activation,
    tile: [[S::V; VECTORS]; ROWS],
) -> [[S::V; VECTORS]; ROWS] {
    // SAFETY: the block only computes with vectors of `S`, and the caller guarantees the instruction set.
    unsafe {
        match activation {
            Activation::Clamp { low, high } => {
                let (low, high) = (S::splat(low), S::splat(high));
                map_tile::<S, ROWS, VECTORS>(tile, |x| S::min(high, S::max(low, x)))
            }
            Activation::HardSigmoid { alpha, beta } => {
                let (alpha, beta) = (S::splat(alpha), S::splat(beta));
                map_tile::<S, ROWS, VECTORS>(tile, |x| hard_sigmoid::<S>(alpha, beta, x))
            }
            Activation::HardSwish => {
                let (alpha, beta) = (S::splat(1.0 / 6.0), S::splat(0.5));
                map_tile::<S, ROWS, VECTORS>(tile, |x| S::mul(x, hard_sigmoid::<S>(alpha, beta, x)))
            }
            _ => tile,
        }
    }
}

/// The activation of stored values, if it [has a second pass](has_second_pass).
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
            Activation::Swish => values.run(|x| math::swish::<S>(1.0, x)),
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
    // SAFETY: as in `apply`.
    unsafe { S::min(S::splat(1.0), S::max(S::splat(0.0), S::mul_add(alpha, x, beta))) }
}
