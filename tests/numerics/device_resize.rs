//! Compares images resized on the device with images resized on the CPU. Photos resized for the default model differ by at
//! most one level.

#[path = "../../shaders/tests/vulkan/mod.rs"]
mod vulkan;

use burn::tensor::DType;
use kiln_image::{self as image, Crop, Filter, Limits, PreprocessSpec};
use kiln_kernels::{Kernels, Normalizer};

use crate::common;

#[test]
fn device_resize_matches_the_cpu_within_one_level() {
    let Some(device) = vulkan::device() else { return };
    let limits = Limits { formats: "png,jpg,gif,webp,bmp,tiff".parse().unwrap(), ..Limits::default() };
    let normalizer = Normalizer::new(&device, DType::F32, [0.0; 3], [1.0; 3]);
    let square =
        PreprocessSpec { width: 224, height: 224, filter: Filter::Bicubic, crop: Crop::CentralPadded { padding: 32 } };
    let oblong = PreprocessSpec { width: 96, height: 160, filter: Filter::Lanczos3, crop: Crop::None };
    let bilinear = PreprocessSpec { filter: Filter::Bilinear, ..oblong.clone() };
    let mut files = Vec::new();
    for folder in ["photos", "variants", "kinds"] {
        let names = std::fs::read_dir(common::data(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        files.extend(names.map(|name| format!("{folder}/{}", name.into_string().unwrap())));
    }
    let (mut levels, mut off, mut far_off) = (0, 0, 0);
    for file in &files {
        let Ok(raster) = image::decode(&common::bytes(file), &limits) else { continue };
        for recipe in [&square, &oblong, &bilinear] {
            let expected = image::resize(&raster, recipe).unwrap();
            let cutout = image::crop(&raster, recipe);
            assert_eq!(cutout.pixels.len(), image::crop_bytes(&raster, recipe));
            let (height, width) = (recipe.height as usize, recipe.width as usize);
            let ours = Kernels::best_for(&device)
                .scope(|| normalizer.resize(&[kiln_inference::source_of(&cutout)], height, width));
            let ours = ours.into_data();
            for (index, (ours, expected)) in ours.as_slice::<f32>().unwrap().iter().zip(expected.pixels()).enumerate() {
                let difference = (ours - f32::from(*expected)).abs();
                // Sizes with a simple ratio cause many ties, which 16-bit weights and f32 round differently on each axis.
                let is_photo = recipe == &square && !file.starts_with("kinds/");
                let most = if is_photo { 1.0 } else { 2.0 };
                assert!(difference <= most, "{file}, {recipe:?}: {index} is {ours}, not {expected}");
                far_off += usize::from(difference > 1.0);
                levels += 1;
                off += usize::from(difference > 0.0);
            }
        }
    }
    println!("{off} of {levels} levels in {} files differ by one", files.len());
    assert!(levels > 5_000_000, "{levels} were compared");
    assert!(far_off * 20_000 < levels, "{far_off} of {levels} levels differ by two");
    assert!(off * 50 < levels, "{off} of {levels} levels differ by one");
}
