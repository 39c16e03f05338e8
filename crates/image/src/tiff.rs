//! Reads the first directory of a TIFF (TIFF 6.0, section 2): the kind of its pixels, and where they are in the file.

use std::io::Cursor;

use image::codecs::tiff::TiffDecoder;

use super::decoded_image::{DecodedImage, Extent};
use super::error::ImageError;
use super::format::Format;
use super::header;
use super::library_decoder::decode_with;
use super::limits::{CancelToken, Limits};

pub(super) const MISSING: &str = "it lacks strips or tiles";
pub(super) const OVERLAP: &str = "its strips or tiles overlap";

/// Decodes the first image of a TIFF.
pub(super) fn decode_tiff(
    bytes: &[u8],
    limits: &Limits,
    extent: Extent,
    token: Option<&CancelToken>,
) -> Result<Option<DecodedImage>, ImageError> {
    let format = Format::Tiff;
    let undecodable = |reason: String| ImageError::Undecodable { format, reason };
    if header::tiff_max_values(bytes).is_some_and(|max| max > bytes.len() as u64) {
        return Err(undecodable("a tag declares more values than the file has bytes".to_string()));
    }
    if header::has_other_fill_order(bytes) {
        return Err(undecodable("its bits are in another order (FillOrder), which is not supported".to_string()));
    }
    let orientation = header::orientation(bytes);
    let directory = Directory::read(bytes).map_err(undecodable)?;
    if directory.compression == Compression::Fax {
        if header::has_repeated_tiff_tag(bytes) {
            return Err(undecodable("its directory has a tag twice".to_string()));
        }
        directory.check_lengths(bytes.len()).map_err(undecodable)?;
        let decoder = TiffDecoder::new(Cursor::new(bytes)).map_err(|e| undecodable(e.to_string()))?;
        return decode_with(decoder, orientation, format, limits, extent, token);
    }
    let Directory { width, height, chunk, .. } = directory;
    limits.check_size(format, width, height)?;
    // Tiles may be larger than the image.
    limits.check_size(format, chunk[0], chunk[1])?;
    // A tile may be wider than the image; its rows are decoded whole.
    limits.check_size(format, width.max(chunk[0]), height)?;
    // The samples, and the pixels that they are converted to. RGB is not converted.
    let converted = if directory.colours == Colours::Rgb { 0 } else { 3 };
    let memory = (directory.colours.samples() as u64 + converted) * u64::from(width) * u64::from(height);
    let Some(_budget) = limits.acquire(format, memory, token)? else { return Ok(None) };
    let is_truncated = extent == Extent::Part;
    let pixels = directory.pixels(bytes, is_truncated).map_err(undecodable)?;
    Ok(Some(DecodedImage {
        format,
        width,
        height,
        file_size: (width, height),
        pixels,
        orientation,
        is_truncated,
        _budget,
    }))
}

/// Tags of a directory.
mod tag {
    pub(super) const WIDTH: u64 = 256;
    pub(super) const HEIGHT: u64 = 257;
    pub(super) const DEPTHS: u64 = 258;
    pub(super) const COMPRESSION: u64 = 259;
    pub(super) const PHOTOMETRIC: u64 = 262;
    pub(super) const STRIP_OFFSETS: u64 = 273;
    pub(super) const SAMPLES: u64 = 277;
    pub(super) const ROWS_PER_STRIP: u64 = 278;
    pub(super) const STRIP_LENGTHS: u64 = 279;
    pub(super) const PLANAR: u64 = 284;
    pub(super) const PREDICTOR: u64 = 317;
    pub(super) const COLOUR_MAP: u64 = 320;
    pub(super) const TILE_WIDTH: u64 = 322;
    pub(super) const TILE_HEIGHT: u64 = 323;
    pub(super) const TILE_OFFSETS: u64 = 324;
    pub(super) const TILE_LENGTHS: u64 = 325;
    pub(super) const EXTRA_SAMPLES: u64 = 338;
    pub(super) const SAMPLE_FORMATS: u64 = 339;
}

