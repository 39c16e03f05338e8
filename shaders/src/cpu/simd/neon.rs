//! NEON: 32 registers of 4 values.

use std::arch::aarch64::*;

use super::Simd;

/// The NEON instruction set. Code reaches it only on a processor that has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neon;

impl Simd for Neon {
    type V = float32x4_t;
    type Narrow = Self;
    const LANES: usize = 4;
    const TILE_ROWS: usize = 8;
    const TILE_VECTORS: usize = 3;
    const FUSED: bool = true;

    simd_functions! {
        splat: vdupq_n_f32, load: vld1q_f32, store: vst1q_f32,
        add: vaddq_f32, mul: vmulq_f32, max: vmaxq_f32, min: vminq_f32,
    }

    #[inline(always)]
    unsafe fn mul_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: the caller guarantees the instruction set.
        unsafe { vfmaq_f32(c, a, b) }
    }

    spread_in_fours!(float32x4_t: vdupq_laneq_f32, 0, 1, 2, 3);
}
