//! The server's decoding, cropping, resizing and orienting against Pillow's, picture by picture.

mod common;

use image::ImageReader;
use kiln::image::{Crop, Filter, Format, ImageError, Limits, Recipe, prepare};

fn recipe() -> Recipe {
    Recipe { width: 224, height: 224, filter: Filter::Bicubic, crop: Crop::CentralPadded { padding: 32 } }
}

fn everything() -> Limits {
    Limits { formats: "png,jpg,gif,webp,bmp,tiff".parse().unwrap(), ..Limits::default() }
}

/// Mean and maximum difference in levels of 0..=255 between ours and Pillow's.
fn difference(file: &str) -> (f64, u8) {
    let ours = prepare(&common::bytes(file), &recipe(), &everything()).unwrap_or_else(|e| panic!("{file}: {e}"));
    let golden = common::data(&format!("golden/{}.png", file.replace(['/', '.'], "_")));
    let golden = ImageReader::open(golden).unwrap().decode().unwrap().into_rgb8();
    let differences = ours.image.pixels().iter().zip(golden.as_raw()).map(|(a, b)| a.abs_diff(*b));
    let sum: u64 = differences.clone().map(u64::from).sum();
    (sum as f64 / golden.as_raw().len() as f64, differences.max().unwrap())
}

fn assert_close(files: &[&str], mean_below: f64, max_at_most: u8) {
    for file in files {
        let (mean, max) = difference(file);
        println!("{file}: mean difference {mean:.3}, maximum {max} levels");
        assert!(mean < mean_below, "{file}: mean difference {mean} levels");
        assert!(max <= max_at_most, "{file}: maximum difference {max} levels");
    }
}

#[test]
fn photos_are_prepared_as_pillow_prepares_them() {
    let photos = [
        "photos/astronaut_640x480.jpg",
        "photos/cat_451x300.jpg",
        "photos/cat_640x480.jpg",
        "photos/coffee_640x480.jpg",
        "photos/flower_640x480.jpg",
        "photos/hubble_640x480.jpg",
        "photos/rocket_640x480.jpg",
    ];
    assert_close(&photos, 0.5, MAX_JPEG);
}

#[test]
fn lossless_formats_differ_by_the_rounding_between_two_passes_alone() {
    let variants = [
        "variants/cat.png",
        "variants/cat_alpha.png",
        "variants/cat_palette.png",
        "variants/cat_grey.png",
        "variants/cat.gif",
        "variants/cat_animated.gif",
        "variants/cat.bmp",
        "variants/cat.tiff",
    ];
    assert_close(&variants, 0.3, 2);
}

#[test]
fn every_kind_of_jpeg_and_every_orientation_is_understood() {
    let variants = [
        "variants/cat_progressive.jpg",
        "variants/cat_grey.jpg",
        "variants/cat_cmyk.jpg",
        "variants/cat_420.jpg",
        "variants/exif_1.jpg",
        "variants/exif_2.jpg",
        "variants/exif_3.jpg",
        "variants/exif_4.jpg",
        "variants/exif_5.jpg",
        "variants/exif_6.jpg",
        "variants/exif_7.jpg",
        "variants/exif_8.jpg",
    ];
    assert_close(&variants, 0.5, MAX_JPEG);
}

#[test]
fn lossy_webp_is_understood() {
    assert_close(&["variants/cat.webp"], 0.5, 4);
}

/// JPEG decoders round differently when they scale chroma up; edges of strong colour show it.
const MAX_JPEG: u8 = 5;

#[test]
fn the_size_is_told_as_displayed() {
    let size = |file: &str| {
        let decoded = prepare(&common::bytes(file), &recipe(), &everything()).unwrap();
        (decoded.format, decoded.width, decoded.height)
    };
    assert_eq!(size("variants/exif_1.jpg"), (Format::Jpeg, 301, 200));
    assert_eq!(size("variants/exif_6.jpg"), (Format::Jpeg, 200, 301));
    assert_eq!(size("variants/cat.gif"), (Format::Gif, 451, 300));
}

#[test]
fn the_header_is_judged_before_anything_is_decoded() {
    let limits = Limits { max_pixels: 451 * 300 - 1, ..everything() };
    for file in ["variants/cat.png", "variants/cat.gif", "photos/cat_451x300.jpg", "variants/cat.webp"] {
        let refused = prepare(&common::bytes(file), &recipe(), &limits).unwrap_err();
        assert_eq!(refused, ImageError::TooManyPixels { width: 451, height: 300, limit: limits.max_pixels }, "{file}");
    }
    // A 65535x65535 header without any pixels behind it: refused by size, not by the missing data.
    let mut jpeg = common::bytes("photos/cat_451x300.jpg");
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].fill(0xff);
    let scan = jpeg.windows(2).rposition(|pair| pair == [0xff, 0xda]).unwrap();
    jpeg.truncate(scan + 20);
    let refused = prepare(&jpeg, &recipe(), &Limits::default()).unwrap_err();
    assert!(matches!(refused, ImageError::TooManyPixels { width: 65535, height: 65535, .. }), "{refused:?}");
}

#[test]
fn what_is_no_picture_or_not_a_wanted_one_is_told_apart() {
    let refused = |bytes: &[u8], limits: &Limits| prepare(bytes, &recipe(), limits).unwrap_err();
    let usual = Limits::default();
    assert_eq!(refused(b"", &usual), ImageError::Empty);
    assert!(matches!(refused(b"GIF8", &usual), ImageError::UnknownFormat { .. }));
    assert!(matches!(refused(b"<svg></svg>", &usual), ImageError::UnknownFormat { .. }));
    let webp = common::bytes("variants/cat.webp");
    assert!(matches!(refused(&webp, &usual), ImageError::FormatNotAccepted { format: Format::Webp, .. }));
}

#[test]
fn a_file_that_ends_too_early_or_holds_rubbish_is_undecodable() {
    let files = ["photos/cat_640x480.jpg", "variants/cat_progressive.jpg", "variants/cat.png", "variants/cat.gif"];
    for file in files {
        let whole = common::bytes(file);
        for length in [30, whole.len() / 2] {
            let refused = prepare(&whole[..length], &recipe(), &Limits::default());
            assert!(matches!(refused, Err(ImageError::Undecodable { .. })), "{file} cut to {length}: {refused:?}");
        }
    }
    let rubbish = [b"\x89PNG\r\n\x1a\n".as_slice(), &[7; 500]].concat();
    assert!(matches!(prepare(&rubbish, &recipe(), &Limits::default()), Err(ImageError::Undecodable { .. })));
}
