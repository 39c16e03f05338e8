//! Pictures to teach with: parts of the test photos, each another file with other pixels.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};
use zune_core::bytestream::ZCursor;
use zune_jpeg::JpegDecoder;

use crate::common::bytes;

/// Parts of a photo: columns and rows of them.
const PARTS: [(u32, u32); 6] = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)];

/// A part of a photo.
pub struct Crop {
    pub name: String,
    pub png: Vec<u8>,
    /// What it is said to show, if that is not what the model says.
    pub truth: Option<u64>,
}

pub fn crops(contradicted: &[(&str, u64)], agreed: &[&str]) -> Vec<Crop> {
    let contradicted = contradicted.iter().map(|(photo, class)| (*photo, Some(*class)));
    let photos = contradicted.chain(agreed.iter().map(|photo| (*photo, None)));
    photos.flat_map(|(photo, truth)| parts(photo, truth)).collect()
}

/// Most of the photo, from somewhat different corners.
fn parts(photo: &str, truth: Option<u64>) -> Vec<Crop> {
    let file = bytes(&format!("photos/{photo}"));
    let mut decoder = JpegDecoder::new(ZCursor::new(&file));
    let pixels = decoder.decode().unwrap();
    let (width, height) = decoder.info().map(|info| (info.width.into(), info.height.into())).unwrap();
    let whole = DynamicImage::from(RgbImage::from_raw(width, height, pixels).expect("a photo in colours"));
    let (across, down) = (width - 32, height - 24);
    let part = |(column, row): (u32, u32)| {
        let mut png = Cursor::new(Vec::new());
        whole.crop_imm(16 * column, 24 * row, across, down).write_to(&mut png, ImageFormat::Png).unwrap();
        Crop { name: format!("{photo} from {column}, {row}"), png: png.into_inner(), truth }
    };
    PARTS.map(part).into()
}
