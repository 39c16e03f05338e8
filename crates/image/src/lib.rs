//! Bytes of a picture -> pixels of the model's size. It knows file formats and resampling; neither tensors nor HTTP.
//!
//! [`prepare`] does it all on the calling thread; [`DecodePool`] gives it threads of its own.
//!
//! | file | responsibility |
//! |---|---|
//! | `format.rs`, `format_set.rs` | the formats, their magic bytes and extensions |
//! | `name.rs` | what a file's name may be |
//! | `limits.rs` | what is accepted |
//! | `budget.rs` | bytes that decoded pictures may take together |
//! | `inner_size.rs` | sizes that lie behind the first header |
//! | `tiff_directory.rs` | how much a TIFF says that it holds |
//! | `decode.rs` | bytes to RGB, after the header was judged |
//! | `jpeg.rs`, `jpeg_header.rs`, `jpeg_zune.rs`, `jpeg_turbo.rs` | the same for JPEG, by either decoder |
//! | `raster.rs` | a decoded picture as it lies in its file |
//! | `recipe.rs` | which part is kept and how it is resized: plain data |
//! | `resize.rs` | doing so |
//! | `cutout.rs` | that part, for a device that does so |
//! | `prepared.rs` | what a model takes |
//! | `pool.rs` | the decode threads |
#![forbid(unsafe_code)]

mod budget;
mod cutout;
mod decode;
mod error;
mod format;
mod format_set;
mod inner_size;
mod jpeg;
mod jpeg_header;
#[cfg(feature = "turbojpeg")]
mod jpeg_turbo;
#[cfg(any(not(feature = "turbojpeg"), test))]
mod jpeg_zune;
mod limits;
mod name;
mod pool;
mod prepared;
mod raster;
mod recipe;
mod resize;
#[cfg(test)]
mod tests;
mod tiff_directory;

pub use budget::DecodeBudget;
pub use cutout::{Cutout, cut, cut_bytes};
pub use decode::decode;
pub use error::ImageError;
pub use format::Format;
pub use format_set::{FormatSet, UnknownFormatName};
pub use limits::Limits;
pub use name::{EncodedImage, check_file_name, sanitise_file_name};
pub use pool::{DecodePool, PoolError};
pub use prepared::PreparedImage;
pub use raster::Raster;
pub use recipe::{Crop, Filter, Recipe};
pub use resize::resize;

/// A picture that is ready for the model, and what it was.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// Pixels of the model's size.
    pub image: PreparedImage,
    /// The format by its magic bytes.
    pub format: Format,
    /// Width in pixels, as displayed: after the EXIF orientation.
    pub width: u32,
    /// Height in pixels, as displayed.
    pub height: u32,
}

/// [`decode`] and [`resize`] in one. Only the first frame of an animation is looked at.
///
/// # Errors
///
/// Always the picture's fault; see [`ImageError`]. The format and the number of pixels are judged from the first
/// bytes and the header, before anything is decoded.
pub fn prepare(bytes: &[u8], recipe: &Recipe, limits: &Limits) -> Result<Decoded, ImageError> {
    let raster = decode(bytes, limits)?;
    let (width, height) = raster.displayed_size();
    Ok(Decoded { image: resize(&raster, recipe)?, format: raster.format(), width, height })
}
