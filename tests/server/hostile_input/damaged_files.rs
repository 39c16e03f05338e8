//! Truncated files, and files with random but reproducible bit flips.

use super::harness::Target;
use crate::common::bytes;

const FILES: [&str; 10] = [
    "kinds/tiny.jpg",
    "kinds/restart.jpg",
    "kinds/grey_progressive.jpg",
    "kinds/ycck.jpg",
    "kinds/palette_transparent.png",
    "kinds/rgba_16_bit.png",
    "kinds/transparent.gif",
    "kinds/animated.webp",
    "kinds/exif_5.tiff",
    "variants/cat.bmp",
];

/// Damaged versions of each file, beside the truncated ones.
const FLIPS: usize = 24;

/// Returns the next pseudorandom number below `below` (Knuth's linear congruential generator).
fn next(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % below
}

/// Flips bits, mostly in the headers, which decoders rely on.
fn flipped(whole: &[u8], state: &mut u64) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=next(state, 6) {
        let end = if next(state, 3) == 0 { bytes.len() } else { bytes.len().min(300) };
        bytes[next(state, end)] ^= 1 << next(state, 8);
    }
    bytes
}

#[test]
fn damaged_files_are_decoded_or_rejected_within_bounds() {
    let server = Target::new();
    let mut state = 1;
    for name in FILES {
        let whole = bytes(name);
        let cuts = [1, 3, 10, 20, 33, 60, whole.len() / 3, whole.len() / 2, whole.len() - 1];
        let cut = cuts.map(|length| whole[..length.min(whole.len())].to_vec());
        let damaged: Vec<_> = cut.into_iter().chain((0..FLIPS).map(|_| flipped(&whole, &mut state))).collect();
        for (index, bytes) in damaged.iter().enumerate() {
            let (answer, cost) = server.measure(|| server.raw("/predict/raw", bytes));
            let allowed = [200, 413, 415, 422].contains(&answer.status);
            // A damaged header may claim up to 50 megapixels.
            let cheap = cost.seconds < 4.0 && cost.megabytes < 500;
            assert!(allowed && cheap, "{name}, number {index}: {cost:?} {}", answer.text());
            if answer.status != 200 {
                answer.code();
            }
        }
    }
    server.assert_healthy();
}
