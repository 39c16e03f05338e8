//! The instruction sets of x86-64: AVX2, AVX-512, and AVX-512 with bfloat16 products.

use std::arch::x86_64::*;
use std::mem::transmute;

use super::Simd;

/// AVX2 with FMA: 16 registers of 8 values. Code reaches it only on a processor that has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2;

impl Simd for Avx2 {
    type V = __m256;
    type Narrow = Self;
    const LANES: usize = 8;
    const TILE_ROWS: usize = 6;
    const TILE_VECTORS: usize = 2;
    const FUSED: bool = true;

    simd_functions! {
        splat: _mm256_set1_ps, load: _mm256_loadu_ps, store: _mm256_storeu_ps,
        add: _mm256_add_ps, mul: _mm256_mul_ps, max: _mm256_max_ps, min: _mm256_min_ps,
    }

    #[inline(always)]
    unsafe fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the caller guarantees the instruction set.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    spread_in_fours!(__m256: _mm256_permute_ps, 0x00, 0x55, 0xaa, 0xff);

    #[inline(always)]
    unsafe fn transpose_block(from: *const f32, from_step: isize, to: *mut f32, to_step: usize) {
        // SAFETY: the caller guarantees the instruction set and the values of the rows.
        unsafe {
            let rows: [__m256; 8] = std::array::from_fn(|row| _mm256_loadu_ps(from.offset(row as isize * from_step)));
            // Pairs of rows, then four rows, then all: each step doubles the adjacent values of a column.
            let pairs: [__m256; 8] = std::array::from_fn(|index| {
                let row = index & !1;
                if index & 1 == 0 {
                    _mm256_unpacklo_ps(rows[row], rows[row + 1])
                } else {
                    _mm256_unpackhi_ps(rows[row], rows[row + 1])
                }
            });
            let quads: [__m256; 8] = std::array::from_fn(|index| {
                let pair = (index & 4) + (index >> 1 & 1);
                if index & 1 == 0 {
                    _mm256_shuffle_ps::<0x44>(pairs[pair], pairs[pair + 2])
                } else {
                    _mm256_shuffle_ps::<0xee>(pairs[pair], pairs[pair + 2])
                }
            });
            for column in 0..4 {
                let (low, high) = (quads[column], quads[column + 4]);
                _mm256_storeu_ps(to.add(column * to_step), _mm256_permute2f128_ps::<0x20>(low, high));
                _mm256_storeu_ps(to.add((column + 4) * to_step), _mm256_permute2f128_ps::<0x31>(low, high));
            }
        }
    }
}

/// AVX-512F: 32 registers of 16 values. Code reaches it only on a processor that has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512;

impl Simd for Avx512 {
    type V = __m512;
    type Narrow = Avx2;
    const LANES: usize = 16;
    const TILE_ROWS: usize = 8;
    const TILE_VECTORS: usize = 3;
    const FUSED: bool = true;

    simd_functions! {
        splat: _mm512_set1_ps, load: _mm512_loadu_ps, store: _mm512_storeu_ps,
        add: _mm512_add_ps, mul: _mm512_mul_ps, max: _mm512_max_ps, min: _mm512_min_ps,
    }

    #[inline(always)]
    unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the caller guarantees the instruction set.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    spread_in_fours!(__m512: _mm512_permute_ps, 0x00, 0x55, 0xaa, 0xff);

    #[inline(always)]
    unsafe fn transpose_block(from: *const f32, from_step: isize, to: *mut f32, to_step: usize) {
        // SAFETY: the caller keeps the contract, and AVX-512 contains AVX2.
        unsafe { Avx2::transpose_block(from, from_step, to, to_step) }
    }
}

/// Rounds an f32 to bfloat16, in the lower 16 bits of the result.
///
/// bfloat16 is the upper half of an f32, rounded to the nearest value, ties to even: 8 bits of precision instead of 24.
/// Infinities stay infinite, and NaN stays NaN.
fn bf16_bits(value: f32) -> u32 {
    let bits = value.to_bits();
    if value.is_nan() {
        return bits >> 16 | 0x40;
    }
    (bits + 0x7fff + (bits >> 16 & 1)) >> 16
}

