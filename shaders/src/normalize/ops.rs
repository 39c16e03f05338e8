//! The operation as a Burn backend extension: one call, routed to the backend that holds the tensors.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, backend_extension};

/// Normalisation, implemented once a backend.
#[backend_extension(Flex, Cube, Fusion: cfg(feature = "fusion"))]
pub trait NormalizeOps: Backend {
    /// `packed`: u32 `[ceil(batch * height * width * 3 / 4)]`, NHWC bytes, first byte lowest.
    /// `affine`: f32 `[6]`, mean then reciprocal deviation of each channel.
    /// Returns f32 `[batch, 3, height, width]`.
    #[fusion(dtype = affine, shape = burn::tensor::Shape::from([*batch, 3, *height, *width]))]
    fn normalize(
        packed: IntTensor<Self>,
        affine: FloatTensor<Self>,
        batch: usize,
        height: usize,
        width: usize,
    ) -> FloatTensor<Self>;
}
