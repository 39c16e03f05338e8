//! What is refused, and how: files that are cut, lie about themselves or are none at all.

use super::*;

fn file(name: &str) -> Vec<u8> {
    let path = format!("../../tests/data/{name}");
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn everything() -> Limits {
    Limits { formats: "png,jpg,gif,webp,bmp,tiff".parse().unwrap(), ..Limits::default() }
}

fn try_prepare(bytes: &[u8], limits: &Limits) -> Result<Decoded, ImageError> {
    let recipe = Recipe { width: 32, height: 32, filter: Filter::Bicubic, crop: Crop::CentralPadded { padding: 4 } };
    prepare(bytes, &recipe, limits)
}

fn refused(bytes: &[u8], limits: &Limits) -> ImageError {
    try_prepare(bytes, limits).map(|decoded| (decoded.width, decoded.height)).unwrap_err()
}

fn is_undecodable(bytes: &[u8]) -> bool {
    matches!(refused(bytes, &everything()), ImageError::Undecodable { .. })
}

/// `bytes` with other ones from `at` on.
fn patched(mut bytes: Vec<u8>, at: usize, patch: &[u8]) -> Vec<u8> {
    bytes[at..at + patch.len()].copy_from_slice(patch);
    bytes
}

fn frame_header(jpeg: &[u8]) -> usize {
    jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap()
}

#[test]
fn what_is_no_picture_or_not_a_wanted_one_is_told_apart() {
    let usual = Limits::default();
    assert_eq!(refused(b"", &usual), ImageError::Empty);
    for bytes in [&b"GIF8"[..], b"<svg></svg>", &[0; 100]] {
        assert_eq!(refused(bytes, &usual), ImageError::UnknownFormat { accepted: usual.formats });
    }
    for (name, format) in [("webp", Format::Webp), ("bmp", Format::Bmp), ("tiff", Format::Tiff)] {
        let wanted = ImageError::FormatNotAccepted { format, accepted: usual.formats };
        assert_eq!(refused(&file(&format!("variants/cat.{name}")), &usual), wanted);
    }
}

#[test]
fn the_header_is_judged_by_the_pixel() {
    let enough = Limits { max_pixels: 451 * 300, ..everything() };
    let limit = enough.max_pixels - 1;
    let too_few = Limits { max_pixels: limit, ..everything() };
    for name in ["cat.png", "cat.gif", "cat_420.jpg", "cat_progressive.jpg", "cat.webp", "cat.bmp", "cat.tiff"] {
        let bytes = file(&format!("variants/{name}"));
        assert!(try_prepare(&bytes, &enough).is_ok(), "{name}");
        assert_eq!(refused(&bytes, &too_few), ImageError::TooManyPixels { width: 451, height: 300, limit }, "{name}");
    }
}

/// If anything but the header were looked at, the missing data would be the error, or the memory would not suffice.
#[test]
fn huge_headers_are_refused_with_nothing_behind_them() {
    let too_many = |bytes: &[u8], width: u32, height: u32| {
        let limit = everything().max_pixels;
        assert_eq!(refused(bytes, &everything()), ImageError::TooManyPixels { width, height, limit });
    };
    let mut jpeg = file("photos/cat_451x300.jpg");
    let frame = frame_header(&jpeg);
    jpeg = patched(jpeg, frame + 5, &[0xff; 4]);
    too_many(&jpeg, 65535, 65535);
    let scan = jpeg.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
    too_many(&jpeg[..scan + 40], 65535, 65535);
    // The length of the IHDR chunk, its sizes, 16-bit RGBA; not even its checksum.
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x10\x06\0\0\0";
    too_many(png, 0x7fff_ffff, 0x7fff_ffff);
    too_many(&patched(file("variants/cat.gif"), 6, &[0xff; 4])[..800], 65535, 65535);
    // One pixel of canvas, and a first frame of four thousand million.
    let gif = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;";
    too_many(gif, 65535, 65535);
    // The same of an extended WebP: ten pixels square, and in it a lossy frame of 16383.
    let webp =
        b"RIFF\x2e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x09\0\0\x09\0\0VP8 \x10\0\0\0\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f";
    too_many(webp, 16383, 16383);
    too_many(&patched(file("variants/cat.bmp"), 18, &[0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0]), 65535, 65535);
}

#[test]
fn sizes_that_no_picture_has_are_refused() {
    let sized = |width: u32, height: u32| {
        patched(file("variants/cat.png"), 16, &[width.to_be_bytes(), height.to_be_bytes()].concat())
    };
    assert!(is_undecodable(&sized(0, 300)));
    // Few pixels, but the resize would need memory for every one of a side.
    assert!(is_undecodable(&sized(1, 10_000_000)));
    let jpeg = file("photos/cat_451x300.jpg");
    let frame = frame_header(&jpeg);
    assert!(is_undecodable(&patched(jpeg, frame + 5, &[0, 0])));
}

#[test]
fn a_file_that_is_cut_is_undecodable() {
    let names = ["cat_420.jpg", "cat_progressive.jpg", "cat_cmyk.jpg", "cat.png", "cat_palette.png", "cat.gif"];
    for name in names.into_iter().chain(["cat.webp", "cat.bmp", "cat.tiff"]) {
        let whole = file(&format!("variants/{name}"));
        for length in [24, 30, 200, whole.len() / 3, whole.len() * 9 / 10] {
            assert!(is_undecodable(&whole[..length]), "{name} cut to {length}");
        }
    }
    // An end marker in the thumbnail is not that of the picture; nor does it do to fill up with zeros.
    let whole = file("kinds/exif_with_thumbnail.jpg");
    assert!(is_undecodable(&whole[..whole.len() - 2]));
    assert!(is_undecodable(&[&whole[..whole.len() / 2], &[0; 5000]].concat()));
    assert!(try_prepare(&[&whole[..], b"a camera's own trailer"].concat(), &everything()).is_ok());
}

#[test]
fn a_jpeg_of_two_colours_is_undecodable() {
    let jpeg = file("photos/cat_451x300.jpg");
    let frame = frame_header(&jpeg);
    assert!(is_undecodable(&patched(jpeg, frame + 9, &[2])));
}

/// Whatever a client sends, there is an answer and no panic.
#[test]
fn damaged_files_are_pictures_or_errors() {
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
            let outcome = try_prepare(&bytes, &Limits { max_pixels: 100_000, ..everything() });
            assert!(outcome.is_err() || outcome.is_ok_and(|decoded| decoded.image.pixels().len() == 32 * 32 * 3));
        }
    }
}

