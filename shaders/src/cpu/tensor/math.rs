//! Functions of one f32 without branches or calls, so that the compiler vectorises loops over them.
//!
//! Errors are relative to the exact result, and measured by `tests/functions.rs`: below 1e-6 for `exp`, `erf`, `tanh` and
//! `sigmoid`. NaN stays NaN.

use super::super::simd::Simd;

/// Returns `a * b + c`, with one rounding if the processor has an instruction for it.
#[inline(always)]
pub(in crate::cpu) fn fma<S: Simd>(a: f32, b: f32, c: f32) -> f32 {
    if S::FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Evaluates a polynomial in `$x`, the highest coefficient first.
macro_rules! polynomial {
    ($simd:ty, $x:expr; $first:expr $(, $next:expr)*) => {{
        let result: f32 = $first;
        $(let result = fma::<$simd>(result, $x, $next);)*
        result
    }};
}

/// Returns `e^x`. Results below the smallest normal number are 0.
#[inline(always)]
pub(in crate::cpu) fn exp<S: Simd>(x: f32) -> f32 {
    /// `e^89` is infinite in f32.
    const HIGH: f32 = 89.0;
    // The comparisons keep NaN.
    let clamped = if EXP_LOW > x { EXP_LOW } else { x };
    let clamped = if HIGH < clamped { HIGH } else { clamped };
    let (e, n) = exp_parts::<S>(clamped);
    // 2^128 is not an f32, so the power of two is a product of two.
    let half = n >> 1;
    let result = e * power_of_two(half) * power_of_two(n.wrapping_sub(half));
    if x < EXP_LOW { 0.0 } else { result }
}

/// Returns `e^x` for `x` of at most 0, in fewer steps than [`exp`]. Results below the smallest normal number are 0.
#[inline(always)]
pub(in crate::cpu) fn exp_of_negative<S: Simd>(x: f32) -> f32 {
    // The comparison keeps NaN.
    let clamped = if EXP_LOW > x { EXP_LOW } else { x };
    let (e, n) = exp_parts::<S>(clamped);
    let result = e * power_of_two(n);
    if x < EXP_LOW { 0.0 } else { result }
}

/// Returns `e^r` and `n` with `e^x = 2^n * e^r`, where |r| is at most ln(2) / 2.
#[inline(always)]
fn exp_parts<S: Simd>(x: f32) -> (f32, i32) {
    /// Adding 1.5 * 2^23 rounds to an integer, and puts it into the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    // ln(2) in two parts. The product of the first one with a small integer is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let shifted = fma::<S>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<S>(n, -LN_2_LOW, fma::<S>(n, -LN_2_HIGH, x));
    let p = polynomial!(S, r; 1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1);
    (fma::<S>(p, r * r, r) + 1.0, shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32)
}

/// The logarithm of the smallest normal number.
const EXP_LOW: f32 = -87.336_54;

/// Returns `2^n` for `n` in -126..=127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// Returns `1 / (1 + e^-x)`.
#[inline(always)]
pub(in crate::cpu) fn sigmoid<S: Simd>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<S>(-x))
}

/// Returns the hyperbolic tangent.
#[inline(always)]
pub(in crate::cpu) fn tanh<S: Simd>(x: f32) -> f32 {
    let z = x * x;
    let p = polynomial!(S, z; -5.704_988e-3, 2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1);
    let small = fma::<S>(p * z, x, x);
    let magnitude = x.abs();
    let large = (1.0 - 2.0 / (exp::<S>(2.0 * magnitude) + 1.0)).copysign(x);
    if magnitude < 0.625 { small } else { large }
}

/// Returns the error function.
#[inline(always)]
pub(in crate::cpu) fn erf<S: Simd>(x: f32) -> f32 {
    let square = x * x;
    let p = polynomial!(S, square; -5.967_617e-4, 4.991_194e-3, -2.676_813_5e-2, 1.128_199_25e-1, -3.761_253_4e-1,
        1.283_791_7e-1);
    let small = fma::<S>(p, x, x);
    // Above 4 the result is 1 in f32.
    let t = if 4.0 < x.abs() { 4.0 } else { x.abs() };
    let p = polynomial!(S, t; -1.728_534_7e-5, 3.831_971_3e-4, -3.883_964_4e-3, 2.425_462_2e-2, -1.067_778_8e-1,
        -6.348_467e-1, -1.287_175_1e-1);
    let large = (1.0 - exp::<S>(fma::<S>(p, t, -t))).copysign(x);
    if t < 0.921_875 { small } else { large }
}

