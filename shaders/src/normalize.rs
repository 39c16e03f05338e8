//! Normalisation on the device: the host uploads u8 pixels, a quarter of the size of f32.
//!
//! `y[n, c, h, w] = (x[n, h, w, c] - mean[c]) / std[c]`

use burn::backend::flex::FlexTensor;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, DispatchDevice, Flex, backend_extension};
use burn::tensor::{DType, Device, FloatDType, Int, Shape, Tensor, TensorData};
use burn_cubecl::CubeBackend;

use crate::Kernels;
use crate::gpu::Launch;
use crate::layers::filled_tensor;
use crate::wgsl::Operation;

/// The order of the axes of a batch of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// NCHW: `[batch, channels, height, width]`.
    ChannelsFirst,
    /// NHWC: `[batch, height, width, channels]`.
    ChannelsLast,
}

/// Uploads batches of u8 images to one device and normalises them there.
#[derive(Clone, Debug)]
pub struct Normalizer {
    pub(crate) device: Device,
    pub(crate) dtype: DType,
    /// f32 `[6]`: the mean of each channel, then the reciprocal of its standard deviation.
    pub(crate) affine: Tensor<1>,
}

impl Normalizer {
    /// Creates a normaliser for `device`.
    ///
    /// `mean` and `std` refer to values in 0..=255, for red, green and blue. `dtype` is the type of the output: f32, or on a
    /// GPU f16.
    pub fn new(device: &Device, dtype: DType, mean: [f32; 3], std: [f32; 3]) -> Self {
        let affine: Vec<f32> = mean.into_iter().chain(std.map(f32::recip)).collect();
        Self {
            device: device.clone(),
            dtype,
            affine: Tensor::from_data(TensorData::new(affine, [6]), (device, DType::F32)),
        }
    }

    /// Normalises `pixels`, u8 `[batch, height, width, 3]`, to `layout`.
    ///
    /// # Panics
    ///
    /// Panics if `pixels` does not hold exactly `batch * height * width * 3` bytes.
    pub fn run(&self, pixels: &[u8], batch: usize, height: usize, width: usize, layout: Layout) -> Tensor<4> {
        assert_eq!(pixels.len(), batch * height * width * 3, "pixels of {batch} images of {height}x{width}");
        let affine = self.affine.clone();
        let shape = [batch, height, width];
        match (Kernels::current(&self.device), self.device.as_dispatch()) {
            (Kernels::Fused(_), DispatchDevice::Flex(_)) => {
                Tensor::from_dispatch(Dispatch::cpu_normalize(affine.into_dispatch(), pixels, shape, layout))
            }
            (Kernels::Fused(_), _) => {
                let packed = self.upload(pack_words(pixels).collect()).into_dispatch();
                let normalized = Dispatch::gpu_normalize(packed, affine.into_dispatch(), shape, layout, self.dtype);
                Tensor::from_dispatch(normalized)
            }
            (Kernels::Stock, _) => {
                let planes = reference(self.upload(pack_words(pixels).collect()), affine, shape).cast(self.dtype);
                match layout {
                    Layout::ChannelsFirst => planes,
                    Layout::ChannelsLast => planes.permute([0, 2, 3, 1]),
                }
            }
        }
    }

    /// Uploads words to the device.
    pub(crate) fn upload(&self, words: Vec<u32>) -> Tensor<1, Int> {
        let length = words.len();
        Tensor::from_data(TensorData::new(words, [length]), (&self.device, DType::U32))
    }
}

/// Packs u8 pixels into u32 words, the first byte lowest. The last word is padded with zeros.
pub(crate) fn pack_words(pixels: &[u8]) -> impl Iterator<Item = u32> {
    let (whole, rest) = pixels.as_chunks::<4>();
    let last = (!rest.is_empty()).then(|| {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        last
    });
    whole.iter().copied().chain(last).map(u32::from_le_bytes)
}

/// Returns the shape of RGB images of `[batch, height, width]` in a layout.
fn shape_in(layout: Layout, [batch, height, width]: [usize; 3]) -> Shape {
    Shape::from(match layout {
        Layout::ChannelsFirst => [batch, 3, height, width],
        Layout::ChannelsLast => [batch, height, width, 3],
    })
}

