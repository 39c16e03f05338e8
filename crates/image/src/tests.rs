//! Tests of rejected images: truncated files, files with wrong headers, and files of other types.

use super::*;

fn file(name: &str) -> Vec<u8> {
    let path = format!("../../tests/data/{name}");
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn all_formats() -> Limits {
    Limits { formats: "png,jpg,gif,webp,bmp,tiff".parse().unwrap(), ..Limits::default() }
}

fn try_preprocess(bytes: &[u8], limits: &Limits) -> Result<Preprocessed, ImageError> {
    let spec =
        PreprocessSpec { width: 32, height: 32, filter: Filter::Bicubic, crop: Crop::CentralPadded { padding: 4 } };
    preprocess(bytes, &spec, limits)
}

fn error_of(bytes: &[u8], limits: &Limits) -> ImageError {
    try_preprocess(bytes, limits).map(|decoded| (decoded.width, decoded.height)).unwrap_err()
}

fn is_undecodable(bytes: &[u8]) -> bool {
    matches!(error_of(bytes, &all_formats()), ImageError::Undecodable { .. })
}

/// Replaces the bytes from `at` on by `patch`.
fn patched(mut bytes: Vec<u8>, at: usize, patch: &[u8]) -> Vec<u8> {
    bytes[at..at + patch.len()].copy_from_slice(patch);
    bytes
}

fn frame_header(jpeg: &[u8]) -> usize {
    jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap()
}

#[test]
fn unknown_and_unaccepted_formats_are_different_errors() {
    let default = Limits::default();
    assert_eq!(error_of(b"", &default), ImageError::Empty);
    for bytes in [&b"GIF8"[..], b"<html></html>", &[0; 100]] {
        assert_eq!(error_of(bytes, &default), ImageError::UnknownFormat { accepted: default.formats });
    }
    for (name, format) in [("webp", Format::Webp), ("bmp", Format::Bmp), ("tiff", Format::Tiff)] {
        let expected = ImageError::FormatNotAccepted { format, accepted: default.formats };
        assert_eq!(error_of(&file(&format!("variants/cat.{name}")), &default), expected);
    }
}

#[test]
fn pixel_limit_is_exact() {
    let enough = Limits { max_pixels: 451 * 300, ..all_formats() };
    let limit = enough.max_pixels - 1;
    let too_few = Limits { max_pixels: limit, ..all_formats() };
    for name in ["cat.png", "cat.gif", "cat_420.jpg", "cat_progressive.jpg", "cat.webp", "cat.bmp", "cat.tiff"] {
        let bytes = file(&format!("variants/{name}"));
        assert!(try_preprocess(&bytes, &enough).is_ok(), "{name}");
        assert_eq!(error_of(&bytes, &too_few), ImageError::TooManyPixels { width: 451, height: 300, limit }, "{name}");
    }
}

/// If more than the header were read, the missing data would cause another error, or the memory would not suffice.
#[test]
fn huge_sizes_are_refused_by_the_header_alone() {
    let too_many = |bytes: &[u8], width: u32, height: u32| {
        let limit = all_formats().max_pixels;
        assert_eq!(error_of(bytes, &all_formats()), ImageError::TooManyPixels { width, height, limit });
    };
    let mut jpeg = file("photos/cat_451x300.jpg");
    let frame = frame_header(&jpeg);
    jpeg = patched(jpeg, frame + 5, &[0xff; 4]);
    too_many(&jpeg, 65535, 65535);
    let scan = jpeg.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
    too_many(&jpeg[..scan + 40], 65535, 65535);
    // The length of the IHDR chunk, its sizes, 16-bit RGBA; no checksum.
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x10\x06\0\0\0";
    too_many(png, 0x7fff_ffff, 0x7fff_ffff);
    too_many(&patched(file("variants/cat.gif"), 6, &[0xff; 4])[..800], 65535, 65535);
    // A canvas of one pixel, and a first frame of four thousand million pixels.
    let gif = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;";
    too_many(gif, 65535, 65535);
    // An extended WebP: a canvas of ten pixels square, and a lossy frame of 16383 pixels square.
    let webp =
        b"RIFF\x2e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x09\0\0\x09\0\0VP8 \x10\0\0\0\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f";
    too_many(webp, 16383, 16383);
    too_many(&patched(file("variants/cat.bmp"), 18, &[0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0]), 65535, 65535);
}

#[test]
fn empty_sizes_and_extremely_long_sides_are_undecodable() {
    let sized = |width: u32, height: u32| {
        patched(file("variants/cat.png"), 16, &[width.to_be_bytes(), height.to_be_bytes()].concat())
    };
    assert!(is_undecodable(&sized(0, 300)));
    // Few pixels, but the resize would need memory in proportion to the side.
    assert!(is_undecodable(&sized(1, 10_000_000)));
    let jpeg = file("photos/cat_451x300.jpg");
    let frame = frame_header(&jpeg);
    assert!(is_undecodable(&patched(jpeg, frame + 5, &[0, 0])));
}

#[test]
fn truncated_file_is_undecodable() {
    let names = ["cat_420.jpg", "cat_progressive.jpg", "cat_cmyk.jpg", "cat.png", "cat_palette.png", "cat.gif"];
    for name in names.into_iter().chain(["cat.webp", "cat.bmp", "cat.tiff"]) {
        let whole = file(&format!("variants/{name}"));
        for length in [24, 30, 200, whole.len() / 3, whole.len() * 9 / 10] {
            assert!(is_undecodable(&whole[..length]), "{name} truncated to {length}");
        }
    }
    // Neither the end marker of a thumbnail nor a padding of zeros completes the image.
    let whole = file("kinds/exif_with_thumbnail.jpg");
    assert!(is_undecodable(&whole[..whole.len() - 2]));
    assert!(is_undecodable(&[&whole[..whole.len() / 2], &[0; 5000]].concat()));
    assert!(try_preprocess(&[&whole[..], b"trailer of a camera"].concat(), &all_formats()).is_ok());
}

#[test]
fn jpeg_with_two_components_is_undecodable() {
    let jpeg = file("photos/cat_451x300.jpg");
    let frame = frame_header(&jpeg);
    assert!(is_undecodable(&patched(jpeg, frame + 9, &[2])));
}

/// No input causes a panic.
#[test]
fn damaged_files_are_images_or_errors() {
    let names = ["kinds/tiny.jpg", "kinds/grey_progressive.jpg", "kinds/ycck.jpg", "kinds/palette_2_bit.png"];
    let mut random: u32 = 1;
    let mut next = |below: usize| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) as usize % below
    };
    for name in names.into_iter().chain(["kinds/transparent.gif"]) {
        let whole = file(name);
        for _ in 0..200 {
            let mut bytes = whole.clone();
            for _ in 0..=next(4) {
                let at = next(bytes.len().min(1000));
                bytes[at] = next(256) as u8;
            }
            let outcome = try_preprocess(&bytes, &Limits { max_pixels: 100_000, ..all_formats() });
            assert!(outcome.is_err() || outcome.is_ok_and(|decoded| decoded.image.pixels().len() == 32 * 32 * 3));
        }
    }
}