/// Returns `1 / (1 + e^-x) - 1/2`, with an absolute error below 2e-7. One division and no exponential: about half the time of
/// [`sigmoid`], whose relative error is small as well.
///
/// The quotient of polynomials minimises the largest error for |x| <= 18 (fitted by Lawson's algorithm).
#[inline(always)]
fn centred_sigmoid<S: Simd>(x: f32) -> f32 {
    let x = clamp_to(x, SIGMOID_LIMIT);
    let z = x * x;
    let p = polynomial!(S, z; -2.950_280_3e-15, 2.969_024_3e-11, 1.090_789_1e-7, 6.037_461_6e-5, 8.547_738e-3, 0.25);
    let q = polynomial!(S, z; 5.006_994_4e-9, 6.142_375_7e-6, 1.701_857_1e-3, 1.175_242_8e-1, 1.0);
    x * p / q
}

/// Below its negative, the sigmoid is 0 compared with rounding errors.
const SIGMOID_LIMIT: f32 = 18.0;

/// Returns the distribution function of the normal distribution minus 1/2, `erf(x / sqrt(2)) / 2`, with an absolute error below
/// 2e-7. As [`centred_sigmoid`].
#[inline(always)]
fn centred_normal<S: Simd>(x: f32) -> f32 {
    let x = clamp_to(x, NORMAL_LIMIT);
    let z = x * x;
    let p = polynomial!(S, z; 1.161_103_6e-10, -2.225_639_6e-8, 3.132_895_2e-6, 1.589_125_7e-4, 4.434_748_6e-3,
        3.478_076_3e-2, 3.989_421_7e-1);
    let q = polynomial!(S, z; 5.866_079e-5, 1.763_332_3e-3, 2.842_746_5e-2, 2.538_474_2e-1, 1.0);
    x * p / q
}

/// Below its negative, the distribution function is 0 compared with rounding errors.
const NORMAL_LIMIT: f32 = 5.4;

/// Limits the magnitude of a number.
#[inline(always)]
fn clamp_to(x: f32, limit: f32) -> f32 {
    // The comparisons keep NaN.
    let x = if -limit > x { -limit } else { x };
    if limit < x { limit } else { x }
}

/// Returns `x / (1 + e^-(alpha x))`. The error is relative to `x`.
#[inline(always)]
pub(in crate::cpu) fn swish<S: Simd>(alpha: f32, x: f32) -> f32 {
    gated::<S>(x, alpha * x)
}

/// Returns `x` times the sigmoid of `gate`.
#[inline(always)]
fn gated<S: Simd>(x: f32, gate: f32) -> f32 {
    let sigmoid = 0.5 + centred_sigmoid::<S>(gate);
    x * if gate < -SIGMOID_LIMIT { 0.0 } else { sigmoid }
}

/// Returns `x * (1 + erf(x / sqrt(2))) / 2`. The error is relative to `x`: the sum cancels for negative values.
#[inline(always)]
pub(in crate::cpu) fn gelu<S: Simd>(x: f32) -> f32 {
    let probability = 0.5 + centred_normal::<S>(x);
    x * if x < -NORMAL_LIMIT { 0.0 } else { probability }
}

/// Returns `x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2`, as `x` times a sigmoid.
#[inline(always)]
pub(in crate::cpu) fn gelu_tanh<S: Simd>(x: f32) -> f32 {
    const FACTOR: f32 = 1.595_769_2;
    gated::<S>(x, FACTOR * fma::<S>(0.044_715 * x * x, x, x))
}

/// Returns `x * tanh(ln(1 + e^x))`.
#[inline(always)]
pub(in crate::cpu) fn mish<S: Simd>(x: f32) -> f32 {
    // Above 40 the factor is 1, and the square of the exponential would overflow.
    let e = exp::<S>(if 40.0 < x { 40.0 } else { x });
    let n = e * (e + 2.0);
    x * (n / (n + 2.0))
}

/// Returns the larger value, or NaN if one is NaN.
#[inline(always)]
pub(in crate::cpu) fn max(a: f32, b: f32) -> f32 {
    if a > b || a.is_nan() { a } else { b }
}

/// Returns the smaller value, or NaN if one is NaN.
#[inline(always)]
pub(in crate::cpu) fn min(a: f32, b: f32) -> f32 {
    if a < b || a.is_nan() { a } else { b }
}
