//! Resizing on the device: decoded pictures go up as they are, and become the model's input there, so that the CPU's cores
//! need do no more than decode.

mod cube;
mod plain;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, DispatchDevice, backend_extension};
use burn::tensor::{DType, Tensor};

use crate::{Kernels, Normalizer};

/// A decoded picture, and which part of it becomes the model's input.
#[derive(Clone, Copy, Debug)]
pub struct Uncut<'a> {
    /// u8 RGB, `[height, width, 3]` laid out flat.
    pub pixels: &'a [u8],
    /// Width and height.
    pub size: [u32; 2],
    /// Left and upper end of the window that is resampled. The filter looks over its edges, as far as there are pixels.
    pub start: [u32; 2],
    /// The window's width and height.
    pub length: [u32; 2],
    /// How the result is turned to be upright.
    pub turn: Turn,
    /// Whether rows are resampled first. Levels are rounded in between.
    pub rows_first: bool,
    /// How it is resampled, always antialiased.
    pub filter: Filter,
}

/// How a picture that lies in its file becomes upright: sides are swapped first, then it is mirrored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Rows of the upright picture are columns of the file.
    pub swapped: bool,
    /// Columns of the file run from right to left.
    pub mirrored_x: bool,
    /// Rows of the file run from the bottom up.
    pub mirrored_y: bool,
}

/// Filters, as Pillow has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Triangle, support 1.
    Bilinear,
    /// Cubic with a = -0.5, support 2.
    Bicubic,
    /// Lanczos, support 3.
    Lanczos,
}

/// Resizing on a device.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"))]
trait ResizeOps: Backend {
    /// `words`: heads and pixels as `resize.wgsl` wants them; `affine` as for normalisation; `pictures`: how many, and the
    /// height and width of the result. Returns `dtype`, `[pictures, height, width, 3]`.
    #[fusion(dtype = *dtype, shape = burn::tensor::Shape::from([pictures[0], pictures[1], pictures[2], 3]))]
    fn resize(
        words: IntTensor<Self>,
        affine: FloatTensor<Self>,
        pictures: [usize; 3],
        dtype: DType,
    ) -> FloatTensor<Self>;
}

impl Normalizer {
    /// Resizes each picture to `height` x `width` and normalises it: `[pictures, height, width, 3]`.
    ///
    /// # Panics
    ///
    /// There is no picture, a window is empty or leaves its picture, or the pixels are not as many as the size says.
    pub fn resize(&self, pictures: &[Uncut<'_>], height: usize, width: usize) -> Tensor<4> {
        for picture in pictures {
            let Uncut { pixels, size: [across, down], start, length, .. } = picture;
            assert_eq!(pixels.len(), *across as usize * *down as usize * 3, "pixels of a {across}x{down} picture");
            let fits = |axis: usize, size: u32| length[axis] > 0 && start[axis] + length[axis] <= size;
            assert!(fits(0, *across) && fits(1, *down), "the window {start:?}, {length:?} of {across}x{down}");
        }
        match (Kernels::in_use(&self.device), self.device.as_dispatch()) {
            (Kernels::Fused(_), device) if !matches!(device, DispatchDevice::Flex(_)) => {
                let words = self.upload(cube::packed(pictures)).into_dispatch();
                let shape = [pictures.len(), height, width];
                Tensor::from_dispatch(Dispatch::resize(words, self.affine.clone().into_dispatch(), shape, self.dtype))
            }
            _ => {
                let each = |picture| plain::resize(picture, height, width, &self.device);
                let levels = Tensor::cat(pictures.iter().map(each).collect(), 0);
                let mean = self.affine.clone().narrow(0, 0, 3).reshape([1, 1, 1, 3]);
                let inv_std = self.affine.clone().narrow(0, 3, 3).reshape([1, 1, 1, 3]);
                ((levels - mean) * inv_std).cast(self.dtype)
            }
        }
    }
}
