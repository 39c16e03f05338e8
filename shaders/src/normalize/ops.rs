//! The operation as Burn backend extensions: one call, routed to the backend that holds the tensors.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, backend_extension};

use crate::Layout;

/// Normalisation on a device that the pixels have to be sent to.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"))]
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

/// Normalisation where the pixels are already.
#[backend_extension(Flex)]
pub trait NormalizeHereOps: Backend {
    /// `pixels`: NHWC bytes of pictures whose `[batch, height, width]` is `shape`. `affine` as above.
    /// Returns f32 in `layout`.
    fn normalize_here(affine: FloatTensor<Self>, pixels: &[u8], shape: [usize; 3], layout: Layout)
    -> FloatTensor<Self>;
}
