//! The pixels of a JPEG by zune-jpeg: the default, since it builds with nothing but Rust.
//!
//! Four inks (CMYK, YCCK) are taken as Adobe stores them, inverted, whether or not the Adobe marker is there; Pillow
//! does the same.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::jpeg::MAX_SCANS;
use super::jpeg_header::Header;

/// u8 RGB, `[height, width, 3]` laid out flat. The error is the decoder's reason.
pub(super) fn rgb(bytes: &[u8], header: &Header<'_>) -> Result<Vec<u8>, String> {
    // A decoder that sees another size than the one that was judged stops there.
    let options = DecoderOptions::default()
        .set_max_width(header.width as usize)
        .set_max_height(header.height as usize)
        .jpeg_set_max_scans(MAX_SCANS.into())
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let pixels = JpegDecoder::new_with_options(ZCursor::new(bytes), options).decode().map_err(|e| e.to_string())?;
    if pixels.len() == header.width as usize * header.height as usize * 3 {
        Ok(pixels)
    } else {
        Err("its headers contradict each other".to_string())
    }
}
