//! Decodes, crops and resizes images to a model's input size. This crate handles file formats and resampling, but neither
//! tensors nor HTTP.
//!
//! [`preprocess`] runs all steps on the calling thread; [`DecodePool`] provides threads for it.
#![forbid(unsafe_code)]
// The sizes in an image are the client's. Tests cast values that they know.
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation))]

mod bmp;
mod crop_geometry;
mod crop_region;
mod decode;
mod decode_pool;
mod decoded_image;
mod error;
mod file_name;
mod format;
mod gif_header;
mod header;
mod jpeg;
mod jpeg_header;
mod jpeg_scans;
mod jpeg_segments;
mod library_decoder;
mod limits;
mod other_formats;
mod png_exif;
mod preprocess_spec;
mod repair;
mod resize;
#[cfg(test)]
mod tests;
mod tiff;
mod tiff_lzw;
mod tiff_pixels;
mod webp;

pub use crop_region::{CropRegion, crop, crop_bytes};
pub use decode::{decode, decode_while_needed};
pub use decode_pool::{DecodePool, PoolError, PoolStartError};
pub use decoded_image::DecodedImage;
pub use error::ImageError;
pub use file_name::{EncodedImage, check_file_name, sanitise_file_name};
pub use format::{Format, FormatSet, UnknownFormatName};
pub use limits::{CancelGuard, CancelToken, DecodeBudget, Limits, TruncatedImages};
pub use other_formats::OtherFormat;
pub use preprocess_spec::{Crop, Filter, PreprocessSpec};
pub use resize::{PreprocessedImage, resize};

/// The result of [`preprocess`]: the model's input, and properties of the file.
#[derive(Clone, Debug)]
pub struct Preprocessed {
    /// The pixels, of the model's input size.
    pub image: PreprocessedImage,
    /// The format by the first bytes.
    pub format: Format,
    /// Width of the whole image as displayed, in pixels: after the EXIF orientation.
    pub width: u32,
    /// Height of the whole image as displayed, in pixels.
    pub height: u32,
    /// Whether the file is truncated or damaged, and some pixels are missing.
    pub is_truncated: bool,
}

/// Runs [`decode`] and [`resize`]. Only the first frame of an animation is used.
///
/// # Errors
///
/// Every error is the image's fault; see [`ImageError`]. The format and the number of pixels are checked by the first bytes
/// and the header, before anything is decoded.
pub fn preprocess(bytes: &[u8], spec: &PreprocessSpec, limits: &Limits) -> Result<Preprocessed, ImageError> {
    let decoded = decode(bytes, limits)?;
    let (width, height) = decoded.displayed_size();
    let (format, is_truncated) = (decoded.format(), decoded.is_truncated());
    Ok(Preprocessed { image: resize(&decoded, spec)?, format, width, height, is_truncated })
}
