//! The CPU implementation: one pass over the bytes, one plane a channel.

use burn::backend::Flex;
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::{Bytes, DType, Shape};

use super::ops::NormalizeOps;

#[cfg(target_endian = "big")]
compile_error!("the CPU kernel reads packed words as bytes, which needs a little-endian machine");

impl NormalizeOps for Flex {
    fn normalize(
        packed: IntTensor<Self>,
        affine: FloatTensor<Self>,
        batch: usize,
        height: usize,
        width: usize,
    ) -> FloatTensor<Self> {
        let packed = packed.to_contiguous();
        let affine = affine.to_contiguous();
        let affine = affine.storage::<f32>();
        let plane = height * width;
        let pixels = &packed.bytes()[..batch * plane * 3];
        let mut output = vec![0.0_f32; batch * plane * 3];
        let pictures = pixels.chunks_exact(plane * 3);
        for (picture, planes) in pictures.zip(output.chunks_exact_mut(plane * 3)) {
            for (channel, plane) in planes.chunks_exact_mut(plane).enumerate() {
                let (mean, inv_std) = (affine[channel], affine[3 + channel]);
                for (value, pixel) in plane.iter_mut().zip(picture.chunks_exact(3)) {
                    *value = (f32::from(pixel[channel]) - mean) * inv_std;
                }
            }
        }
        let layout = Layout::contiguous(Shape::from([batch, 3, height, width]));
        FlexTensor::new(Bytes::from_elems(output), layout, DType::F32)
    }
}
