//! Images to send feedback on: crops of the test photos, each with other pixels.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};

use crate::common::bytes;

/// Columns and rows of the crops of a photo.
const CROPS: [(u32, u32); 6] = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)];

/// A crop of a photo.
pub struct Crop {
    pub name: String,
    pub png: Vec<u8>,
    /// The class that the feedback claims; `None` if the feedback confirms the prediction.
    pub truth: Option<u64>,
}

/// Returns the crops of all photos.
pub fn crops(contradicted: &[(&str, u64)], confirmed: &[&str]) -> Vec<Crop> {
    let contradicted = contradicted.iter().map(|(photo, class)| (*photo, Some(*class)));
    let photos = contradicted.chain(confirmed.iter().map(|photo| (*photo, None)));
    photos.flat_map(|(photo, truth)| crops_of(photo, truth)).collect()
}

/// Returns crops of almost the whole photo from different corners.
fn crops_of(photo: &str, truth: Option<u64>) -> Vec<Crop> {
    let file = bytes(&format!("photos/{photo}"));
    let decoded = libjpeg_turbo_rs::decompress_to(&file, libjpeg_turbo_rs::PixelFormat::Rgb).unwrap();
    let (width, height) = (u32::try_from(decoded.width).unwrap(), u32::try_from(decoded.height).unwrap());
    let whole = DynamicImage::from(RgbImage::from_raw(width, height, decoded.data).expect("a photo in RGB"));
    let (across, down) = (width - 32, height - 24);
    let crop = |(column, row): (u32, u32)| {
        let mut png = Cursor::new(Vec::new());
        whole.crop_imm(16 * column, 24 * row, across, down).write_to(&mut png, ImageFormat::Png).unwrap();
        Crop { name: format!("{photo} from {column}, {row}"), png: png.into_inner(), truth }
    };
    CROPS.map(crop).into()
}
