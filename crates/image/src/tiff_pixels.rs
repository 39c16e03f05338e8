//! Decodes the strips or tiles of a TIFF, and converts their samples to RGB as Pillow does.

use std::io::Read;
use std::ops::Range;

use flate2::bufread::ZlibDecoder;

use super::library_decoder::NOTHING;
use super::tiff::{Colours, Compression, Directory, MISSING, OVERLAP};
use super::tiff_lzw::Lzw;

const SHORT: &str = "the data of a strip or a tile is damaged or truncated";

/// Maximum number of strips and tiles. The decoder of each takes memory and time, also if it has a single pixel.
const MAX_CHUNKS: usize = 100_000;

impl Directory {
    /// Returns the pixels as RGB. With `is_part`, missing samples are zeros; otherwise they are an error.
    pub(super) fn pixels(&self, bytes: &[u8], is_part: bool) -> Result<Vec<u8>, String> {
        let kept = self.colours.samples();
        let [across, down] = self.chunks();
        let planes = if self.is_planar { kept } else { 1 };
        let per_plane = across as usize * down as usize;
        let count = per_plane * planes;
        if count > MAX_CHUNKS {
            return Err(format!("it has {count} strips or tiles; the maximum is {MAX_CHUNKS}"));
        }
        if self.places.len() < count && !is_part {
            return Err(MISSING.to_string());
        }
        let mut samples = vec![0; self.width as usize * self.height as usize * kept];
        let mut unread = usize::try_from(self.max_input(bytes.len())).unwrap_or(usize::MAX);
        for (index, place) in self.places.iter().take(count).enumerate() {
            let channels = if self.is_planar { index / per_plane..index / per_plane + 1 } else { 0..kept };
            let (left, top) = (index % per_plane % across as usize, index % per_plane / across as usize);
            let start = [left * self.chunk[0] as usize, top * self.chunk[1] as usize];
            let read = self.read_chunk(bytes, *place, &mut unread, start, channels, &mut samples);
            if unread == 0 {
                return Err(OVERLAP.to_string());
            }
            if !is_part {
                read?;
            }
        }
        if is_part && samples.iter().all(|sample| *sample == 0) {
            return Err(NOTHING.to_string());
        }
        Ok(self.to_rgb(samples))
    }

    /// Reads a strip or a tile, as far as it is within the image, and at most `unread` bytes. Subtracts the bytes that were read.
    fn read_chunk(
        &self,
        bytes: &[u8],
        [offset, length]: [u64; 2],
        unread: &mut usize,
        start: [usize; 2],
        channels: Range<usize>,
        samples: &mut [u8],
    ) -> Result<(), String> {
        let data = usize::try_from(offset).ok().and_then(|start| bytes.get(start..)).ok_or(SHORT)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(data.len()).min(*unread);
        let mut chunk = Chunk::new(&data[..length], self.compression)?;
        let read = self.read_rows(&mut chunk, start, channels, samples);
        *unread -= length - chunk.remaining();
        read
    }

    /// Reads the rows of a strip or a tile.
    fn read_rows(
        &self,
        chunk: &mut Chunk<'_>,
        [left, top]: [usize; 2],
        channels: Range<usize>,
        samples: &mut [u8],
    ) -> Result<(), String> {
        let stored = if self.is_planar { 1 } else { self.samples };
        let mut row = vec![0; (self.chunk[0] as usize * stored * self.depth).div_ceil(8)];
        let kept = self.colours.samples();
        let rows = samples.chunks_exact_mut(self.width as usize * kept).skip(top).take(self.chunk[1] as usize);
        for target in rows {
            chunk.fill(&mut row)?;
            if self.has_differences {
                self.add_differences(&mut row, stored);
            }
            let pixels = target[left * kept..].chunks_exact_mut(kept).take(self.chunk[0] as usize);
            for (x, pixel) in pixels.enumerate() {
                for (index, sample) in pixel[channels.clone()].iter_mut().enumerate() {
                    *sample = self.sample(&row, x * stored + index);
                }
            }
        }
        Ok(())
    }

    /// Returns a sample of a row. Of 16 bits, it is the upper byte.
    fn sample(&self, row: &[u8], index: usize) -> u8 {
        match self.depth {
            8 => row[index],
            16 => row[2 * index + usize::from(self.is_little_endian)],
            depth => {
                let bit = index * depth;
                row[bit / 8] >> (8 - depth - bit % 8) & (u8::MAX >> (8 - depth))
            }
        }
    }

