//! The CPU implementation: one pass over the bytes, from where they lie into the network's input.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;

use super::ops::NormalizeHereOps;
use crate::Layout;
use crate::layers::filled;

/// Values that are worked on at once: whole vectors and whole pixels.
const STEP: usize = 48;

impl NormalizeHereOps for Flex {
    fn normalize_here(
        affine: FlexTensor,
        pixels: &[u8],
        [batch, height, width]: [usize; 3],
        layout: Layout,
    ) -> FlexTensor {
        let affine = affine.to_contiguous();
        let affine = affine.storage::<f32>();
        let (mean, inv_std) = ([affine[0], affine[1], affine[2]], [affine[3], affine[4], affine[5]]);
        match layout {
            Layout::ChannelsLast => {
                filled([batch, height, width, 3], |output| interleaved(pixels, mean, inv_std, output))
            }
            Layout::ChannelsFirst => {
                let plane = height * width;
                filled([batch, 3, height, width], |output| planes(pixels, mean, inv_std, plane, output))
            }
        }
    }
}

fn interleaved(pixels: &[u8], mean: [f32; 3], inv_std: [f32; 3], output: &mut [f32]) {
    // The three channels repeated, so that the loop has no index to take a remainder of.
    let mean: [f32; STEP] = std::array::from_fn(|index| mean[index % 3]);
    let inv_std: [f32; STEP] = std::array::from_fn(|index| inv_std[index % 3]);
    for (output, pixels) in output.chunks_mut(STEP).zip(pixels.chunks(STEP)) {
        for (((value, pixel), mean), inv_std) in output.iter_mut().zip(pixels).zip(&mean).zip(&inv_std) {
            *value = (f32::from(*pixel) - mean) * inv_std;
        }
    }
}

fn planes(pixels: &[u8], mean: [f32; 3], inv_std: [f32; 3], plane: usize, output: &mut [f32]) {
    for (picture, planes) in pixels.chunks_exact(plane * 3).zip(output.chunks_exact_mut(plane * 3)) {
        for (channel, plane) in planes.chunks_exact_mut(plane).enumerate() {
            for (value, pixel) in plane.iter_mut().zip(picture.chunks_exact(3)) {
                *value = (f32::from(pixel[channel]) - mean[channel]) * inv_std[channel];
            }
        }
    }
}
