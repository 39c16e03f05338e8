//! An image file: any bytes are an image or an error, and a decoded image has the size that it reports.
#![forbid(unsafe_code)]
#![no_main]

use kiln_fuzz::image::{
    Crop, Filter, Limits, PreprocessSpec, TruncatedImages, crop, crop_bytes, decode_while_needed, resize,
};
use libfuzzer_sys::fuzz_target;

/// Maximum number of pixels. It is small, so that many images are tried and excessive memory use stands out.
const MAX_PIXELS: u64 = 100_000;

const SPECS: [PreprocessSpec; 4] = [
    PreprocessSpec { width: 32, height: 32, filter: Filter::Bicubic, crop: Crop::CentralPadded { padding: 4 } },
    // So small that most images are decoded at a part of their size.
    PreprocessSpec { width: 2, height: 3, filter: Filter::Bilinear, crop: Crop::None },
    PreprocessSpec { width: 7, height: 5, filter: Filter::Lanczos3, crop: Crop::CentralPadded { padding: 0 } },
    // The spec of the built-in model.
    PreprocessSpec { width: 224, height: 224, filter: Filter::Bicubic, crop: Crop::CentralPadded { padding: 32 } },
];

fuzz_target!(|bytes: &[u8]| {
    let formats = "png,jpg,gif,webp,bmp,tiff".parse().expect("the formats are known");
    // The length selects the spec and the limits.
    let (spec, choice) = (&SPECS[bytes.len() % SPECS.len()], bytes.len() / SPECS.len());
    let truncated_images = [TruncatedImages::Refuse, TruncatedImages::Accept][choice % 2];
    let fast_decode = choice / 2 % 2 == 1;
    let limits = Limits { max_pixels: MAX_PIXELS, formats, truncated_images, fast_decode, ..Limits::default() };
    let Ok(Some(image)) = decode_while_needed(bytes, &limits, Some(spec), None) else { return };
    let (width, height) = image.displayed_size();
    assert!(width > 0 && height > 0 && u64::from(width) * u64::from(height) <= MAX_PIXELS);

    let resized = resize(&image, spec).expect("a decoded image can be resized");
    assert_eq!((resized.width(), resized.height()), (spec.width, spec.height));

    let part = crop(&image, spec);
    let [columns, rows] = part.size.map(|side| side as usize);
    assert_eq!(part.pixels.len(), columns * rows * 3);
    assert_eq!(part.pixels.len(), crop_bytes(&image, spec));
    let in_file = if part.swapped { [height, width] } else { [width, height] };
    // The region of all pixels.
    let pixels = crop(&image, &PreprocessSpec { crop: Crop::None, ..spec.clone() }).size;
    let is_reduced_by = |divisor: u32| pixels == in_file.map(|side| side.div_ceil(divisor));
    assert!(is_reduced_by(1) || fast_decode && [2, 4, 8].into_iter().any(is_reduced_by));
    for axis in 0..2 {
        assert!(part.size[axis] <= pixels[axis], "the region is larger than the image");
        assert!(part.length[axis] > 0 && part.start[axis] + part.length[axis] <= part.size[axis]);
    }
});
