//! Decodes JPEG files of every kind, and compares the pixels with those of libjpeg-turbo, which Pillow and torchvision use.

use kiln_image::FormatSet;

use crate::conformance_files::{Record, decoded, records};

/// Every file has exactly the pixels of libjpeg-turbo, or is refused: those with arithmetic coding.
#[test]
fn jpeg_pixels_are_those_of_libjpeg_turbo() {
    let (mut equal, mut refused, mut wrong) = (0, 0, Vec::new());
    for Record { name, file, pixels, .. } in records("jpeg_conformance.gz") {
        match decoded(&file, FormatSet::default()) {
            Ok((_, ours)) => {
                assert_eq!(ours.len(), pixels.len(), "{name}");
                let max = ours.iter().zip(&pixels).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                equal += usize::from(max == 0);
                if max > 0 {
                    wrong.push(format!("{name}: {max} levels"));
                }
            }
            Err(error) if name.contains(" arithmetic ") => {
                assert!(error.contains("arithmetic coding"), "{name}: {error}");
                refused += 1;
            }
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    println!("{equal} files equal, {refused} refused, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!((equal, refused), (768, 96));
}
