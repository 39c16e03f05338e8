//! Vectors of f32, one implementation an instruction set. Kernels are generic over [`Simd`] and compiled once for each.
//!
//! Every function here is `inline(always)`: a kernel calls them from a function that has the instruction set switched on
//! (`#[target_feature]`), and only inlined into it do they become single instructions.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512_bf16;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;

/// One vector of f32 and what the kernels do with it.
///
/// # Safety
///
/// All functions may only be called on a processor that has the instruction set, and pointers must be good for
/// [`Simd::LANES`] values (no alignment is asked for).
pub(crate) trait Simd: Copy {
    /// The vector.
    type V: Copy;
    /// Vectors for the last columns of a product, where these would be half empty; itself if there are none.
    type Narrow: Simd;
    /// f32 values in a vector.
    const LANES: usize;
    /// Rows of the register tile: with [`Simd::TILE_VECTORS`] it fills the register file.
    const TILE_ROWS: usize;
    /// Vectors in a row of the register tile.
    const TILE_VECTORS: usize;
    /// Values of a dense sum in one word of 32 bits: one f32, or two bfloat16.
    const PACKED: usize = 1;

    /// The word of the values at 0 and, up to [`Simd::PACKED`], behind it.
    fn word(value: impl Fn(usize) -> f32) -> f32 {
        value(0)
    }

    /// `c`, in f32, plus the products of the words of `a` and `b`.
    #[inline(always)]
    unsafe fn dot(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the caller's promises.
        unsafe { Self::mul_add(a, b, c) }
    }

    /// Writes `count` values, a multiple of 8, as words.
    #[inline(always)]
    unsafe fn convert(_from: *const f32, _to: *mut f32, _count: usize) {
        unreachable!("only where values are packed")
    }

    unsafe fn splat(value: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, vector: Self::V);
    /// `a * b + c`.
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// The larger one; where `b` is NaN, NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The smaller one; where `b` is NaN, NaN.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
}
