//! Files that are odd, and whether they are pictures nonetheless.

use crate::attacked::Attacked;
use crate::case::{Case, check, refused, taken, too_large};
use crate::common::bytes;
use crate::png::{self, GREY, Header, RGB};
use crate::{gif, jpeg};

const CAT: &str = "photos/cat_451x300.jpg";
const SIZE: (u64, u64) = (451, 300);

#[test]
fn every_kind_of_pixel_is_taken() {
    let sized = |folder: &str, names: &[&str], size: (u64, u64)| -> Vec<Case> {
        names.iter().map(|name| taken(*name, size, bytes(&format!("{folder}/{name}")))).collect()
    };
    let cats = ["cat_cmyk.jpg", "cat_grey.jpg", "cat_grey.png", "cat_palette.png", "cat_alpha.png", "cat_animated.gif"];
    let mut cases = sized("variants", &cats, SIZE);
    for name in ["ycck.jpg", "inks.jpg", "inks_without_marker.jpg", "rgb.jpg", "one_bit.png", "palette_2_bit.png"]
        .into_iter()
        .chain(["palette_transparent.png", "grey_alpha.png", "grey_16_bit.png", "grey_alpha_16_bit.png"])
        .chain(["rgb_16_bit.png", "rgba_16_bit.png", "transparent.gif", "animated.webp"])
    {
        let golden = bytes(&format!("kinds/{name}"));
        let size = image::load_from_memory(&golden).map(|picture| (picture.width().into(), picture.height().into()));
        // The client's library has no JPEG; those have all one size.
        cases.extend(sized("kinds", &[name], size.unwrap_or((151, 101))));
    }
    for (name, depth, colour) in [("grey of one bit", 1, GREY), ("colours of 16 bits", 16, RGB), ("grey", 8, GREY)] {
        let header = Header { width: 37, height: 21, depth, colour, interlaced: true };
        cases.push(taken(format!("interlaced {name}"), (37, 21), png::black(&header)));
    }
    check(&Attacked::new(), &cases);
}

#[test]
fn which_way_is_up_is_read_from_good_blocks_and_bad_ones_are_passed_over() {
    let cat = bytes(CAT);
    let with = |block: Vec<u8>| jpeg::with_segments(&cat, 0xe1, &[block]);
    let mut cases = Vec::new();
    for orientation in 1..=8 {
        let size = if orientation < 5 { SIZE } else { (SIZE.1, SIZE.0) };
        cases.push(taken(format!("orientation {orientation}"), size, with(jpeg::exif(orientation, 0))));
    }
    for orientation in [0, 9, 65535] {
        cases.push(taken(format!("orientation {orientation}"), SIZE, with(jpeg::exif(orientation, 0))));
    }
    let patched = |at: usize, patch: &[u8]| {
        let mut block = jpeg::exif(6, 0);
        block[at..at + patch.len()].copy_from_slice(patch);
        with(block)
    };
    let turned = (SIZE.1, SIZE.0);
    cases.extend([
        taken("a directory that follows itself", turned, with(jpeg::exif(6, 8))),
        taken("a directory that is nowhere", SIZE, patched(6 + 4, &[0xff; 4])),
        taken("a directory in its own header", SIZE, patched(6 + 4, &[0; 4])),
        taken("65535 entries", turned, patched(6 + 8, &[0xff; 2])),
        taken("no TIFF header", SIZE, patched(6, b"XX")),
        taken("only a name", SIZE, with(b"Exif\0\0".to_vec())),
    ]);
    check(&Attacked::new(), &cases);
}

#[test]
fn giant_metadata_is_stepped_over() {
    let cat = bytes(CAT);
    let large = |start: &[u8]| [start, &vec![0; 65_000]].concat();
    let several = |marker: u8, contents: Vec<Vec<u8>>| jpeg::with_segments(&cat, marker, &contents);
    let turned = (SIZE.1, SIZE.0);
    let profile: Vec<_> = (1..=255).map(|index| jpeg::profile(index, 255)).collect();
    check(
        &Attacked::new(),
        &[
            taken("200 EXIF blocks, the first of which counts", turned, {
                several(0xe1, vec![large(&jpeg::exif(6, 0)); 200])
            }),
            taken("200 XMP blocks", SIZE, several(0xe1, vec![large(b"http://ns.adobe.com/xap/1.0/\0"); 200])),
            taken("a colour profile of 16 MB", SIZE, several(0xe2, profile)),
            taken("200 times the same part of a profile", SIZE, several(0xe2, vec![jpeg::profile(1, 2); 200])),
            taken("a hundred thousand comments", SIZE, several(0xfe, vec![vec![b'x'; 40]; 100_000])),
        ],
    );
}

#[test]
fn files_of_two_natures_are_what_their_first_bytes_say() {
    let cat = bytes(CAT);
    let script = b"GIF89a=1;alert('not a picture');//".to_vec();
    let both = gif::file(
        &gif::screen(3, 2),
        &[b"\x21\xfe\x12*/=1;alert(1);/*!!\0", &gif::frame(3, 2, &gif::lzw_bomb(6))[..]].concat(),
    );
    check(
        &Attacked::new(),
        &[
            taken("a picture with an archive behind it", SIZE, [&cat[..], b"PK\x05\x06", &[0; 18]].concat()),
            taken("a picture with a script in it", (3, 2), both),
            taken("a picture twice", SIZE, cat.repeat(2)),
            refused("a document with a picture in it", 415, "unknown_format", [b"%PDF-1.7\n", &cat[..]].concat()),
            refused("spaces before a picture", 415, "unknown_format", [b"  ", &cat[..]].concat()),
            too_large("a script that begins like a picture, whose letters are a size", script),
            refused("a page", 415, "unknown_format", b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec()),
            refused("a program", 415, "unknown_format", [b"MZ\x90\0", &[0; 500][..]].concat()),
            refused("nothing", 400, "malformed_request", Vec::new()),
            refused("zeros", 415, "unknown_format", vec![0; 1_000_000]),
        ],
    );
}
