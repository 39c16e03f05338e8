//! The GPU implementation: packs pictures for `resize.wgsl` and launches it.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;

use super::{Filter, ResizeOps, Uncut};
use crate::gpu::{Launch, Operation};

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
pub(super) fn packed(pictures: &[Uncut<'_>]) -> Vec<u8> {
    let words = |bytes: usize| bytes.div_ceil(4);
    let total = HEAD * pictures.len() + pictures.iter().map(|picture| words(picture.pixels.len())).sum::<usize>();
    let mut bytes = Vec::with_capacity(total * 4);
    let mut first = HEAD * pictures.len();
    for picture in pictures {
        for word in head(picture, first as u32) {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        first += words(picture.pixels.len());
    }
    for picture in pictures {
        bytes.extend_from_slice(picture.pixels);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
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
