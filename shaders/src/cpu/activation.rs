//! What is done to a convolution's sums before they are stored.

use super::simd::Simd;

/// An elementwise function at the end of a convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `x`
    Identity,
    /// `min(max(x, low), high)`: ReLU is `(0, inf)`, ReLU6 is `(0, 6)`.
    Clamp {
        /// The least value.
        low: f32,
        /// The largest value.
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
}

impl Activation {
    /// Rectified linear unit.
    pub const RELU: Self = Self::Clamp { low: 0.0, high: f32::INFINITY };

    /// Applies it to the vectors of a register tile. NaN stays NaN.
    #[inline(always)]
    pub(crate) unsafe fn apply<S: Simd, const ROWS: usize, const VECTORS: usize>(
        self,
        tile: [[S::V; VECTORS]; ROWS],
    ) -> [[S::V; VECTORS]; ROWS] {
        // SAFETY: arithmetic on vectors of `S`, which the caller promises to be there.
        unsafe {
            match self {
                Self::Identity => tile,
                Self::Clamp { low, high } => {
                    let (low, high) = (S::splat(low), S::splat(high));
                    each::<S, ROWS, VECTORS>(tile, |x| S::min(high, S::max(low, x)))
                }
                Self::HardSigmoid { alpha, beta } => {
                    let (alpha, beta) = (S::splat(alpha), S::splat(beta));
                    each::<S, ROWS, VECTORS>(tile, |x| hard_sigmoid::<S>(alpha, beta, x))
                }
                Self::HardSwish => {
                    let (alpha, beta) = (S::splat(1.0 / 6.0), S::splat(0.5));
                    each::<S, ROWS, VECTORS>(tile, |x| S::mul(x, hard_sigmoid::<S>(alpha, beta, x)))
                }
            }
        }
    }
}

/// Counted loops over whole arrays: with iterators the compiler leaves the tile in memory, at half the speed.
#[inline(always)]
fn each<S: Simd, const ROWS: usize, const VECTORS: usize>(
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
    // SAFETY: as above.
    unsafe { S::min(S::splat(1.0), S::max(S::splat(0.0), S::mul_add(alpha, x, beta))) }
}
