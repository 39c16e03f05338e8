//! Resizing on the device: the host uploads decoded images, and the device crops, resizes, orients and normalises them, so
//! that the CPU only decodes.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, DispatchDevice, backend_extension};
use burn::tensor::{DType, Device, Shape, Tensor, TensorData};
use burn_cubecl::CubeBackend;

use crate::gpu::Launch;
use crate::normalize::pack_words;
use crate::wgsl::Operation;
use crate::{Kernels, Normalizer};

/// A decoded image, and the part of it that becomes the input of the model.
#[derive(Clone, Copy, Debug)]
pub struct SourceImage<'a> {
    /// u8 RGB, `[height, width, 3]`.
    pub pixels: &'a [u8],
    /// Width and height.
    pub size: [u32; 2],
    /// Left and upper end of the window to resample. The filter also reads pixels beyond the edges of the window.
    pub start: [u32; 2],
    /// Width and height of the window.
    pub length: [u32; 2],
    /// How to make the result upright.
    pub orientation: Orientation,
    /// Whether rows are resampled before columns. Levels are rounded in between.
    pub rows_first: bool,
    /// The resampling filter, always antialiased.
    pub filter: Filter,
}

/// How to make a stored image upright: first transpose it, then mirror it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orientation {
    /// Rows of the upright image are columns of the stored one.
    pub transposed: bool,
    /// Columns of the stored image run from right to left.
    pub mirrored_x: bool,
    /// Rows of the stored image run from bottom to top.
    pub mirrored_y: bool,
}

/// Resampling filters, as Pillow defines them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Triangle, support 1.
    Bilinear,
    /// Cubic with a = -0.5, support 2.
    Bicubic,
    /// Lanczos, support 3.
    Lanczos,
}

