//! Test data: image classifiers as people export them, and the answers that ONNX Runtime gives for them.
//!
//! # Files
//!
//! - `skeletons/`: ONNX classifiers without their large weights. They come from torchvision, timm, Keras and the ONNX project.
//! - `cases/`: small ONNX files. Each shows one thing that a server once got wrong.
//! - `cases/generated/`: one operator or a few in a file, written by `generate.py`.
//! - `answers/NAME.json` and `answers/generated/NAME.json`: what ONNX Runtime returns, written by `answers.py`.
//!
//! `answers.py` and `generate.py` say in their first lines how to run them.
//!
//! # Fill
//!
//! A skeleton's large tensors are hollow: they have a name, dimensions and a data type, and no data.
//! The documentation string of such a tensor is `fill MEAN STD LOW SEED`.
//! [`fill`] gives it the values that the string describes.
//! `answers.py` does the same in Python, and both sides agree bit for bit.
//!
//! - The hash of index `i` under seed `s` is `mix(mix(s) + (i + 1) * 0x9E3779B97F4A7C15)`, modulo 2^64.
//!   `mix` is the finaliser of splitmix64.
//! - The hash has four 16-bit fields. Their sum is nearly normal.
//!   `n(i) = (sum - 2 * 65535) * C` has mean 0 and deviation 1, where `C` is the square root of `3 / (2^32 - 1)`.
//! - Value `i` is `MEAN + STD * n(i)` in `f64`, without a fused multiply-add.
//! - If `LOW` is not negative, the value becomes `max(|value|, max(LOW, 0.001))`. Variances need this.
//! - The value is rounded to the tensor's data type. A 16-bit value is rounded to `f32` first.
//!
//! This is not the fill of `fill.py` in the zoo that the skeletons come from: that one needs numpy's generator.
//!
//! # Inputs
//!
//! Row `r` of a test input is [`input_values`] of the seed `1000 + r`, in the order of the file's own layout.
//! A 16-bit input is the `f32` value rounded. An axis of the image that the file leaves open has 224 elements.
//!
//! # Answers
//!
//! ONNX Runtime ran each row alone, with its default optimisations, on a CPU with AVX2 and without VNNI.
//! Where the batch is open it also ran all rows as one batch, which `answers.py` compares.
//! An output of more than 2000 values per row is stored as its first 2000.
#![forbid(unsafe_code)]

mod answers;
mod protobuf;

pub use answers::{Answer, Input, Output, answers, generated_answers};
pub use protobuf::{Malformed, fill};

/// Makes the deviation of the sum of four uniform 16-bit integers 1: the square root of 3 / (2^32 - 1).
const SCALE: f64 = 2.6428997921303018e-05;

/// Returns the values of one row of a test input.
///
/// They have mean 0 and deviation 1, or with `uint8` are integers of 0 to 255.
pub fn input_values(seed: u64, count: usize, uint8: bool) -> Vec<f32> {
    let key = mix(seed);
    (0..count as u64)
        .map(|index| if uint8 { (hash(key, index) >> 56) as f32 } else { normal(key, index) as f32 })
        .collect()
}

/// Returns the finaliser of splitmix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Returns the hash of an index; `key` is the mixed seed.
fn hash(key: u64, index: u64) -> u64 {
    mix(key.wrapping_add((index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

/// Returns a value of mean 0 and deviation 1.
fn normal(key: u64, index: u64) -> f64 {
    let z = hash(key, index);
    let sum = (z & 0xFFFF) + (z >> 16 & 0xFFFF) + (z >> 32 & 0xFFFF) + (z >> 48);
    (sum as i64 - 2 * 65535) as f64 * SCALE
}

#[cfg(test)]
mod tests {
    use super::*;

    // The known values here and in protobuf.rs come from the functions of the same names in answers.py.
    #[test]
    fn input_values_are_those_of_the_python_side() {
        assert_eq!(input_values(1000, 4, false), [0.05359801, 1.6846372, -0.38504407, -0.17696857]);
        assert_eq!(input_values(1000, 6, true), [245., 241., 206., 151., 21., 81.]);
    }

    #[test]
    fn normal_values_have_mean_0_and_deviation_1() {
        let count = 100_000;
        let values = input_values(5, count, false);
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count as f64;
        let square = values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>() / count as f64;
        assert!(mean.abs() < 0.02, "{mean}");
        assert!((square - 1.).abs() < 0.02, "{square}");
    }
}
