//! The GPU implementation: packs pictures for `resize.wgsl` and launches it.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;

use super::{Filter, ResizeOps, Uncut};
use crate::gpu::{Launch, Operation};
use crate::normalize::words;

/// Words in front of all pixels, for each picture.
const HEAD: usize = 10;

impl ResizeOps for CubeBackend {
    fn resize(
        words: IntTensor<Self>,
        affine: FloatTensor<Self>,
        [count, height, width]: [usize; 3],
        dtype: DType,
    ) -> FloatTensor<Self> {
        let pixels = count * height * width;
        Launch::new(Operation::Resize).numbers([pixels, height, width]).tensor(words).tensor(affine).fill(
            Shape::from([count, height, width, 3]),
            dtype,
            pixels,
        )
    }
}

/// The heads of all pictures and then their pixels, each from a whole word on.
pub(super) fn packed(pictures: &[Uncut<'_>]) -> Vec<u32> {
    let length = |picture: &Uncut<'_>| picture.pixels.len().div_ceil(4);
    let heads = HEAD * pictures.len();
    let mut packed = Vec::with_capacity(heads + pictures.iter().map(length).sum::<usize>());
    let mut first = heads;
    for picture in pictures {
        packed.extend(head(picture, first as u32));
        first += length(picture);
    }
    for picture in pictures {
        packed.extend(words(picture.pixels));
    }
    packed
}

fn head(picture: &Uncut<'_>, first: u32) -> [u32; HEAD] {
    let Uncut { size, start, length, turn, rows_first, filter, .. } = *picture;
    let turn = u32::from(turn.swapped) | u32::from(turn.mirrored_x) << 1 | u32::from(turn.mirrored_y) << 2;
    let filter = match filter {
        Filter::Bilinear => 0,
        Filter::Bicubic => 1,
        Filter::Lanczos => 2,
    };
    let [[across, down], [left, top], [width, height]] = [size, start, length];
    [first, across, down, left, top, width, height, turn, rows_first.into(), filter]
}