impl Normalizer {
    /// Resizes each image to `height` x `width` and normalises it. Returns `[images, height, width, 3]`.
    ///
    /// # Panics
    ///
    /// Panics if there is no image, if a window is empty or exceeds its image, or if the number of pixels is not that of the
    /// size.
    pub fn resize(&self, images: &[SourceImage<'_>], height: usize, width: usize) -> Tensor<4> {
        for image in images {
            let SourceImage { pixels, size: [across, down], start, length, .. } = image;
            assert_eq!(pixels.len(), *across as usize * *down as usize * 3, "pixels of a {across}x{down} image");
            let fits = |axis: usize, size: u32| length[axis] > 0 && start[axis] + length[axis] <= size;
            assert!(fits(0, *across) && fits(1, *down), "the window {start:?}, {length:?} of {across}x{down}");
        }
        match (Kernels::current(&self.device), self.device.as_dispatch()) {
            (Kernels::Fused(_), device) if !matches!(device, DispatchDevice::Flex(_)) => {
                let words = self.upload(pack_images(images)).into_dispatch();
                let shape = [images.len(), height, width];
                let affine = self.affine.clone().into_dispatch();
                Tensor::from_dispatch(Dispatch::gpu_resize(words, affine, shape, self.dtype))
            }
            _ => {
                let each = |image| reference(image, height, width, &self.device);
                let levels = Tensor::cat(images.iter().map(each).collect(), 0);
                let mean = self.affine.clone().narrow(0, 0, 3).reshape([1, 1, 1, 3]);
                let inv_std = self.affine.clone().narrow(0, 3, 3).reshape([1, 1, 1, 3]);
                ((levels - mean) * inv_std).cast(self.dtype)
            }
        }
    }
}

/// Resizing on GPUs, as a Burn backend extension.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"))]
trait GpuResizeOps: Backend {
    /// Resizes and normalises images to `dtype`, `[images, height, width, 3]`.
    ///
    /// `words` holds headers and pixels in the format of `resize.wgsl`. `affine` is that of normalisation. `images` is the
    /// number of images, and the height and width of the result.
    #[fusion(dtype = *dtype, shape = Shape::from([images[0], images[1], images[2], 3]))]
    fn gpu_resize(
        words: IntTensor<Self>,
        affine: FloatTensor<Self>,
        images: [usize; 3],
        dtype: DType,
    ) -> FloatTensor<Self>;
}

impl GpuResizeOps for CubeBackend {
    fn gpu_resize(
        words: IntTensor<Self>,
        affine: FloatTensor<Self>,
        [count, height, width]: [usize; 3],
        dtype: DType,
    ) -> FloatTensor<Self> {
        let pixels = count * height * width;
        Launch::new(Operation::Resize).info([pixels, height, width]).input(words).input(affine).run(
            Shape::from([count, height, width, 3]),
            dtype,
            pixels,
        )
    }
}

/// Words of an image's header.
const HEADER: usize = 10;

/// Packs the headers of all images, then their pixels. Each image starts at a whole word.
fn pack_images(images: &[SourceImage<'_>]) -> Vec<u32> {
    let length = |image: &SourceImage<'_>| image.pixels.len().div_ceil(4);
    let headers = HEADER * images.len();
    let mut packed = Vec::with_capacity(headers + images.iter().map(length).sum::<usize>());
    let mut first = headers;
    for image in images {
        let start = u32::try_from(first).expect("the images of a batch have fewer than 2^32 words");
        packed.extend(header(image, start));
        first += length(image);
    }
    for image in images {
        packed.extend(pack_words(image.pixels));
    }
    packed
}

/// Returns the header of an image whose pixels begin at word `first`.
fn header(image: &SourceImage<'_>, first: u32) -> [u32; HEADER] {
    let SourceImage { size, start, length, orientation, rows_first, filter, .. } = *image;
    let orientation = u32::from(orientation.transposed)
        | u32::from(orientation.mirrored_x) << 1
        | u32::from(orientation.mirrored_y) << 2;
    let filter = match filter {
        Filter::Bilinear => 0,
        Filter::Bicubic => 1,
        Filter::Lanczos => 2,
    };
    let [[across, down], [left, top], [width, height]] = [size, start, length];
    [first, across, down, left, top, width, height, orientation, rows_first.into(), filter]
}

/// The reference implementation of [`GpuResizeOps::gpu_resize`] for one image, without normalisation: f32 levels,
/// `[1, height, width, 3]`. Each axis is a product with a matrix of weights that the host computes.
fn reference(image: &SourceImage<'_>, height: usize, width: usize, device: &Device) -> Tensor<4> {
    let SourceImage { pixels, size: [across, down], start, length, orientation, rows_first, filter } = *image;
    let (columns, rows) = if orientation.transposed { (height, width) } else { (width, height) };
    let values: Vec<f32> = pixels.iter().map(|level| f32::from(*level)).collect();
    let shape = [down as usize, across as usize, 3];
    let levels: Tensor<3> = Tensor::from_data(TensorData::new(values, shape), (device, DType::F32));
    let levels = levels.permute([2, 0, 1]);
    let along_x = |levels: Tensor<3>| {
        let weights = resampling_weights(filter, start[0], length[0], across, columns, device);
        round_levels(levels.matmul(weights.transpose().unsqueeze()))
    };
    let along_y = |levels: Tensor<3>| {
        let weights = resampling_weights(filter, start[1], length[1], down, rows, device);
        round_levels(weights.unsqueeze().matmul(levels))
    };
    let resized = if rows_first { along_y(along_x(levels)) } else { along_x(along_y(levels)) };
    let resized = if orientation.mirrored_y { resized.flip([1]) } else { resized };
    let resized = if orientation.mirrored_x { resized.flip([2]) } else { resized };
    let upright = if orientation.transposed { resized.permute([2, 1, 0]) } else { resized.permute([1, 2, 0]) };
    upright.unsqueeze()
}

/// Rounds to integer levels in 0..=255.
fn round_levels(levels: Tensor<3>) -> Tensor<3> {
    (levels + 0.5).floor().clamp(0.0, 255.0)
}

/// Returns `[target, size]`: in each row the weight of each input pixel in one output pixel.
fn resampling_weights(filter: Filter, start: u32, length: u32, size: u32, target: usize, device: &Device) -> Tensor<2> {
    let step = f64::from(length) / target as f64;
    let scale = step.max(1.0);
    let mut weights = Vec::with_capacity(target * size as usize);
    for position in 0..target {
        let centre = f64::from(start) + (position as f64 + 0.5) * step;
        let row = (0..size).map(|i| filter_value(filter, ((f64::from(i) + 0.5 - centre) / scale).abs()));
        let row: Vec<f64> = row.collect();
        let sum: f64 = row.iter().sum();
        #[expect(clippy::cast_possible_truncation, reason = "the weights are rounded to f32")]
        weights.extend(row.into_iter().map(|weight| (weight / sum) as f32));
    }
    Tensor::from_data(TensorData::new(weights, [target, size as usize]), (device, DType::F32))
}

/// Returns the value of the filter at distance `x` (Pillow 13, `src/libImaging/Resample.c`).
fn filter_value(filter: Filter, x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * std::f64::consts::PI).sin() / (x * std::f64::consts::PI) };
    match filter {
        Filter::Bilinear => (1.0 - x).max(0.0),
        Filter::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        Filter::Bicubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        Filter::Lanczos if x < 3.0 => sinc(x) * sinc(x / 3.0),
        Filter::Bicubic | Filter::Lanczos => 0.0,
    }
}
