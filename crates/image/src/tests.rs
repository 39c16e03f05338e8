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
    let drawing = error_of(b"<svg></svg>", &default).to_string();
    assert!(drawing.contains("an SVG drawing") && drawing.contains("render it as PNG"), "{drawing}");
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
    let tiff = b"II*\0\x08\0\0\0\x04\0\0\x01\x04\0\x01\0\0\0\xff\xff\0\0\x01\x01\x04\0\x01\0\0\0\xff\xff\0\0\
        \x02\x01\x03\0\x01\0\0\0\x08\0\0\0\x06\x01\x03\0\x01\0\0\0\x01\0\0\0\0\0\0\0";
    too_many(tiff, 65535, 65535);
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

/// JPEG files of each coding: one scan, restart markers, a scan for each component, a scan of two components, progressive.
const JPEGS: [&str; 11] = [
    "variants/cat_420.jpg",
    "variants/cat_progressive.jpg",
    "variants/cat_grey.jpg",
    "variants/cat_cmyk.jpg",
    "kinds/restart.jpg",
    "kinds/rgb.jpg",
    "kinds/scans_420.jpg",
    "kinds/scans_422_restart.jpg",
    "kinds/coarse_luma.jpg",
    "kinds/coarse_luma_progressive.jpg",
    "kinds/ycck.jpg",
];

const END: [u8; 2] = [0xff, 0xd9];

/// Position of the data of the first scan.
fn first_data(jpeg: &[u8]) -> usize {
    let scan = jpeg.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap() + 2;
    scan + usize::from(u16::from_be_bytes([jpeg[scan], jpeg[scan + 1]]))
}

/// libjpeg only warns if the end marker is there. Decoders would return grey pixels.
#[test]
fn truncated_jpeg_is_undecodable_with_and_without_an_end_marker() {
    for name in JPEGS {
        let whole = file(name);
        let start = first_data(&whole);
        for percent in (0..100).step_by(5) {
            let length = start + (whole.len() - start) * percent / 100;
            assert!(is_undecodable(&whole[..length]), "{name} truncated to {percent} %");
            let reason = error_of(&[&whole[..length], &END].concat(), &all_formats()).to_string();
            assert!(reason.contains("truncated or damaged"), "{name} truncated to {percent} %: {reason}");
        }
    }
}

#[test]
fn missing_and_misplaced_restart_markers_are_damage() {
    for name in ["kinds/restart.jpg", "kinds/scans_422_restart.jpg"] {
        let whole = file(name);
        let start = first_data(&whole);
        let is_restart = |pair: &[u8]| pair[0] == 0xff && (0xd0..=0xd7).contains(&pair[1]);
        let third =
            start + whole[start..].windows(2).enumerate().filter(|(_, pair)| is_restart(pair)).nth(2).unwrap().0;
        let without = [&whole[..third], &whole[third + 2..]].concat();
        let other = patched(whole.clone(), third + 1, &[0xd7]);
        for bytes in [without, other] {
            let reason = error_of(&bytes, &all_formats()).to_string();
            assert!(reason.contains("truncated or damaged"), "{name}: {reason}");
        }
    }
}

/// Cameras write such bytes, and no pixel is missing.
#[test]
fn unknown_bytes_between_segments_and_behind_scans_are_ignored() {
    for name in JPEGS {
        let whole = file(name);
        let expected = decode(&whole, &all_formats()).unwrap().pixels;
        let (start, end) = (whole.windows(2).position(|pair| pair == [0xff, 0xdb]).unwrap(), whole.len() - 2);
        let padded = [&whole[..start], &[0; 9], &whole[start..end], &[0x55; 40], &whole[end..]].concat();
        assert_eq!(decode(&padded, &all_formats()).unwrap().pixels, expected, "{name}");
    }
}

