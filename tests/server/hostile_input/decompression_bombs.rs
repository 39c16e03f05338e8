//! Decompression bombs: files that claim or decompress to huge images.

use super::gif;
use super::harness::{accepted, check, too_large, undecodable};
use super::jpeg::{self, PROGRESSIVE, SEQUENTIAL};
use super::png::{self, GREY, Header, RGB};
use super::tiff;
use crate::common::bytes;

/// The side of a square image just within the limit: 49 megapixels.
const SIDE: u32 = 7000;
const SIZE: (u64, u64) = (7000, 7000);

#[test]
fn png_bombs_stay_within_bounds() {
    let small = Header::flat(1, 1, GREY);
    let wide = Header { depth: 16, ..Header::flat(SIDE, SIDE, RGB) };
    let bomb = png::zlib_bomb(8192);
    let with = |header: &Header, name: &[u8; 4], start: &[u8], mebibytes: usize| {
        let bomb = [start, &png::zlib_bomb(mebibytes)].concat();
        png::file(header, &[(name, &bomb), (b"IDAT", &png::zlib(&vec![0; small.raw_length()]))])
    };
    let many = |name: &[u8; 4], content: &[u8], count: usize| {
        let mut chunks = vec![(name, content); count];
        let pixel = png::zlib(&[0, 0]);
        chunks.push((b"IDAT", &pixel));
        png::file(&small, &chunks)
    };
    let profile = [&b"p\0\0"[..], &png::zlib_bomb(64)].concat();
    let text = [&b"Comment\0\0"[..], &png::zlib_bomb(64)].concat();
    let exif = [&b"Raw profile type exif\0\0"[..], &png::zlib(&[&b"\n\n\n"[..], &[b'x'; 1 << 18]].concat())].concat();
    check(&[
        accepted("8 GiB of zeros behind a pixel", (1, 1), png::file(&small, &[(b"IDAT", &bomb)])),
        undecodable("49 megapixels and no data", png::file(&wide, &[(b"IDAT", &png::zlib(&[0]))])),
        accepted("49 megapixels of one bit", SIZE, png::black(&Header { depth: 1, ..Header::flat(SIDE, SIDE, GREY) }))
            .of_pixels(49, 5),
        accepted("49 megapixels of black", SIZE, png::black(&Header::flat(SIDE, SIDE, RGB))).of_pixels(49, 4),
        accepted("49 megapixels of black, interlaced", SIZE, {
            png::black(&Header { interlaced: true, ..Header::flat(SIDE, SIDE, RGB) })
        })
        .of_pixels(49, 4),
        too_large("65535 pixels square", png::file(&Header::flat(65535, 65535, GREY), &[(b"IDAT", &bomb)])),
        undecodable("a text of 8 GiB", with(&small, b"zTXt", b"Comment\0\0", 8192)),
        undecodable("an international text of 8 GiB", with(&small, b"iTXt", b"c\0\x01\0\0\0", 8192)),
        accepted("128 texts of 64 MiB", (1, 1), many(b"zTXt", &text, 128)),
        accepted("twenty thousand EXIF profiles of 256 KiB", (1, 1), many(b"zTXt", &exif, 20_000)),
        accepted("a profile of 8 GiB", (1, 1), with(&small, b"iCCP", b"p\0\0", 8192)),
        accepted("128 profiles of 64 MiB", (1, 1), many(b"iCCP", &profile, 128)),
        undecodable("a profile of 8 GiB and 49 megapixels", with(&wide, b"iCCP", b"p\0\0", 8192)),
        accepted("a million empty chunks", (1, 1), many(b"teXt", b"", 1_000_000)),
        undecodable("a chunk of 4 GiB", [&png::black(&small)[..33], &[0xff; 8]].concat()),
    ]);
}

#[test]
fn gif_bombs_stay_within_bounds() {
    let pixel = gif::lzw_bomb(1);
    let one = gif::frame(1, 1, &pixel);
    let comment =
        |length: usize| [&[0x21, 0xfe][..], &[b"\xff", &[b'x'; 255][..]].concat().repeat(length / 255), &[0]].concat();
    let side = SIDE as u16;
    check(&[
        accepted("a pixel with codes for 20 gigapixels", (1, 1), {
            gif::file(&gif::screen(1, 1), &gif::frame(1, 1, &gif::lzw_bomb(20_000_000_000)))
        }),
        accepted("49 megapixels in 20 KB", SIZE, {
            gif::file(&gif::screen(side, side), &gif::frame(side, side, &gif::lzw_bomb(49_000_000)))
        })
        .of_pixels(49, 9),
        accepted("49 megapixels of screen", SIZE, gif::file(&gif::screen(side, side), &one)).of_pixels(49, 9),
        accepted("a pixel of screen and 49 megapixels of frame", SIZE, {
            gif::file(&gif::screen(1, 1), &gif::frame(side, side, &gif::lzw_bomb(49_000_000)))
        })
        .of_pixels(49, 9),
        too_large("a screen of 65535 and a frame of 1", gif::file(&gif::screen(65535, 65535), &one)),
        too_large("a screen of 1 and a frame of 65535", {
            gif::file(&gif::screen(1, 1), &gif::frame(65535, 65535, &gif::lzw_bomb(1_000_000)))
        }),
        accepted("a hundred thousand frames", (1, 1), gif::file(&gif::screen(1, 1), &one.repeat(100_000))),
        accepted("a comment of 10 MB", (1, 1), {
            gif::file(&gif::screen(1, 1), &[comment(10_000_000), one.clone()].concat())
        }),
        accepted("a million comments", (1, 1), {
            gif::file(&gif::screen(1, 1), &[comment(0).repeat(1_000_000), one.clone()].concat())
        }),
    ]);
}