/// Chroma is scaled up in two ways, hence the tolerance.
#[cfg(feature = "turbojpeg")]
#[test]
fn both_jpeg_decoders_see_the_same_picture() {
    let folders = ["photos", "variants", "kinds"].map(|folder| format!("../../tests/data/{folder}"));
    let paths = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let jpegs: Vec<_> = paths.filter(|path| path.extension().is_some_and(|extension| extension == "jpg")).collect();
    assert!(jpegs.len() > 20);
    for path in jpegs {
        let bytes = std::fs::read(&path).unwrap();
        let header = jpeg_header::Header::read(&bytes).unwrap();
        let (one, other) = (jpeg_turbo::rgb(&bytes, &header).unwrap(), jpeg_zune::rgb(&bytes, &header).unwrap());
        assert_eq!(one.len(), other.len());
        let sum: u64 = one.iter().zip(&other).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        let mean = sum as f64 / one.len() as f64;
        assert!(mean < 1.0, "{}: mean difference {mean} levels", path.display());
    }
}

#[test]
fn a_picture_waits_for_the_bytes_that_another_one_takes() {
    let bytes = file("photos/cat_640x480.jpg");
    let limits = Limits { decoded: super::DecodeBudget::new(640 * 480 * 3), ..everything() };
    let held = super::decode(&bytes, &limits).unwrap();
    let (report, reports) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| report.send(super::decode(&bytes, &limits).is_ok()).unwrap());
        drop(held);
        assert_eq!(reports.recv(), Ok(true));
    });
    let too_little = Limits { decoded: super::DecodeBudget::new(640 * 480 * 3 - 1), ..everything() };
    assert!(matches!(super::decode(&bytes, &too_little), Err(ImageError::TooManyBytes { bytes: 921_600, .. })));
}
