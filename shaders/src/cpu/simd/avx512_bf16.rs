//! AVX-512 with bfloat16 products: two values of a sum for each f32 of a vector. Everything else is in f32 as ever.
//!
//! bfloat16 is the upper half of an f32, rounded to the nearest, ties to even: 8 bits of precision in place of 24. The
//! products are exact and are summed in f32.
//!
//! Each `unsafe` block here rests on what [`Simd`] asks of its callers, and on nothing else.

use std::arch::x86_64::*;
use std::mem::transmute;

use super::Simd;
use super::avx2::Avx2;
use super::avx512::Avx512;

/// The upper half of an f32, rounded. Infinities and NaN stay what they are.
fn upper_half(value: f32) -> u32 {
    let bits = value.to_bits();
    if value.is_nan() {
        return bits >> 16 | 0x40;
    }
    (bits + 0x7fff + (bits >> 16 & 1)) >> 16
}

/// Defines an instruction set that is another one but for its sums.
macro_rules! reduced {
    ($(#[$doc:meta])* $name:ident is $base:ty, with $vector:ty as $pairs:ty, $narrow:ty, $dot:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name;

        impl Simd for $name {
            type V = $vector;
            type Narrow = $narrow;
            const LANES: usize = <$base>::LANES;
            const TILE_ROWS: usize = <$base>::TILE_ROWS;
            const TILE_VECTORS: usize = <$base>::TILE_VECTORS;
            const PACKED: usize = 2;

            fn word(value: impl Fn(usize) -> f32) -> f32 {
                // The first value in the lower half, as the processor wants it.
                f32::from_bits(upper_half(value(0)) | upper_half(value(1)) << 16)
            }

            #[inline(always)]
            unsafe fn dot(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                // SAFETY: vectors of one size are all bits.
                unsafe { $dot(c, transmute::<$vector, $pairs>(a), transmute::<$vector, $pairs>(b)) }
            }

            #[inline(always)]
            unsafe fn convert(from: *const f32, to: *mut f32, count: usize) {
                let mut done = 0;
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

            #[inline(always)]
            unsafe fn splat(value: f32) -> Self::V {
                unsafe { <$base>::splat(value) }
            }

            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self::V {
                unsafe { <$base>::load(from) }
            }

            #[inline(always)]
            unsafe fn store(to: *mut f32, vector: Self::V) {
                unsafe { <$base>::store(to, vector) }
            }

            #[inline(always)]
            unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                unsafe { <$base>::mul_add(a, b, c) }
            }

            #[inline(always)]
            unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
                unsafe { <$base>::add(a, b) }
            }

            #[inline(always)]
            unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
                unsafe { <$base>::mul(a, b) }
            }

            #[inline(always)]
            unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
                unsafe { <$base>::max(a, b) }
            }

            #[inline(always)]
            unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
                unsafe { <$base>::min(a, b) }
            }
        }
    };
}

reduced! {
    /// The instruction set; never made where it is missing.
    Avx512Bf16 is Avx512, with __m512 as __m512bh, HalfBf16, _mm512_dpbf16_ps
}

reduced! {
    /// The same in vectors of 8, for the last columns.
    HalfBf16 is Avx2, with __m256 as __m256bh, Self, _mm256_dpbf16_ps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_half_is_rounded_to_the_nearest_and_ties_to_even() {
        let half = |bits: u32| upper_half(f32::from_bits(bits));
        assert_eq!(half(0x3f80_0000), 0x3f80);
        assert_eq!(half(0x3f80_7fff), 0x3f80);
        assert_eq!(half(0x3f80_8000), 0x3f80);
        assert_eq!(half(0x3f80_8001), 0x3f81);
        assert_eq!(half(0x3f81_8000), 0x3f82);
        assert_eq!(upper_half(f32::NEG_INFINITY), 0xff80);
        assert!(f32::from_bits(upper_half(f32::from_bits(0x7f80_0001)) << 16).is_nan());
    }
}
