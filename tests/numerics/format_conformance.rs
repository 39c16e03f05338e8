//! Decodes PNG, GIF, WebP, BMP and TIFF files of every kind, and compares the pixels with those of Pillow.

use std::collections::{BTreeMap, BTreeSet};

use crate::conformance_files::{Record, decoded, records};

/// What became of the files of a format.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    files: usize,
    refused: usize,
    /// Names of files with another size or with samples that differ.
    wrong: Vec<String>,
    /// The largest difference of a sample.
    max: u8,
}

/// The kinds that are refused, and the part of the message that names the reason.
const REFUSED: [(&str, &str); 15] = [
    ("BMP/24 bit by bit fields", "Invalid channel bit count for bitfields: 24"),
    ("BMP/32 bit none by bit fields", "Missing 32-bit bitfield mask"),
    ("BMP/RLE4 top-down", "Invalid image type 2 for top-down image"),
    ("BMP/RLE8 top-down", "Invalid image type 1 for top-down image"),
    ("GIF/no palette", "no color table available"),
    ("TIFF/JPEG, L", "it is compressed with JPEG, which is not supported within TIFF"),
    ("TIFF/JPEG, RGB", "it is compressed with JPEG, which is not supported within TIFF"),
    ("TIFF/LAB", "3 samples of 8 bits, photometric interpretation 8"),
    ("TIFF/YCbCr", "3 samples of 8 bits, photometric interpretation 6"),
    ("TIFF/fill order", "its bits are in another order"),
    ("TIFF/group3", "its compression (3) is not supported"),
    ("TIFF/signed grey", "its sample format is not supported: only unsigned integers are"),
    ("TIFF/tiff_ccitt", "its compression (2) is not supported"),
    ("TIFF/written by Pillow, lzma", "its compression (34925) is not supported"),
    ("TIFF/written by Pillow, zstd", "its compression (50000) is not supported"),
];

#[test]
fn pixels_are_those_of_pillow_or_the_kind_is_refused() {
    let all = "png,gif,webp,bmp,tiff".parse().unwrap();
    let (mut outcomes, mut refused) = (BTreeMap::<String, Outcome>::new(), BTreeMap::<String, BTreeSet<String>>::new());
    for Record { name, size, file, pixels } in records("format_conformance.gz") {
        let mut parts = name.splitn(3, '/');
        let [format, kind] = [(); 2].map(|()| parts.next().unwrap());
        let outcome = outcomes.entry(format.to_string()).or_default();
        outcome.files += 1;
        match decoded(&file, all) {
            Err(reason) => {
                outcome.refused += 1;
                refused.entry(format!("{format}/{kind}")).or_default().insert(reason);
            }
            Ok((ours_size, ours)) => {
                let max = ours.iter().zip(&pixels).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                outcome.max = outcome.max.max(max);
                if ours_size != size || ours.len() != pixels.len() || max > 0 {
                    outcome.wrong.push(format!("{name}: {ours_size:?}, {max} levels"));
                }
            }
        }
    }
    println!("{outcomes:#?}");
    let expected = [("BMP", 230, 10), ("GIF", 136, 1), ("PNG", 246, 0), ("TIFF", 631, 16), ("WebP", 114, 0)]
        .map(|(format, files, refused)| (format.to_string(), Outcome { files, refused, ..Outcome::default() }));
    assert_eq!(outcomes, BTreeMap::from(expected));
    let kinds: Vec<&str> = refused.keys().map(String::as_str).collect();
    assert_eq!(kinds, REFUSED.map(|(kind, _)| kind));
    for (kind, reason) in REFUSED {
        assert!(refused[kind].iter().all(|message| message.contains(reason)), "{kind}: {:?}", refused[kind]);
    }
}