/// Normalisation on GPUs, as a Burn backend extension.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"))]
trait GpuNormalizeOps: Backend {
    /// Normalises `packed` to `dtype`, f32 or f16, in `layout`.
    ///
    /// `packed` is u32 `[ceil(bytes / 4)]`: the NHWC bytes of images of `[batch, height, width]`, the first byte lowest.
    /// `affine` is f32 `[6]`: the mean of each channel, then the reciprocal of its standard deviation.
    #[fusion(dtype = *dtype, shape = shape_in(*layout, *images))]
    fn gpu_normalize(
        packed: IntTensor<Self>,
        affine: FloatTensor<Self>,
        images: [usize; 3],
        layout: Layout,
        dtype: DType,
    ) -> FloatTensor<Self>;
}

impl GpuNormalizeOps for CubeBackend {
    fn gpu_normalize(
        packed: IntTensor<Self>,
        affine: FloatTensor<Self>,
        images: [usize; 3],
        layout: Layout,
        dtype: DType,
    ) -> FloatTensor<Self> {
        let shape = shape_in(layout, images);
        let values = shape.num_elements();
        let plane = match layout {
            Layout::ChannelsFirst => images[1] * images[2],
            Layout::ChannelsLast => 0,
        };
        Launch::new(Operation::Normalize).info([values, plane]).input(packed).input(affine).run(
            shape,
            dtype,
            values.div_ceil(4),
        )
    }
}

/// Normalisation on the CPU, which reads the pixels in place, as a Burn backend extension.
#[backend_extension(Flex)]
trait CpuNormalizeOps: Backend {
    /// Normalises `pixels`, the NHWC bytes of images of `[batch, height, width]`, to f32 in `layout`. `affine` is that of
    /// `gpu_normalize`.
    fn cpu_normalize(affine: FloatTensor<Self>, pixels: &[u8], images: [usize; 3], layout: Layout)
    -> FloatTensor<Self>;
}

impl CpuNormalizeOps for Flex {
    fn cpu_normalize(
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
                filled_tensor([batch, height, width, 3], |_, output| normalize_nhwc(pixels, mean, inv_std, output))
            }
            Layout::ChannelsFirst => {
                let plane = height * width;
                filled_tensor([batch, 3, height, width], |_, output| {
                    normalize_nchw(pixels, mean, inv_std, plane, output);
                })
            }
        }
    }
}

/// Values in one step of the loop: whole vectors and whole pixels.
const STEP: usize = 48;

fn normalize_nhwc(pixels: &[u8], mean: [f32; 3], inv_std: [f32; 3], output: &mut [f32]) {
    // The constants of the three channels are repeated, so that the loop needs no remainder of an index.
    let mean: [f32; STEP] = std::array::from_fn(|index| mean[index % 3]);
    let inv_std: [f32; STEP] = std::array::from_fn(|index| inv_std[index % 3]);
    for (output, pixels) in output.chunks_mut(STEP).zip(pixels.chunks(STEP)) {
        for (((value, pixel), mean), inv_std) in output.iter_mut().zip(pixels).zip(&mean).zip(&inv_std) {
            *value = (f32::from(*pixel) - mean) * inv_std;
        }
    }
}

fn normalize_nchw(pixels: &[u8], mean: [f32; 3], inv_std: [f32; 3], plane: usize, output: &mut [f32]) {
    for (image, planes) in pixels.chunks_exact(plane * 3).zip(output.chunks_exact_mut(plane * 3)) {
        for (channel, plane) in planes.chunks_exact_mut(plane).enumerate() {
            for (value, pixel) in plane.iter_mut().zip(image.chunks_exact(3)) {
                *value = (f32::from(pixel[channel]) - mean[channel]) * inv_std[channel];
            }
        }
    }
}

/// The reference implementation of [`GpuNormalizeOps::gpu_normalize`], to NCHW. It runs on every backend, but is slower.
fn reference(packed: Tensor<1, Int>, affine: Tensor<1>, [batch, height, width]: [usize; 3]) -> Tensor<4> {
    let bytes = batch * height * width * 3;
    // Every runtime has bitwise operations on i32. The mask removes the sign bits that a right shift inserts.
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
