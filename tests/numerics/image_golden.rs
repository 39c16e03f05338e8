//! Compares decoding, orientation, cropping and resizing with Pillow, image by image.

use std::path::Path;

use image::ImageReader;
use kiln_image::{Crop, Filter, Format, Limits, PreprocessSpec, PreprocessedImage, preprocess};

use crate::common;

/// Returns the preprocessing of the default model.
fn recipe() -> PreprocessSpec {
    PreprocessSpec { width: 224, height: 224, filter: Filter::Bicubic, crop: Crop::CentralPadded { padding: 32 } }
}

/// Returns limits that accept all formats.
fn all_formats() -> Limits {
    Limits { formats: "png,jpg,gif,webp,bmp,tiff".parse().unwrap(), ..Limits::default() }
}

fn ours(file: &str, recipe: &PreprocessSpec) -> PreprocessedImage {
    preprocess(&common::bytes(file), recipe, &all_formats()).unwrap_or_else(|e| panic!("{file}: {e}")).image
}

/// Asserts bounds on the mean and maximum difference from Pillow's image, in levels of 0..=255.
fn assert_close(file: &str, ours: &PreprocessedImage, golden: &Path, mean_below: f64, max_at_most: u8) {
    let golden = ImageReader::open(golden).unwrap().decode().unwrap().into_rgb8();
    assert_eq!(golden.dimensions(), (ours.width(), ours.height()), "{file}");
    let differences = ours.pixels().iter().zip(golden.as_raw()).map(|(a, b)| a.abs_diff(*b));
    let sum: u64 = differences.clone().map(u64::from).sum();
    let mean = sum as f64 / golden.as_raw().len() as f64;
    let max = differences.max().unwrap();
    println!("{file}: mean difference {mean:.4}, maximum {max} levels");
    assert!(mean < mean_below, "{file}: mean difference {mean} levels, not below {mean_below}");
    assert!(max <= max_at_most, "{file}: maximum difference {max} levels, not {max_at_most} at most");
}

fn assert_all_close(files: &[&str], mean_below: f64, max_at_most: u8) {
    for file in files {
        let golden = common::data(&format!("golden/{}.png", file.replace(['/', '.'], "_")));
        assert_close(file, &ours(file, &recipe()), &golden, mean_below, max_at_most);
    }
}

#[test]
fn photos_match_pillow() {
    let photos = [
        "photos/astronaut_640x480.jpg",
        "photos/cat_451x300.jpg",
        "photos/cat_640x480.jpg",
        "photos/coffee_640x480.jpg",
        "photos/flower_640x480.jpg",
        "photos/hubble_640x480.jpg",
        "photos/rocket_640x480.jpg",
    ];
    assert_all_close(&photos, 0.02, 1);
}

#[test]
fn lossless_formats_match_pillow_up_to_rounding() {
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
    assert_all_close(&variants, 0.02, 1);
}

#[test]
fn jpeg_variants_and_orientations_match_pillow() {
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
    assert_all_close(&variants, 0.02, 1);
}

#[test]
fn lossy_webp_matches_pillow() {
    assert_all_close(&["variants/cat.webp"], 0.05, 1);
}

#[test]
fn filters_crops_and_shapes_match_pillow() {
    let central = |padding| Crop::CentralPadded { padding };
    for (name, filter, crop) in [
        ("bilinear_central_96x96", Filter::Bilinear, central(12)),
        ("bilinear_whole_64x128", Filter::Bilinear, Crop::None),
        ("bicubic_whole_160x90", Filter::Bicubic, Crop::None),
        ("lanczos_central_96x96", Filter::Lanczos3, central(12)),
        ("lanczos_central_120x80", Filter::Lanczos3, central(16)),
        ("lanczos_whole_600x200", Filter::Lanczos3, Crop::None),
    ] {
        let golden = common::data(&format!("recipes/{name}.png"));
        let (width, height) = ImageReader::open(&golden).unwrap().into_dimensions().unwrap();
        let prepared = ours("variants/cat.png", &PreprocessSpec { width, height, filter, crop });
        assert_close(name, &prepared, &golden, 0.02, 1);
    }
}

#[test]
fn rare_pixel_formats_match_pillow() {
    let recipe = PreprocessSpec { width: 64, height: 64, crop: Crop::CentralPadded { padding: 8 }, ..recipe() };
    let mut names: Vec<String> = std::fs::read_dir(common::data("kinds"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".golden.png"))
        .collect();
    names.sort();
    assert!(names.len() > 20, "the files are missing: {names:?}");
    for name in names {
        let file = format!("kinds/{name}");
        let golden = common::data(&format!("{file}.golden.png"));
        assert_close(&file, &ours(&file, &recipe), &golden, 0.03, 1);
    }
}

#[test]
fn format_and_displayed_size_are_reported() {
    let report = |file: &str| {
        let decoded = preprocess(&common::bytes(file), &recipe(), &all_formats()).unwrap();
        (decoded.format, decoded.width, decoded.height)
    };
    assert_eq!(report("variants/exif_1.jpg"), (Format::Jpeg, 301, 200));
    assert_eq!(report("variants/exif_6.jpg"), (Format::Jpeg, 200, 301));
    assert_eq!(report("kinds/exif_6.png"), (Format::Png, 101, 151));
    assert_eq!(report("kinds/exif_8.webp"), (Format::Webp, 101, 151));
    assert_eq!(report("kinds/exif_5.tiff"), (Format::Tiff, 101, 151));
    assert_eq!(report("variants/cat.bmp"), (Format::Bmp, 451, 300));
    assert_eq!(report("variants/cat.gif"), (Format::Gif, 451, 300));
}
