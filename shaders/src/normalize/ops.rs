//! The operation as Burn backend extensions: one call, routed to the backend that holds the tensors.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, backend_extension};
use burn::tensor::DType;

#[cfg(feature = "fusion")]
use super::shape_in;
use crate::Layout;

/// Normalisation on a device that the pixels have to be sent to.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"))]
pub(crate) trait NormalizeOps: Backend {
    /// `packed`: u32 `[ceil(bytes / 4)]`, NHWC bytes, first byte lowest, of pictures whose `[batch, height, width]` is
    /// `pictures`. `affine`: f32 `[6]`, mean then reciprocal deviation of each channel.
    /// Returns `dtype`, f32 or f16, in `layout`.
    #[fusion(dtype = *dtype, shape = shape_in(*layout, *pictures))]
    fn normalize(
        packed: IntTensor<Self>,
        affine: FloatTensor<Self>,
        pictures: [usize; 3],
        layout: Layout,
        dtype: DType,
    ) -> FloatTensor<Self>;
}

/// Normalisation where the pixels are already.
#[backend_extension(Flex)]
pub(crate) trait NormalizeHereOps: Backend {
    /// `pixels`: NHWC bytes of pictures whose `[batch, height, width]` is `shape`. `affine` as above.
    /// Returns f32 in `layout`.
    fn normalize_here(affine: FloatTensor<Self>, pixels: &[u8], shape: [usize; 3], layout: Layout)
    -> FloatTensor<Self>;
}
