//! Vectors of f32, with one implementation for each instruction set. Kernels are generic over [`Simd`] and compiled once
//! for each implementation.
//!
//! Every function here is `inline(always)`: a kernel calls it from a function that enables the instruction set
//! (`#[target_feature]`), and only an inlined call becomes a single instruction.

/// One vector of f32 and the operations that the kernels need.
///
/// # Safety
///
/// Every function requires a processor with the instruction set. Pointers must be valid for [`Simd::LANES`] values; they
/// need no alignment.
pub(crate) trait Simd: Copy {
    /// The vector.
    type V: Copy;
    /// A narrower implementation for the last columns of a product, where this vector would be half empty; `Self` if
    /// there is none.
    type Narrow: Simd;
    /// f32 values in a vector.
    const LANES: usize;
    /// Rows of the register tile. Together with [`Simd::TILE_VECTORS`] it fills the register file.
    const TILE_ROWS: usize;
    /// Vectors in a row of the register tile.
    const TILE_VECTORS: usize;
    /// Values of a dense sum in one 32-bit word: one f32 or two bfloat16.
    const VALUES_PER_WORD: usize = 1;
    /// Whether the processor has a fused multiply-add. If not, [`f32::mul_add`] would call the C library.
    const FUSED: bool;

    /// Packs `value(0)` and, up to [`Simd::VALUES_PER_WORD`], the following values into one word.
    fn pack_word(value: impl Fn(usize) -> f32) -> f32 {
        value(0)
    }

    /// Returns `c`, in f32, plus the products of the values in the words of `a` and `b`.
    #[inline(always)]
    unsafe fn dot(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the caller keeps the contract of the trait.
        unsafe { Self::mul_add(a, b, c) }
    }

    /// Packs `count` values, a multiple of 8, into words.
    ///
    /// # Safety
    ///
    /// `from` is valid for `count` values, and `to` for `count / VALUES_PER_WORD` words.
    #[inline(always)]
    unsafe fn pack_words(_from: *const f32, _to: *mut f32, _count: usize) {
        unreachable!("this instruction set has one value in a word")
    }

    /// Transposes a block of 8 rows of 8 values. Neighbouring rows begin `from_step` and `to_step` values apart.
    ///
    /// # Safety
    ///
    /// Every row of `from` and of `to` is valid for 8 values, and the blocks do not overlap.
    #[inline(always)]
    unsafe fn transpose_block(from: *const f32, from_step: isize, to: *mut f32, to_step: usize) {
        for row in 0..8 {
            for column in 0..8 {
                // SAFETY: the caller guarantees the values of the rows.
                unsafe { *to.add(column * to_step + row) = *from.offset(row as isize * from_step + column as isize) };
            }
        }
    }

    unsafe fn splat(value: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, vector: Self::V);
    /// Returns `a * b + c`.
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// Returns the larger value. If `b` is NaN, the result is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// Returns the smaller value. If `b` is NaN, the result is NaN.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// Copies the value of lane `INDEX` of each four lanes to all four.
    unsafe fn spread_in_fours<const INDEX: usize>(vector: Self::V) -> Self::V;
}

/// Implements the required functions of [`Simd`], except `mul_add`, by one function of the instruction set each.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! simd_functions {
    (
        splat: $splat:path, load: $load:path, store: $store:path,
        add: $add:path, mul: $mul:path, max: $max:path, min: $min:path $(,)?
    ) => {
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self::V {
            // SAFETY: the caller guarantees the instruction set.
            unsafe { $splat(value) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self::V {
            // SAFETY: the caller guarantees the instruction set and a pointer to a whole vector.
            unsafe { $load(from) }
        }

        #[inline(always)]
        unsafe fn store(to: *mut f32, vector: Self::V) {
            // SAFETY: the caller guarantees the instruction set and a pointer to a whole vector.
            unsafe { $store(to, vector) }
        }

        #[inline(always)]
        unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: the caller guarantees the instruction set.
            unsafe { $add(a, b) }
        }

        #[inline(always)]
        unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: the caller guarantees the instruction set.
            unsafe { $mul(a, b) }
        }

        #[inline(always)]
        unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: the caller guarantees the instruction set.
            unsafe { $max(a, b) }
        }

        #[inline(always)]
        unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: the caller guarantees the instruction set.
            unsafe { $min(a, b) }
        }
    };
}

/// Implements [`Simd::spread_in_fours`] by an instruction that takes the lanes as a constant: one constant for each `INDEX`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! spread_in_fours {
    ($vector:ty: $spread:ident, $first:literal, $second:literal, $third:literal, $fourth:literal) => {
        #[inline(always)]
        unsafe fn spread_in_fours<const INDEX: usize>(vector: $vector) -> $vector {
            // SAFETY: the caller guarantees the instruction set.
            unsafe {
                match INDEX {
                    0 => $spread::<$first>(vector),
                    1 => $spread::<$second>(vector),
                    2 => $spread::<$third>(vector),
                    _ => $spread::<$fourth>(vector),
                }
            }
        }
    };
}

#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;
