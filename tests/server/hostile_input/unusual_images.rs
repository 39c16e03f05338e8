//! Unusual image files: pixel formats, EXIF orientations, large metadata, and polyglot files.

use super::harness::{Case, accepted, check, rejected, too_large};
use super::png::{self, GREY, Header, RGB};
use super::{gif, jpeg};
use crate::common::bytes;

const CAT: &str = "photos/cat_451x300.jpg";
const SIZE: (u64, u64) = (451, 300);

#[test]
fn every_pixel_format_is_accepted() {
    let sized = |folder: &str, names: &[&str], size: (u64, u64)| -> Vec<Case> {
        names.iter().map(|name| accepted(*name, size, bytes(&format!("{folder}/{name}")))).collect()
    };
    let cats = ["cat_cmyk.jpg", "cat_grey.jpg", "cat_grey.png", "cat_palette.png", "cat_alpha.png", "cat_animated.gif"];
    let mut cases = sized("variants", &cats, SIZE);
    for name in ["ycck.jpg", "inks.jpg", "inks_without_marker.jpg", "rgb.jpg", "one_bit.png", "palette_2_bit.png"]
        .into_iter()
        .chain(["palette_transparent.png", "grey_alpha.png", "grey_16_bit.png", "grey_alpha_16_bit.png"])
        .chain(["rgb_16_bit.png", "rgba_16_bit.png", "transparent.gif", "animated.webp"])
    {
        let golden = bytes(&format!("kinds/{name}"));
        let size = image::load_from_memory(&golden).map(|image| (image.width().into(), image.height().into()));
        // The `image` crate of this test has no JPEG decoder; all JPEG files have this size.
        cases.extend(sized("kinds", &[name], size.unwrap_or((151, 101))));
    }
    for (name, depth, colour) in [("grey of one bit", 1, GREY), ("colours of 16 bits", 16, RGB), ("grey", 8, GREY)] {
        let header = Header { width: 37, height: 21, depth, colour, interlaced: true };
        cases.push(accepted(format!("interlaced {name}"), (37, 21), png::black(&header)));
    }
    check(&cases);
}

#[test]
fn exif_orientation_is_applied_and_invalid_exif_is_ignored() {
    let cat = bytes(CAT);
    let with = |block: Vec<u8>| jpeg::with_segments(&cat, 0xe1, &[block]);
    let mut cases = Vec::new();
    for orientation in 1..=8 {
        let size = if orientation < 5 { SIZE } else { (SIZE.1, SIZE.0) };
        cases.push(accepted(format!("orientation {orientation}"), size, with(jpeg::exif(orientation, 0))));
    }
    for orientation in [0, 9, 65535] {
        cases.push(accepted(format!("orientation {orientation}"), SIZE, with(jpeg::exif(orientation, 0))));
    }
    let patched = |at: usize, patch: &[u8]| {
        let mut block = jpeg::exif(6, 0);
        block[at..at + patch.len()].copy_from_slice(patch);
        with(block)
    };
    let turned = (SIZE.1, SIZE.0);
    cases.extend([
        accepted("a directory that follows itself", turned, with(jpeg::exif(6, 8))),
        accepted("a directory that is nowhere", SIZE, patched(6 + 4, &[0xff; 4])),
        accepted("a directory in its own header", SIZE, patched(6 + 4, &[0; 4])),
        accepted("65535 entries", turned, patched(6 + 8, &[0xff; 2])),
        accepted("no TIFF header", SIZE, patched(6, b"XX")),
        accepted("only a name", SIZE, with(b"Exif\0\0".to_vec())),
    ]);
    check(&cases);
}

#[test]
fn giant_metadata_is_skipped() {
    let cat = bytes(CAT);
    let large = |start: &[u8]| [start, &vec![0; 65_000]].concat();
    let several = |marker: u8, contents: Vec<Vec<u8>>| jpeg::with_segments(&cat, marker, &contents);
    let turned = (SIZE.1, SIZE.0);
    let profile: Vec<_> = (1..=255).map(|index| jpeg::profile(index, 255)).collect();
    check(&[
        accepted("200 EXIF blocks, the first of which counts", turned, {
            several(0xe1, vec![large(&jpeg::exif(6, 0)); 200])
        }),
        accepted("200 XMP blocks", SIZE, several(0xe1, vec![large(b"http://ns.adobe.com/xap/1.0/\0"); 200])),
        accepted("a colour profile of 16 MB", SIZE, several(0xe2, profile)),
        accepted("200 times the same part of a profile", SIZE, several(0xe2, vec![jpeg::profile(1, 2); 200])),
        accepted("a hundred thousand comments", SIZE, several(0xfe, vec![vec![b'x'; 40]; 100_000])),
    ]);
}

#[test]
fn polyglot_files_are_classified_by_their_first_bytes() {
    let cat = bytes(CAT);
    let script = b"GIF89a=1;alert('not a picture');//".to_vec();
    let both = gif::file(
        &gif::screen(3, 2),
        &[b"\x21\xfe\x12*/=1;alert(1);/*!!\0", &gif::frame(3, 2, &gif::lzw_bomb(6))[..]].concat(),
    );
    check(&[
        accepted("an image with an archive behind it", SIZE, [&cat[..], b"PK\x05\x06", &[0; 18]].concat()),
        accepted("an image with a script in it", (3, 2), both),
        accepted("an image twice", SIZE, cat.repeat(2)),
        rejected("a document with an image in it", 415, "unknown_format", [b"%PDF-1.7\n", &cat[..]].concat()),
        rejected("spaces before an image", 415, "unknown_format", [b"  ", &cat[..]].concat()),
        too_large("a script that begins like an image, whose letters are a size", script),
        rejected("a page", 415, "unknown_format", b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec()),
        rejected("a program", 415, "unknown_format", [b"MZ\x90\0", &[0; 500][..]].concat()),
        rejected("nothing", 400, "malformed_request", Vec::new()),
        rejected("zeros", 415, "unknown_format", vec![0; 1_000_000]),
    ]);
}
