//! Bytes of a picture -> pixels of the model's size. It knows file formats and resampling; neither tensors nor HTTP.
//!
//! [`prepare`] does it all on the calling thread; [`DecodePool`] gives it threads of its own.
//!
//! | file | responsibility |
//! |---|---|
//! | `format.rs` | the formats, their magic bytes and extensions |
//! | `name.rs` | what a file's name may be |
//! | `limits.rs` | what is accepted |
//! | `decode.rs`, `jpeg.rs`, `jpeg_segments.rs` | bytes to RGB, after the header was judged |
//! | `recipe.rs` | which part is kept and how it is resized: plain data |
//! | `resize.rs` | doing so |
//! | `pool.rs` | the decode threads |

mod decode;
mod error;
mod format;
#[cfg(not(feature = "turbojpeg"))]
mod jpeg;
#[cfg(feature = "turbojpeg")]
#[path = "jpeg_turbo.rs"]
mod jpeg;
mod jpeg_segments;
mod limits;
mod name;
mod pool;
mod prepared;
mod recipe;
mod resize;

pub use error::ImageError;
pub use format::{Format, FormatSet};
pub use limits::Limits;
pub use name::check_file_name;
pub use pool::{DecodePool, PoolError};
pub use prepared::PreparedImage;
pub use recipe::{Crop, Filter, Recipe};

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

/// Decodes `bytes`, orients, crops and resizes. Only the first frame of an animation is looked at.
///
/// # Errors
///
/// Always the picture's fault; see [`ImageError`]. The format and the number of pixels are judged from the first
/// bytes and the header, before anything is decoded.
pub fn prepare(bytes: &[u8], recipe: &Recipe, limits: &Limits) -> Result<Decoded, ImageError> {
    let format = Format::sniff(bytes, limits)?;
    let picture = decode::decode(bytes, format, limits)?;
    let (width, height) = picture.displayed_size();
    let image = resize::resize(&picture, recipe).map_err(|reason| ImageError::Undecodable { format, reason })?;
    Ok(Decoded { image, format, width, height })
}
