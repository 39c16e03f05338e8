//! Normalisation on the device: u8 pixels go up, a quarter of what f32 would be, and become the model's input there.
//!
//! `y[n, c, h, w] = (x[n, h, w, c] - mean[c]) / std[c]`

mod cube;
mod flex;
mod ops;
mod plain;

use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::{DType, Device, Int, Shape, Tensor, TensorData};

use crate::{Kernels, Layout};
use ops::{NormalizeHereOps, NormalizeOps};

/// Uploads batches of u8 pictures to one device and normalises them there.
#[derive(Clone, Debug)]
pub struct Normalizer {
    pub(crate) device: Device,
    pub(crate) dtype: DType,
    /// f32 `[6]`: mean of each channel, then the reciprocal of each channel's deviation.
    pub(crate) affine: Tensor<1>,
}

impl Normalizer {
    /// A normaliser for `device`; `mean` and `std` are of values in 0..=255, for red, green and blue. What it makes is of
    /// `dtype`: f32, or on a GPU f16.
    pub fn new(device: &Device, dtype: DType, mean: [f32; 3], std: [f32; 3]) -> Self {
        let affine: Vec<f32> = mean.into_iter().chain(std.map(f32::recip)).collect();
        Self {
            device: device.clone(),
            dtype,
            affine: Tensor::from_data(TensorData::new(affine, [6]), (device, DType::F32)),
        }
    }

    /// Normalises `pixels`, u8 `[batch, height, width, 3]` laid out flat, into `layout`.
    ///
    /// # Panics
    ///
    /// Panics if `pixels` does not hold exactly `batch * height * width * 3` bytes.
    pub fn run(&self, pixels: &[u8], batch: usize, height: usize, width: usize, layout: Layout) -> Tensor<4> {
        assert_eq!(pixels.len(), batch * height * width * 3, "pixels of {batch} pictures of {height}x{width}");
        let affine = self.affine.clone();
        let shape = [batch, height, width];
        match (Kernels::in_use(&self.device), self.device.as_dispatch()) {
            (Kernels::Fused(_), DispatchDevice::Flex(_)) => {
                Tensor::from_dispatch(Dispatch::normalize_here(affine.into_dispatch(), pixels, shape, layout))
            }
            (Kernels::Fused(_), _) => {
                let packed = self.upload(words(pixels).collect()).into_dispatch();
                let normalised = Dispatch::normalize(packed, affine.into_dispatch(), shape, layout, self.dtype);
                Tensor::from_dispatch(normalised)
            }
            (Kernels::Stock, _) => {
                let planes = plain::normalize(self.upload(words(pixels).collect()), affine, shape).cast(self.dtype);
                match layout {
                    Layout::ChannelsFirst => planes,
                    Layout::ChannelsLast => planes.permute([0, 2, 3, 1]),
                }
            }
        }
    }

    /// Sends words to the device.
    pub(crate) fn upload(&self, words: Vec<u32>) -> Tensor<1, Int> {
        let length = words.len();
        Tensor::from_data(TensorData::new(words, [length]), (&self.device, DType::U32))
    }
}

/// u8 pixels as u32 words, first byte lowest; the last word is filled up with zeros.
pub(crate) fn words(pixels: &[u8]) -> impl Iterator<Item = u32> {
    let (whole, rest) = pixels.as_chunks::<4>();
    let last = (!rest.is_empty()).then(|| {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        last
    });
    whole.iter().copied().chain(last).map(u32::from_le_bytes)
}

/// The shape of RGB pictures of `[batch, height, width]` in a layout.
fn shape_in(layout: Layout, [batch, height, width]: [usize; 3]) -> Shape {
    Shape::from(match layout {
        Layout::ChannelsFirst => [batch, 3, height, width],
        Layout::ChannelsLast => [batch, height, width, 3],
    })
}