/// What the samples of a pixel mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colours {
    Grey,
    /// Grey in which zero is white.
    Negative,
    Rgb,
    /// RGB that is multiplied with the fourth sample, alpha.
    Premultiplied,
    /// An index of the colour map.
    Palette,
    Cmyk,
}

impl Colours {
    /// Returns the number of samples that decide the colour. Others follow them: alpha, and samples without a meaning.
    pub(super) fn samples(self) -> usize {
        match self {
            Self::Grey | Self::Negative | Self::Palette => 1,
            Self::Rgb => 3,
            Self::Premultiplied | Self::Cmyk => 4,
        }
    }
}

/// The compression of strips and tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Lzw,
    Deflate,
    PackBits,
    /// ITU-T T.6, group 4, which [`Directory::pixels`] does not decode.
    Fax,
}

/// The first directory.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) colours: Colours,
    /// Bits per sample: 1, 2, 4, 8 or 16.
    pub(super) depth: usize,
    /// Samples per pixel.
    pub(super) samples: usize,
    /// Whether the samples are in planes, one after the other.
    pub(super) is_planar: bool,
    pub(super) compression: Compression,
    /// Whether each sample is the difference from the one before.
    pub(super) has_differences: bool,
    /// Whether the upper byte of 16 bits is the last one.
    pub(super) is_little_endian: bool,
    /// RGB of each index.
    pub(super) palette: Vec<[u8; 3]>,
    /// Width and height of a strip or a tile. A tile may be larger than the image.
    pub(super) chunk: [u32; 2],
    /// The positions and lengths of strips or tiles, of all planes.
    pub(super) places: Vec<[u64; 2]>,
}

impl Directory {
    /// Reads the directory. The error is the reason why it is not supported.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let all = |tag| header::tiff_values(bytes, tag);
        if header::tiff_max_values(bytes).is_none() || all(tag::WIDTH).is_none() {
            return Err("its first directory is incomplete".to_string());
        }
        // A missing tag has a default.
        let one = |tag, default: u64| match all(tag) {
            Some(values) => values.first().copied().ok_or_else(|| format!("tag {tag} has no value")),
            None => Ok(default),
        };
        let small = |tag, default| {
            one(tag, default).and_then(|value| u32::try_from(value).map_err(|_| format!("tag {tag} is too large")))
        };
        let samples = one(tag::SAMPLES, 1)?;
        let depths = all(tag::DEPTHS).unwrap_or_else(|| vec![1]);
        let depth = depths.first().copied().filter(|depth| depths.iter().all(|other| other == depth));
        let depth = depth.ok_or("its samples have no or different numbers of bits")?;
        if all(tag::SAMPLE_FORMATS).is_some_and(|formats| formats.iter().any(|format| *format != 1)) {
            return Err("its sample format is not supported: only unsigned integers are".to_string());
        }
        let extra = all(tag::EXTRA_SAMPLES).and_then(|extra| extra.first().copied());
        // As in Pillow, zero is white if the tag is missing.
        let colours = colours(one(tag::PHOTOMETRIC, 0)?, samples, depth, extra)?;
        let compression = compression(one(tag::COMPRESSION, 1)?, depth)?;
        let [width, height] = [small(tag::WIDTH, 0)?, small(tag::HEIGHT, 0)?];
        let is_tiled = all(tag::TILE_OFFSETS).is_some();
        let chunk = if is_tiled {
            [small(tag::TILE_WIDTH, 0)?, small(tag::TILE_HEIGHT, 0)?]
        } else {
            [width, small(tag::ROWS_PER_STRIP, u64::from(height))?.min(height)]
        };
        let [offsets, lengths] =
            if is_tiled { [tag::TILE_OFFSETS, tag::TILE_LENGTHS] } else { [tag::STRIP_OFFSETS, tag::STRIP_LENGTHS] };
        let offsets = all(offsets).unwrap_or_default();
        // Without a length, the pixels end with the file at the latest.
        let lengths = all(lengths).unwrap_or_else(|| vec![u64::MAX; offsets.len()]);
        let has_predictor = matches!(compression, Compression::Lzw | Compression::Deflate);
        Ok(Self {
            width,
            height,
            colours,
            depth: usize::try_from(depth).unwrap_or(0),
            samples: usize::try_from(samples).unwrap_or(0),
            is_planar: one(tag::PLANAR, 1)? == 2 && samples > 1,
            compression,
            has_differences: has_predictor && has_differences(one(tag::PREDICTOR, 1)?, depth)?,
            is_little_endian: bytes.starts_with(b"II"),
            palette: palette(&all(tag::COLOUR_MAP).unwrap_or_default()),
            chunk,
            places: offsets.into_iter().zip(lengths).map(<[u64; 2]>::from).collect(),
        })
    }

    /// Checks that the strips or tiles are not longer than the file together, for a decoder that does not count what it reads.
    fn check_lengths(&self, file: usize) -> Result<(), String> {
        if self.places.is_empty() {
            return Err(MISSING.to_string());
        }
        let left_of = |offset: u64| (file as u64).saturating_sub(offset);
        let length: u64 = self.places.iter().map(|[offset, length]| left_of(*offset).min(*length)).sum();
        if length > self.max_input(file) { Err(OVERLAP.to_string()) } else { Ok(()) }
    }

    /// Returns the maximum number of bytes that are read of all strips or tiles together: the length of the file, and one bit for each
    /// sample. Without a bound, many strips could refer to the same bytes, and compressed data may have codes without output. The bit
    /// for each sample is for equal tiles that are stored once, such as blank ones; they compress to less.
    pub(super) fn max_input(&self, file: usize) -> u64 {
        file as u64 + u64::from(self.width) * u64::from(self.height) * self.colours.samples() as u64 / 8
    }

    /// Returns the number of strips or tiles from left to right, and from top to bottom.
    pub(super) fn chunks(&self) -> [u32; 2] {
        [self.width.div_ceil(self.chunk[0]), self.height.div_ceil(self.chunk[1])]
    }
}

