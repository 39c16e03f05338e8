//! Resizing on a device against the same sums written down plainly, for every turn, filter and order of the axes.

mod vulkan;

use burn::tensor::{DType, Device};
use kiln_kernels::resize::{Filter, Turn, Uncut};
use kiln_kernels::{Kernels, Normalizer};

fn shape(filter: Filter, x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * std::f64::consts::PI).sin() / (x * std::f64::consts::PI) };
    match filter {
        Filter::Bilinear => (1.0 - x).max(0.0),
        Filter::Bicubic if x < 1.0 => 1.5 * x.powi(3) - 2.5 * x.powi(2) + 1.0,
        Filter::Bicubic if x < 2.0 => -0.5 * x.powi(3) + 2.5 * x.powi(2) - 4.0 * x + 2.0,
        Filter::Lanczos if x < 3.0 => sinc(x) * sinc(x / 3.0),
        _ => 0.0,
    }
}

/// Resamples a line of levels to `target` of them.
fn line(levels: &[f64], start: u32, length: u32, target: usize, filter: Filter) -> Vec<f64> {
    let step = f64::from(length) / target as f64;
    let one = |place: usize| {
        let centre = f64::from(start) + (place as f64 + 0.5) * step;
        let weight = |i: usize| shape(filter, ((i as f64 + 0.5 - centre) / step.max(1.0)).abs());
        let sum: f64 = (0..levels.len()).map(weight).sum();
        let level: f64 = levels.iter().enumerate().map(|(i, level)| weight(i) * level / sum).sum();
        (level + 0.5).floor().clamp(0.0, 255.0)
    };
    (0..target).map(one).collect()
}

/// One channel as rows of levels, of the target's size, upright.
fn expected(picture: &Uncut<'_>, channel: usize, height: usize, width: usize) -> Vec<Vec<f64>> {
    let Uncut { pixels, size: [across, down], start, length, turn, rows_first, filter } = *picture;
    let (columns, rows) = if turn.swapped { (height, width) } else { (width, height) };
    let level = |x: usize, y: usize| f64::from(pixels[(y * across as usize + x) * 3 + channel]);
    let mut levels: Vec<Vec<f64>> =
        (0..down as usize).map(|y| (0..across as usize).map(|x| level(x, y)).collect()).collect();
    let transposed = |rows: &[Vec<f64>]| -> Vec<Vec<f64>> {
        (0..rows[0].len()).map(|x| rows.iter().map(|row| row[x]).collect()).collect()
    };
    let along_x = |levels: &[Vec<f64>]| -> Vec<Vec<f64>> {
        levels.iter().map(|row| line(row, start[0], length[0], columns, filter)).collect()
    };
    let along_y = |levels: &[Vec<f64>]| -> Vec<Vec<f64>> {
        let lines: Vec<_> =
            transposed(levels).iter().map(|column| line(column, start[1], length[1], rows, filter)).collect();
        transposed(&lines)
    };
    levels = if rows_first { along_y(&along_x(&levels)) } else { along_x(&along_y(&levels)) };
    if turn.mirrored_x {
        levels.iter_mut().for_each(|row| row.reverse());
    }
    if turn.mirrored_y {
        levels.reverse();
    }
    if turn.swapped { transposed(&levels) } else { levels }
}

fn check(device: &Device, kernels: Kernels) {
    let (height, width) = (12, 9);
    let noise: Vec<u8> = (0..41 * 30 * 3).map(|i| (i * 7919 % 251) as u8).collect();
    let turns = (0..8).map(|bits| Turn { swapped: bits & 1 > 0, mirrored_x: bits & 2 > 0, mirrored_y: bits & 4 > 0 });
    let mut pictures = Vec::new();
    for (index, turn) in turns.enumerate() {
        for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
            let whole = Uncut {
                pixels: &noise,
                size: [41, 30],
                start: [0, 0],
                length: [41, 30],
                turn,
                rows_first: index % 2 == 0,
                filter,
            };
            // All of it, a part, and one that is made larger.
            pictures.push(whole);
            pictures.push(Uncut { start: [7, 3], length: [30, 22], rows_first: !whole.rows_first, ..whole });
            pictures.push(Uncut { start: [20, 11], length: [5, 4], ..whole });
        }
    }
    let normalizer = Normalizer::new(device, DType::F32, [0.0; 3], [1.0; 3]);
    let ours = kernels.scope(|| normalizer.resize(&pictures, height, width)).into_data();
    let ours = ours.as_slice::<f32>().unwrap();
    let mut off = 0;
    for (picture, ours) in pictures.iter().zip(ours.chunks(height * width * 3)) {
        for channel in 0..3 {
            let expected = expected(picture, channel, height, width);
            for (index, expected) in expected.iter().flatten().enumerate() {
                let difference = (f64::from(ours[index * 3 + channel]) - expected).abs();
                assert!(difference <= 1.0, "{kernels}, {picture:?}: {index} is off by {difference}");
                off += usize::from(difference > 0.0);
            }
        }
    }
    assert!(off * 200 < ours.len(), "{kernels}: {off} of {} levels are off by one", ours.len());
}

#[test]
fn every_turn_filter_and_order_comes_within_one_level() {
    check(&Device::flex(), Kernels::Stock);
    let Some(device) = vulkan::device() else { return };
    check(&device, Kernels::best_for(&device));
    check(&device, Kernels::Stock);
}

#[test]
#[should_panic(expected = "the window [1, 0], [2, 2] of 2x2")]
fn a_window_outside_of_its_picture_is_a_bug() {
    let picture = Uncut {
        pixels: &[0; 12],
        size: [2, 2],
        start: [1, 0],
        length: [2, 2],
        turn: Turn::default(),
        rows_first: true,
        filter: Filter::Bicubic,
    };
    Normalizer::new(&Device::flex(), DType::F32, [0.0; 3], [1.0; 3]).resize(&[picture], 2, 2);
}