    /// Adds to each sample that of the pixel before.
    fn add_differences(&self, row: &mut [u8], stored: usize) {
        if self.depth == 8 {
            for at in stored..row.len() {
                row[at] = row[at].wrapping_add(row[at - stored]);
            }
            return;
        }
        let (read, write) = if self.is_little_endian {
            (u16::from_le_bytes as fn([u8; 2]) -> u16, u16::to_le_bytes as fn(u16) -> [u8; 2])
        } else {
            (u16::from_be_bytes as fn([u8; 2]) -> u16, u16::to_be_bytes as fn(u16) -> [u8; 2])
        };
        let samples = row.as_chunks_mut::<2>().0;
        for at in stored..samples.len() {
            samples[at] = write(read(samples[at]).wrapping_add(read(samples[at - stored])));
        }
    }

    fn to_rgb(&self, samples: Vec<u8>) -> Vec<u8> {
        let max = if self.depth < 8 { u8::MAX >> (8 - self.depth) } else { u8::MAX };
        let scale = u8::MAX / max;
        match self.colours {
            Colours::Rgb => samples,
            Colours::Grey => samples.into_iter().flat_map(|grey| [grey * scale; 3]).collect(),
            Colours::Negative => samples.into_iter().flat_map(|grey| [(max - grey) * scale; 3]).collect(),
            Colours::Palette => {
                let colour = |index: u8| self.palette.get(usize::from(index)).copied().unwrap_or_default();
                samples.into_iter().flat_map(colour).collect()
            }
            Colours::Premultiplied => samples.as_chunks().0.iter().flat_map(without_alpha).collect(),
            Colours::Cmyk => samples.as_chunks().0.iter().flat_map(cmyk_to_rgb).collect(),
        }
    }
}

/// Divides by alpha, as Pillow does.
fn without_alpha(&[red, green, blue, alpha]: &[u8; 4]) -> [u8; 3] {
    let divided = |sample: u8| (u32::from(sample) * 255).checked_div(u32::from(alpha)).unwrap_or(0);
    [red, green, blue].map(|sample| u8::try_from(divided(sample)).unwrap_or(u8::MAX))
}

/// Converts inks, as Pillow does.
fn cmyk_to_rgb(&[cyan, magenta, yellow, black]: &[u8; 4]) -> [u8; 3] {
    let light = u32::from(u8::MAX - black);
    [cyan, magenta, yellow].map(|ink| {
        let product = u32::from(ink) * light + 128;
        u8::try_from(light - (((product >> 8) + product) >> 8)).unwrap_or(0)
    })
}

