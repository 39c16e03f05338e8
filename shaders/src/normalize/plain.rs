//! The twin in stock tensor operations: runs on every backend and compiler, slower.

use burn::tensor::{DType, FloatDType, Int, Tensor};

/// See [`super::ops::NormalizeOps::normalize`]; `shape` is `[batch, height, width]`.
pub(super) fn normalize(packed: Tensor<1, Int>, affine: Tensor<1>, [batch, height, width]: [usize; 3]) -> Tensor<4> {
    let bytes = batch * height * width * 3;
    // i32: every runtime has bitwise operations for it. The sign bit that a shift drags in is masked off.
    let words = packed.cast(DType::I32);
    let unpacked: Vec<Tensor<1, Int>> = [0, 8, 16, 24]
        .into_iter()
        .map(|shift| words.clone().bitwise_right_shift_scalar(shift).bitwise_and_scalar(255))
        .collect();
    let pixels = Tensor::stack::<2>(unpacked, 1)
        .flatten::<1>(0, 1)
        .narrow(0, 0, bytes)
        .reshape([batch, height, width, 3])
        .cast(FloatDType::F32)
        .permute([0, 3, 1, 2]);
    let mean = affine.clone().narrow(0, 0, 3).reshape([1, 3, 1, 1]);
    let inv_std = affine.narrow(0, 3, 3).reshape([1, 3, 1, 1]);
    (pixels - mean) * inv_std
}