#[test]
fn jpeg_bombs_stay_within_bounds() {
    let empty = |marker: u8, components: u8| {
        let end = [jpeg::scan(1, [0, 63, 0], 8), vec![0xff, 0xd9]].concat();
        [jpeg::head(marker, 65535, 65535, components), end].concat()
    };
    let (first, refined) = ([1, 63, 1], [1, 63, 0x10]);
    let whole = (u64::from(SIDE), u64::from(SIDE));
    check(&[
        too_large("65535 pixels square", empty(SEQUENTIAL, 3)),
        too_large("65535 pixels square, progressive", empty(PROGRESSIVE, 1)),
        accepted("ten scans", (512, 512), jpeg::progressive(512, first, 8)),
        undecodable("101 scans", jpeg::progressive(64, first, 99)),
        undecodable("ten thousand scans of 4 megapixels", jpeg::progressive(2000, first, 10_000)),
        undecodable("ten thousand scans of 49 megapixels", jpeg::progressive(SIDE as u16, first, 10_000)),
        undecodable("refinement upon refinement", jpeg::progressive(SIDE as u16, refined, 10_000)),
        undecodable("98 refinements of 49 megapixels", jpeg::progressive(SIDE as u16, refined, 98)),
        accepted("49 megapixels in few scans", whole, jpeg::progressive(SIDE as u16, refined, 8)).of_pixels(49, 6),
        accepted("one scan a colour", (64, 64), jpeg::sequential(64, 0, true)),
        undecodable("ten thousand scans of one colour", jpeg::sequential(256, 10_000, true)),
        undecodable("a hundred thousand scans of nothing", jpeg::sequential(SIDE as u16, 100_000, false)),
        undecodable("21842 components and 30 thousand scans", jpeg::many_components(30_000)),
    ]);
}

/// Each strip has 16 MB of codes without output, and then a pixel.
#[test]
fn tiff_bombs_stay_within_bounds() {
    // Eight codes of nine bits that clear the table, and the code of a byte.
    let clear = [0x80, 0x40, 0x20, 0x10, 8, 4, 2, 1, 0];
    let lzw = [&clear.repeat(16_000_000 / 9)[..], &[0, 0]].concat();
    let pack_bits = [vec![128; 16_000_000], vec![0, 0]].concat();
    check(&[
        undecodable("strips of LZW at the same place", tiff::equal_strips(65535, tiff::LZW, &lzw)),
        undecodable("strips of PackBits at the same place", tiff::equal_strips(65535, tiff::PACK_BITS, &pack_bits)),
        accepted("one strip of LZW", (1, 1), tiff::equal_strips(1, tiff::LZW, &lzw)),
    ]);
}

#[test]
fn oversized_headers_of_bmp_tiff_and_webp_are_rejected() {
    let patched = |name: &str, at: usize, patch: &[u8]| {
        let mut file = bytes(name);
        file[at..at + patch.len()].copy_from_slice(patch);
        file
    };
    // The first two entries of the TIFF directory are width and height.
    let tiff = bytes("variants/cat.tiff");
    let directory = u32::from_le_bytes(*tiff[4..].first_chunk().expect("a header")) as usize;
    let entry = |index: usize| directory + 2 + 12 * index;
    let mut wide = tiff.clone();
    for index in 0..2 {
        assert_eq!(u16::from_le_bytes([tiff[entry(index)], tiff[entry(index) + 1]]), 256 + index as u16);
        wide[entry(index) + 2..entry(index) + 12].copy_from_slice(&[4, 0, 1, 0, 0, 0, 0xff, 0xff, 0, 0]);
    }
    let webp =
        b"RIFF\x2e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xfe\xff\0\xfe\xff\0VP8 \x10\0\0\0\0\0\0\x9d\x01\x2a\x10\0\x10\0";
    check(&[
        too_large("bmp", patched("variants/cat.bmp", 18, &[0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0])),
        too_large("tiff", wide),
        too_large("webp", webp.to_vec()),
    ]);
}
