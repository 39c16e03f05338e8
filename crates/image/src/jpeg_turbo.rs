//! The pixels of a JPEG by libjpeg-turbo (cargo feature `turbojpeg`): quicker, but needs cmake and nasm to build.
//!
//! Colours come out as from `jpeg_zune.rs`. One difference remains: what libjpeg-turbo only warns of, such as a few
//! damaged bytes within a scan, is an error here, since its interface does not tell the two apart.

use turbojpeg::{Colorspace, Decompressor, Image, PixelFormat};

use super::jpeg::MAX_SCANS;
use super::jpeg_header::Header;

/// u8 RGB, `[height, width, 3]` laid out flat. The error is the decoder's reason.
pub(super) fn rgb(bytes: &[u8], header: &Header<'_>) -> Result<Vec<u8>, String> {
    decompress(bytes, header).map_err(|e| e.to_string())?.ok_or_else(|| "its headers contradict each other".to_string())
}

fn decompress(bytes: &[u8], header: &Header<'_>) -> turbojpeg::Result<Option<Vec<u8>>> {
    let (width, height) = (header.width as usize, header.height as usize);
    let mut decompressor = Decompressor::new()?;
    decompressor.set_scan_limit(MAX_SCANS.into())?;
    let own = decompressor.read_header(bytes)?;
    if (own.width, own.height) != (width, height) {
        return Ok(None);
    }
    let four_inks = matches!(own.colorspace, Colorspace::CMYK | Colorspace::YCCK);
    let format = if four_inks { PixelFormat::CMYK } else { PixelFormat::RGB };
    let pitch = width * format.size();
    let mut pixels = vec![0; pitch * height];
    decompressor.decompress(bytes, Image { pixels: pixels.as_mut_slice(), width, pitch, height, format })?;
    Ok(Some(if four_inks { rgb_of_inks(&pixels) } else { pixels }))
}

/// Inverted inks: what is left of the light, times what black leaves of it.
fn rgb_of_inks(inks: &[u8]) -> Vec<u8> {
    let mix = |ink: u8, black: u8| ((u16::from(ink) * u16::from(black) + 127) / 255) as u8;
    inks.as_chunks::<4>().0.iter().flat_map(|&[c, m, y, k]| [c, m, y].map(|ink| mix(ink, k))).collect()
}
