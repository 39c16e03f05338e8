//! The file of a picture: any bytes are a picture or an error, and a picture has the sizes that it says it has.
#![forbid(unsafe_code)]
#![no_main]

use kiln_fuzz::image::{Crop, Filter, Limits, Recipe, cut, cut_bytes, decode, resize};
use libfuzzer_sys::fuzz_target;

/// Few, so that many pictures are tried, and that one that takes more memory than its pixels stands out.
const MAX_PIXELS: u64 = 100_000;

const RECIPES: [Recipe; 4] = [
    Recipe { width: 32, height: 32, filter: Filter::Bicubic, crop: Crop::CentralPadded { padding: 4 } },
    Recipe { width: 24, height: 41, filter: Filter::Bilinear, crop: Crop::None },
    Recipe { width: 7, height: 5, filter: Filter::Lanczos3, crop: Crop::CentralPadded { padding: 0 } },
    // Of the built-in model.
    Recipe { width: 224, height: 224, filter: Filter::Bicubic, crop: Crop::CentralPadded { padding: 32 } },
];

fuzz_target!(|bytes: &[u8]| {
    let formats = "png,jpg,gif,webp,bmp,tiff".parse().expect("these are formats");
    let limits = Limits { max_pixels: MAX_PIXELS, formats, ..Limits::default() };
    let Ok(picture) = decode(bytes, &limits) else { return };
    let (width, height) = picture.displayed_size();
    assert!(width > 0 && height > 0 && u64::from(width) * u64::from(height) <= MAX_PIXELS);
    let recipe = &RECIPES[bytes.len() % RECIPES.len()];

    let resized = resize(&picture, recipe).expect("a picture that decodes can be resized");
    assert_eq!((resized.width(), resized.height()), (recipe.width, recipe.height));

    let part = cut(&picture, recipe);
    let [columns, rows] = part.size.map(|side| side as usize);
    assert_eq!(part.pixels.len(), columns * rows * 3);
    assert_eq!(part.pixels.len(), cut_bytes(&picture, recipe));
    let upright = if part.swapped { [height, width] } else { [width, height] };
    for axis in 0..2 {
        assert!(part.size[axis] <= upright[axis], "more was cut out than there is");
        assert!(part.length[axis] > 0 && part.start[axis] + part.length[axis] <= part.size[axis]);
    }
});
