//! Vectors in plain Rust, for every other processor and for Miri. The compiler emits the instructions of the target's
//! baseline.

use super::Simd;

/// Vectors of 4 values, as arrays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

const LANES: usize = 4;

impl Simd for Portable {
    type V = [f32; LANES];
    type Narrow = Self;
    const LANES: usize = LANES;
    const TILE_ROWS: usize = 4;
    const TILE_VECTORS: usize = 2;
    const FUSED: bool = false;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::V {
        [value; LANES]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        // SAFETY: the caller guarantees a pointer to a whole vector.
        unsafe { from.cast::<Self::V>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, vector: Self::V) {
        // SAFETY: the caller guarantees a pointer to a whole vector.
        unsafe { to.cast::<Self::V>().write_unaligned(vector) }
    }

    // `f32::mul_add` would call the C library on targets without a fused multiply-add instruction.
    #[inline(always)]
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|lane| a[lane] * b[lane] + c[lane])
    }

    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|lane| a[lane] + b[lane])
    }

    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|lane| a[lane] * b[lane])
    }

    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|lane| if a[lane] > b[lane] { a[lane] } else { b[lane] })
    }

    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|lane| if a[lane] < b[lane] { a[lane] } else { b[lane] })
    }

    #[inline(always)]
    unsafe fn spread_in_fours<const INDEX: usize>(vector: Self::V) -> Self::V {
        [vector[INDEX]; LANES]
    }
}

/// A vector of one value, for channels that do not fill a wider vector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Single;

impl Simd for Single {
    type V = f32;
    type Narrow = Self;
    const LANES: usize = 1;
    const TILE_ROWS: usize = 1;
    const TILE_VECTORS: usize = 1;
    const FUSED: bool = false;

    #[inline(always)]
    unsafe fn splat(value: f32) -> f32 {
        value
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> f32 {
        // SAFETY: the caller guarantees a pointer to one value.
        unsafe { *from }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: f32) {
        // SAFETY: the caller guarantees a pointer to one value.
        unsafe { *to = value }
    }

    #[inline(always)]
    unsafe fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }

    #[inline(always)]
    unsafe fn add(a: f32, b: f32) -> f32 {
        a + b
    }

    #[inline(always)]
    unsafe fn mul(a: f32, b: f32) -> f32 {
        a * b
    }

    #[inline(always)]
    unsafe fn max(a: f32, b: f32) -> f32 {
        if a > b { a } else { b }
    }

    #[inline(always)]
    unsafe fn min(a: f32, b: f32) -> f32 {
        if a < b { a } else { b }
    }

    #[inline(always)]
    unsafe fn spread_in_fours<const INDEX: usize>(_vector: f32) -> f32 {
        unreachable!("there are no four lanes")
    }
}