/// Defines an instruction set that equals `$base`, except that dense sums multiply pairs of bfloat16. The products are
/// exact, and their sums are f32.
macro_rules! bf16_variant {
    ($(#[$doc:meta])* $name:ident of $base:ident, vector $vector:ty as $pairs:ty, narrow $narrow:ty, dot $dot:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name;

        impl Simd for $name {
            type V = $vector;
            type Narrow = $narrow;
            const LANES: usize = $base::LANES;
            const TILE_ROWS: usize = $base::TILE_ROWS;
            const TILE_VECTORS: usize = $base::TILE_VECTORS;
            const FUSED: bool = true;
            const VALUES_PER_WORD: usize = 2;

            fn pack_word(value: impl Fn(usize) -> f32) -> f32 {
                // The dot product instruction takes the first value from the lower half.
                f32::from_bits(bf16_bits(value(0)) | bf16_bits(value(1)) << 16)
            }

            #[inline(always)]
            unsafe fn dot(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                // SAFETY: the caller guarantees the instruction set, and both types are plain bits of the same size.
                unsafe { $dot(c, transmute::<$vector, $pairs>(a), transmute::<$vector, $pairs>(b)) }
            }

            #[inline(always)]
            unsafe fn pack_words(from: *const f32, to: *mut f32, count: usize) {
                let mut done = 0;
                // SAFETY: the caller guarantees the instruction set, `count` values to read and `count / 2` words to
                // write. `count` is a multiple of 8, so that the last step has exactly 8 values or none. Each transmute
                // is between plain bits of the same size.
                unsafe {
                    while done + 16 <= count {
                        let half = _mm512_cvtneps_pbh(_mm512_loadu_ps(from.add(done)));
                        _mm256_storeu_si256(to.add(done / 2).cast(), transmute::<__m256bh, __m256i>(half));
                        done += 16;
                    }
                    if done < count {
                        let half = _mm256_cvtneps_pbh(_mm256_loadu_ps(from.add(done)));
                        _mm_storeu_si128(to.add(done / 2).cast(), transmute::<__m128bh, __m128i>(half));
                    }
                }
            }

            simd_functions! {
                splat: $base::splat, load: $base::load, store: $base::store,
                add: $base::add, mul: $base::mul, max: $base::max, min: $base::min,
            }

            #[inline(always)]
            unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                // SAFETY: the caller guarantees the instruction set, which contains the base.
                unsafe { $base::mul_add(a, b, c) }
            }

            #[inline(always)]
            unsafe fn spread_in_fours<const INDEX: usize>(vector: Self::V) -> Self::V {
                // SAFETY: the caller guarantees the instruction set, which contains the base.
                unsafe { $base::spread_in_fours::<INDEX>(vector) }
            }
        }
    };
}

bf16_variant! {
    /// AVX-512 with bfloat16 products in vectors of 16 values. Code reaches it only on a processor that has it.
    Avx512Bf16 of Avx512, vector __m512 as __m512bh, narrow Avx512VlBf16, dot _mm512_dpbf16_ps
}

bf16_variant! {
    /// AVX-512VL with bfloat16 products in vectors of 8 values, for the last columns.
    Avx512VlBf16 of Avx2, vector __m256 as __m256bh, narrow Self, dot _mm256_dpbf16_ps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_bits_rounds_to_nearest_with_ties_to_even() {
        let bf16 = |bits: u32| bf16_bits(f32::from_bits(bits));
        assert_eq!(bf16(0x3f80_0000), 0x3f80);
        assert_eq!(bf16(0x3f80_7fff), 0x3f80);
        assert_eq!(bf16(0x3f80_8000), 0x3f80);
        assert_eq!(bf16(0x3f80_8001), 0x3f81);
        assert_eq!(bf16(0x3f81_8000), 0x3f82);
        assert_eq!(bf16_bits(f32::NEG_INFINITY), 0xff80);
        assert!(f32::from_bits(bf16_bits(f32::from_bits(0x7f80_0001)) << 16).is_nan());
    }
}