#[test]
fn truncated_image_is_decoded_in_part_if_that_is_accepted() {
    let limits = Limits { truncated_images: TruncatedImages::Accept, ..all_formats() };
    let others = ["cat.png", "cat_palette.png", "cat.gif", "cat.bmp"].map(|name| format!("variants/{name}"));
    // Nothing is decoded of a file that lacks a component.
    let jpegs = JPEGS.into_iter().filter(|name| !name.contains("scans_420")).map(str::to_string);
    for name in jpegs.chain(others) {
        let bytes = file(&name);
        let whole = decode(&bytes, &limits).unwrap();
        assert!(!whole.is_truncated(), "{name}");
        let cut = &bytes[..bytes.len() * 9 / 10];
        for cut in [cut.to_vec(), [cut, &END].concat()] {
            let part = decode(&cut, &limits).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(part.is_truncated(), "{name}");
            let similar = part.pixels.iter().zip(&whole.pixels).filter(|(a, b)| a.abs_diff(**b) < 20).count();
            let share = similar as f64 / whole.pixels.len() as f64;
            assert!(share > 0.6, "{name}: {share} of the pixels are similar");
        }
        assert!(decode(&bytes[..40], &limits).is_err(), "nothing is decoded of the header of {name}");
    }
}

/// The answer has the size of the file. The model's input differs little, because the inverse DCT computes a good average.
#[test]
fn fast_decoding_takes_fewer_pixels_and_gives_a_similar_input() {
    let limits = Limits { fast_decode: true, ..all_formats() };
    for (name, side, reduced, bound) in [
        ("photos/coffee_640x480.jpg", 96, (160, 120), 3.0),
        ("variants/cat_progressive.jpg", 96, (226, 150), 3.0),
        ("variants/exif_6.jpg", 96, (151, 100), 3.0),
        ("variants/cat_cmyk.jpg", 96, (226, 150), 3.0),
        ("variants/cat.png", 96, (451, 300), 3.0),
        // Small images have more of the high frequencies that the reduction removes.
        ("kinds/chroma_444.jpg", 48, (76, 51), 4.5),
        ("kinds/coarse_luma.jpg", 48, (76, 51), 4.5),
    ] {
        let spec = PreprocessSpec { width: side, height: side, filter: Filter::Bicubic, crop: Crop::None };
        let bytes = file(name);
        let fast = decode_while_needed(&bytes, &limits, Some(&spec), None).unwrap().unwrap();
        let whole = decode(&bytes, &limits).unwrap();
        assert_eq!((fast.width, fast.height), reduced, "{name}");
        assert_eq!(fast.displayed_size(), whole.displayed_size(), "{name}");
        let [fast, whole] = [fast, whole].map(|image| resize(&image, &spec).unwrap());
        let differences = fast.pixels().iter().zip(whole.pixels()).map(|(a, b)| f64::from(a.abs_diff(*b)));
        let mean = differences.sum::<f64>() / whole.pixels().len() as f64;
        println!("{name}: mean difference {mean:.2} levels");
        assert!(mean < bound, "{name}: mean difference {mean} levels");
    }
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

#[test]
fn decode_waits_for_the_bytes_of_another_image() {
    let bytes = file("photos/cat_640x480.jpg");
    // The pixels, the planes of three components, two of them with a quarter of the samples, and the decoder's own memory.
    let needed = 640 * 480 * 3 + 640 * 480 * 3 / 2 + 280_000;
    let limits = Limits { decode_budget: DecodeBudget::new(needed), ..all_formats() };
    let held = decode(&bytes, &limits).unwrap();
    let (sender, results) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(decode(&bytes, &limits).is_ok()).unwrap());
        drop(held);
        assert_eq!(results.recv(), Ok(true));
    });
    let too_little = Limits { decode_budget: DecodeBudget::new(needed - 1), ..all_formats() };
    assert!(matches!(decode(&bytes, &too_little), Err(ImageError::TooManyBytes { bytes, .. }) if bytes == needed));
}