fn colours(photometric: u64, samples: u64, depth: u64, extra: Option<u64>) -> Result<Colours, String> {
    const PREMULTIPLIED_ALPHA: u64 = 1;
    let is_premultiplied = extra == Some(PREMULTIPLIED_ALPHA);
    Ok(match (photometric, samples, depth) {
        (0, 1, 1 | 2 | 4 | 8 | 16) => Colours::Negative,
        (1, 1, 1 | 2 | 4 | 8 | 16) => Colours::Grey,
        (1, 2, 8 | 16) if !is_premultiplied => Colours::Grey,
        (2, 4..=8, 8 | 16) if is_premultiplied => Colours::Premultiplied,
        (2, 3..=8, 8 | 16) => Colours::Rgb,
        (3, 1, 1 | 2 | 4 | 8) | (3, 2, 8) => Colours::Palette,
        (5, 4..=8, 8 | 16) => Colours::Cmyk,
        _ => {
            let pixel = format!("{samples} samples of {depth} bits, photometric interpretation {photometric}");
            return Err(format!("its kind of pixels is not supported: {pixel}"));
        }
    })
}

fn compression(value: u64, depth: u64) -> Result<Compression, String> {
    Ok(match value {
        4 if depth == 1 => Compression::Fax,
        1 => Compression::None,
        5 => Compression::Lzw,
        8 | 32946 => Compression::Deflate,
        32773 => Compression::PackBits,
        6 | 7 => return Err("it is compressed with JPEG, which is not supported within TIFF".to_string()),
        other => return Err(format!("its compression ({other}) is not supported")),
    })
}

fn has_differences(predictor: u64, depth: u64) -> Result<bool, String> {
    match (predictor, depth) {
        (1, _) => Ok(false),
        (2, 8 | 16) => Ok(true),
        _ => Err(format!("its predictor ({predictor}) is not supported for samples of {depth} bits")),
    }
}

/// Converts the colour map: 16 bits of red of all colours, then of green and of blue. As in Pillow, the upper byte is kept.
fn palette(map: &[u64]) -> Vec<[u8; 3]> {
    let colours = map.len() / 3;
    let upper = |index: usize| u8::try_from(map[index] >> 8).unwrap_or(u8::MAX);
    (0..colours).map(|index| [0, 1, 2].map(|band| upper(band * colours + index))).collect()
}