/// The data of a strip or a tile, which is decompressed row by row.
enum Chunk<'a> {
    Stored(&'a [u8]),
    Lzw(Lzw<'a>),
    Deflate(ZlibDecoder<&'a [u8]>),
    /// The data, the number of bytes that remain of a run, and its byte; none if they are literal.
    PackBits(&'a [u8], usize, Option<u8>),
}

impl<'a> Chunk<'a> {
    fn new(data: &'a [u8], compression: Compression) -> Result<Self, String> {
        Ok(match compression {
            Compression::None => Self::Stored(data),
            // Before TIFF 5.0, codes filled bytes from the lower end. Their first bytes are those of the code that clears the table.
            Compression::Lzw if data.first() == Some(&0) && data.get(1).is_some_and(|byte| byte & 1 == 1) => {
                return Err("its LZW compression is that of TIFF 4, which is not supported".to_string());
            }
            Compression::Lzw => Self::Lzw(Lzw::new(data)),
            Compression::Deflate => Self::Deflate(ZlibDecoder::new(data)),
            Compression::PackBits => Self::PackBits(data, 0, None),
            Compression::Fax => return Err("it is a fax".to_string()),
        })
    }

    /// Returns the number of bytes of the data that were not read.
    fn remaining(&self) -> usize {
        match self {
            Self::Stored(data) | Self::PackBits(data, ..) => data.len(),
            Self::Lzw(decoder) => decoder.remaining(),
            Self::Deflate(decoder) => decoder.get_ref().len(),
        }
    }

    /// Reads as many bytes as `row` has.
    fn fill(&mut self, row: &mut [u8]) -> Result<(), String> {
        let is_filled = match self {
            Self::Stored(data) => data.read_exact(row).is_ok(),
            Self::Deflate(data) => data.read_exact(row).is_ok(),
            Self::Lzw(decoder) => decoder.fill(row).is_some(),
            Self::PackBits(data, rest, run) => fill_from_pack_bits(data, rest, run, row).is_some(),
        };
        if is_filled { Ok(()) } else { Err(SHORT.to_string()) }
    }
}

/// A byte below 128 is followed by that number of bytes plus one. Another one is followed by a byte that is repeated.
fn fill_from_pack_bits(data: &mut &[u8], rest: &mut usize, run: &mut Option<u8>, mut row: &mut [u8]) -> Option<()> {
    while !row.is_empty() {
        if *rest == 0 {
            let (head, behind) = data.split_first()?;
            *data = behind;
            match *head {
                0..=127 => (*rest, *run) = (usize::from(*head) + 1, None),
                128 => continue,
                129..=255 => {
                    let (byte, behind) = data.split_first()?;
                    *data = behind;
                    (*rest, *run) = (257 - usize::from(*head), Some(*byte));
                }
            }
        }
        let (target, others) = row.split_at_mut(row.len().min(*rest));
        match run {
            Some(byte) => target.fill(*byte),
            None => {
                let (bytes, behind) = data.split_at_checked(target.len())?;
                target.copy_from_slice(bytes);
                *data = behind;
            }
        }
        *rest -= target.len();
        row = others;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use crate::{DecodeBudget, ImageError, Limits, TruncatedImages, decode};

    const ROWS: &[(u16, u16)] =
        &[(256, 2), (257, 3), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 3), (279, 6)];

    /// A TIFF of six samples at position 8. `changes` replace tags, or add them.
    fn tiff(changes: &[(u16, u16)]) -> Vec<u8> {
        let mut tags: Vec<_> = ROWS.to_vec();
        for &(tag, value) in changes {
            tags.retain(|(other, _)| *other != tag);
            tags.push((tag, value));
        }
        tags.sort_unstable();
        let mut file = [&b"II*\0\x0e\0\0\0"[..], &[1, 2, 3, 4, 5, 6]].concat();
        file.extend(u16::try_from(tags.len()).unwrap().to_le_bytes());
        for (tag, value) in tags {
            let entry = [tag, 3, 1, 0, value, 0];
            file.extend(entry.iter().flat_map(|half| half.to_le_bytes()));
        }
        [&file[..], &[0; 4]].concat()
    }

    fn pixels(file: &[u8], truncated_images: TruncatedImages) -> Result<Vec<u8>, String> {
        let limits = Limits { formats: "tiff".parse().unwrap(), truncated_images, ..Limits::default() };
        let image = decode(file, &limits).map_err(|error| error.to_string())?;
        Ok(image.pixels.iter().step_by(3).copied().collect())
    }

    fn refused(changes: &[(u16, u16)]) -> String {
        pixels(&tiff(changes), TruncatedImages::Refuse).unwrap_err()
    }

    #[test]
    fn unsupported_kinds_are_refused_with_a_reason() {
        assert_eq!(pixels(&tiff(&[]), TruncatedImages::Refuse), Ok(vec![1, 2, 3, 4, 5, 6]));
        for (changes, reason) in [
            (&[(259, 7)][..], "it is compressed with JPEG, which is not supported within TIFF"),
            (&[(259, 50_000)], "its compression (50000) is not supported"),
            (&[(258, 12)], "1 samples of 12 bits, photometric interpretation 1"),
            (&[(262, 6)], "photometric interpretation 6"),
            (&[(339, 3)], "only unsigned integers"),
            (&[(259, 5), (317, 3)], "its predictor (3) is not supported"),
        ] {
            let message = refused(changes);
            assert!(message.contains(reason), "{message}");
        }
        let no_depth = tiff_of(&[1], &[(256, &[1]), (257, &[1]), (258, &[]), (273, &[8])]);
        let message = pixels(&no_depth, TruncatedImages::Refuse).unwrap_err();
        assert!(message.contains("no or different numbers of bits"), "{message}");
    }

    #[test]
    fn contradictory_layouts_are_refused() {
        for (changes, reason) in [
            (&[(278, 1)][..], "it lacks strips or tiles"),
            (&[(278, 0)], "the width or the height is zero"),
            (&[(322, 0), (323, 16), (324, 8), (325, 6)], "the width or the height is zero"),
            (&[(322, 16), (323, 16), (324, 8), (325, 6)], "damaged or truncated"),
            (&[(273, 60_000)], "damaged or truncated"),
            (&[(279, 5)], "damaged or truncated"),
            (&[(277, 65_535), (262, 2)], "65535 samples"),
            (&[(259, 5)], "damaged or truncated"),
        ] {
            let message = refused(changes);
            assert!(message.contains(reason), "{changes:?}: {message}");
        }
    }

    /// A TIFF of these LONG tags, with the pixels at position 8.
    fn tiff_of(data: &[u8], tags: &[(u16, &[u32])]) -> Vec<u8> {
        let mut file = [&b"II*\0\0\0\0\0"[..], data].concat();
        let mut entries = Vec::new();
        for (tag, values) in tags {
            let mut field: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            if values.len() > 1 {
                let position = u32::try_from(file.len()).unwrap();
                file.extend(field);
                field = position.to_le_bytes().to_vec();
            }
            field.resize(4, 0);
            let count = u32::try_from(values.len()).unwrap();
            entries.extend([tag.to_le_bytes(), [4, 0]].concat());
            entries.extend([count.to_le_bytes().to_vec(), field].concat());
        }
        let directory = u32::try_from(file.len()).unwrap();
        file[4..8].copy_from_slice(&directory.to_le_bytes());
        file.extend(u16::try_from(tags.len()).unwrap().to_le_bytes());
        [file, entries, vec![0; 4]].concat()
    }

    /// Each strip has a row, behind a megabyte of codes without output. All strips are the same bytes of the file.
    #[test]
    fn overlapping_strips_are_refused_in_time() {
        // Eight codes of nine bits that clear the table, the code of a byte, and the end.
        let lzw = [[0x80, 0x40, 0x20, 0x10, 8, 4, 2, 1, 0].repeat(100_000), vec![0, 0x40, 0x40]].concat();
        let empty_blocks = [0, 0, 0, 0xff, 0xff].repeat(200_000);
        let deflate = [&[0x78, 1][..], &empty_blocks, &[1, 1, 0, 0xfe, 0xff, 0, 0, 1, 0, 1]].concat();
        let pack_bits = [vec![128; 1_000_000], vec![0, 0]].concat();
        for (compression, data) in [(5, lzw), (8, deflate), (32_773, pack_bits)] {
            let tags = |height: u32, offsets: &[u32]| {
                let head = [(256, &[1][..]), (257, &[height]), (258, &[8]), (259, &[compression]), (262, &[1])];
                tiff_of(&data, &[&head[..], &[(273, offsets), (277, &[1]), (278, &[1])]].concat())
            };
            assert_eq!(pixels(&tags(1, &[8]), TruncatedImages::Refuse), Ok(vec![0]), "{compression}");
            let (overlapping, start) = (tags(60_000, &[8; 60_000]), Instant::now());
            for action in [TruncatedImages::Refuse, TruncatedImages::Accept] {
                let message = pixels(&overlapping, action).unwrap_err();
                assert!(message.contains("overlap"), "{compression}: {message}");
            }
            assert!(start.elapsed().as_secs_f64() < 1.0, "{compression}: {:?}", start.elapsed());
        }
    }

    /// The library that decodes faxes reads any number of codes for a row, too.
    #[test]
    fn overlapping_strips_of_a_fax_are_refused_in_time() {
        // Two runs of no pixel, eight times.
        let codes = "001001101010000110111".repeat(8);
        let bytes = codes.as_bytes().chunks(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | (bit - b'0')));
        // Then the end of a row that is equal to the one before.
        let data = [bytes.collect::<Vec<u8>>().repeat(50_000), vec![0x80]].concat();
        let length = u32::try_from(data.len()).unwrap();
        let file = |height: u32, offsets: &[u32], lengths: &[u32], other: u16| {
            let head = [(256, &[1][..]), (257, &[height]), (258, &[1]), (259, &[4]), (262, &[1])];
            let rest = [(273, offsets), (277, &[1]), (278, &[1]), (279, lengths), (other, &[0])];
            tiff_of(&data, &[head, rest].concat())
        };
        let start = Instant::now();
        assert!(pixels(&file(1, &[8], &[length], 300), TruncatedImages::Refuse).is_ok());
        let message = pixels(&file(1, &[8], &[length], 279), TruncatedImages::Refuse).unwrap_err();
        assert!(message.contains("a tag twice"), "{message}");
        for action in [TruncatedImages::Refuse, TruncatedImages::Accept] {
            let overlapping = file(60_000, &[8; 60_000], &vec![length; 60_000], 300);
            let message = pixels(&overlapping, action).unwrap_err();
            assert!(message.contains("overlap"), "{message}");
        }
        assert!(start.elapsed().as_secs_f64() < 1.0, "{:?}", start.elapsed());
    }

    #[test]
    fn equal_tiles_may_be_stored_once() {
        let white = [[129, 255].repeat(8), vec![193, 255]].concat();
        let places = [8; 64];
        let head: [(u16, &[u32]); 5] = [(256, &[256]), (257, &[272]), (258, &[8]), (259, &[32_773]), (262, &[1])];
        let tiles: [(u16, &[u32]); 5] = [(277, &[1]), (322, &[32]), (323, &[34]), (324, &places), (325, &[18; 64])];
        let expected = vec![255; 256 * 272];
        let file = tiff_of(&white, &[head, tiles].concat());
        assert_eq!(pixels(&file, TruncatedImages::Refuse), Ok(expected));
    }

    #[test]
    fn too_many_tiles_are_refused() {
        let places = [8; 120_000];
        let head: [(u16, &[u32]); 5] = [(256, &[400]), (257, &[300]), (258, &[8]), (259, &[1]), (262, &[1])];
        let tiles: [(u16, &[u32]); 4] = [(277, &[1]), (322, &[1]), (323, &[1]), (324, &places)];
        let message = pixels(&tiff_of(&[7], &[&head[..], &tiles].concat()), TruncatedImages::Refuse).unwrap_err();
        assert!(message.contains("120000 strips or tiles; the maximum is 100000"), "{message}");
    }

    /// The rows of a tile are as long as the tile, also if the image is narrow.
    #[test]
    fn tiles_with_more_pixels_than_the_limit_are_refused() {
        let huge = tiff(&[(322, 60_000), (323, 60_000), (324, 8), (325, 6)]);
        let wide = tiff(&[(257, 60_000), (322, 60_000), (323, 16), (324, 8), (325, 6)]);
        let limits = Limits { formats: "tiff".parse().unwrap(), ..Limits::default() };
        for file in [huge, wide] {
            assert!(matches!(decode(&file, &limits), Err(ImageError::TooManyPixels { width: 60_000, .. })));
        }
    }

    /// The image has 3x2 pixels, in tiles of 2x2.
    #[test]
    fn padding_of_tiles_is_not_limited() {
        let head: [(u16, &[u32]); 5] = [(256, &[3]), (257, &[2]), (258, &[8]), (259, &[1]), (262, &[1])];
        let tiles: [(u16, &[u32]); 5] = [(277, &[1]), (322, &[2]), (323, &[2]), (324, &[8, 12]), (325, &[4, 4])];
        let file = tiff_of(&[1, 2, 4, 5, 3, 0, 6, 0], &[head, tiles].concat());
        assert_eq!(pixels(&file, TruncatedImages::Refuse), Ok(vec![1, 2, 3, 4, 5, 6]));
        let limits = Limits { formats: "tiff".parse().unwrap(), max_pixels: 6, ..Limits::default() };
        assert!(decode(&file, &limits).is_ok());
    }

    #[test]
    fn memory_is_that_of_samples_and_converted_pixels() {
        for (photometric, samples, memory) in [(1, 1, 4), (2, 3, 3), (5, 4, 7)] {
            let depths = vec![8; samples as usize];
            let head = [(256, &[1][..]), (257, &[1]), (258, &depths), (259, &[1]), (262, &[photometric])];
            let rest: [(u16, &[u32]); 2] = [(273, &[8]), (277, &[samples])];
            let file = tiff_of(&[1, 2, 3, 4], &[&head[..], &rest].concat());
            let decoded = |bytes: u64| {
                let decode_budget = DecodeBudget::new(bytes);
                let limits = Limits { formats: "tiff".parse().unwrap(), decode_budget, ..Limits::default() };
                decode(&file, &limits).map(|image| image.pixels.len())
            };
            assert_eq!(decoded(memory), Ok(3));
            assert!(matches!(decoded(memory - 1), Err(ImageError::TooManyBytes { bytes, .. }) if bytes == memory));
        }
    }

    #[test]
    fn missing_rows_are_black_if_that_is_accepted() {
        let short = tiff(&[(279, 5)]);
        assert_eq!(pixels(&short, TruncatedImages::Accept), Ok(vec![1, 2, 3, 4, 0, 0]));
        assert!(pixels(&tiff(&[(279, 1)]), TruncatedImages::Accept).is_err(), "there is no whole row");
    }

    #[test]
    fn truncated_files_do_not_panic() {
        let whole = tiff(&[(317, 2), (259, 5)]);
        for end in 0..whole.len() {
            assert!(pixels(&whole[..end], TruncatedImages::Refuse).is_err(), "{end}");
            let _ = pixels(&whole[..end], TruncatedImages::Accept);
        }
    }
}