/// The decoders scale chroma up differently, hence the tolerance.
#[cfg(feature = "turbojpeg")]
#[test]
fn both_jpeg_decoders_return_similar_pixels() {
    let folders = ["photos", "variants", "kinds"].map(|folder| format!("../../tests/data/{folder}"));
    let paths = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let jpegs: Vec<_> = paths.filter(|path| path.extension().is_some_and(|extension| extension == "jpg")).collect();
    assert!(jpegs.len() > 20);
    for path in jpegs {
        let bytes = std::fs::read(&path).unwrap();
        let header = jpeg_header::Header::read(&bytes).unwrap();
        let turbo = jpeg::decode_with_turbo(&bytes, &header).unwrap();
        let zune = jpeg::decode_with_zune(&bytes, &header).unwrap();
        assert_eq!(turbo.len(), zune.len());
        let sum: u64 = turbo.iter().zip(&zune).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        let mean = sum as f64 / turbo.len() as f64;
        assert!(mean < 1.0, "{}: mean difference {mean} levels", path.display());
    }
}

#[test]
fn decode_waits_for_the_bytes_of_another_image() {
    let bytes = file("photos/cat_640x480.jpg");
    let limits = Limits { decode_budget: DecodeBudget::new(640 * 480 * 3), ..all_formats() };
    let held = decode(&bytes, &limits).unwrap();
    let (sender, results) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(decode(&bytes, &limits).is_ok()).unwrap());
        drop(held);
        assert_eq!(results.recv(), Ok(true));
    });
    let too_little = Limits { decode_budget: DecodeBudget::new(640 * 480 * 3 - 1), ..all_formats() };
    assert!(matches!(decode(&bytes, &too_little), Err(ImageError::TooManyBytes { bytes: 921_600, .. })));
}
