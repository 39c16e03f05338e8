//! Resizing on a device against a direct implementation, for every orientation, filter and order of the axes.

use burn::tensor::{DType, Device};
use kiln_kernels::resize::{Filter, Orientation, SourceImage};
use kiln_kernels::{Kernels, Normalizer};

use crate::vulkan;

fn filter_value(filter: Filter, x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * std::f64::consts::PI).sin() / (x * std::f64::consts::PI) };
    match filter {
        Filter::Bilinear => (1.0 - x).max(0.0),
        Filter::Bicubic if x < 1.0 => 1.5 * x.powi(3) - 2.5 * x.powi(2) + 1.0,
        Filter::Bicubic if x < 2.0 => -0.5 * x.powi(3) + 2.5 * x.powi(2) - 4.0 * x + 2.0,
        Filter::Lanczos if x < 3.0 => sinc(x) * sinc(x / 3.0),
        _ => 0.0,
    }
}

/// Resamples a line of levels to `target` levels.
fn line(levels: &[f64], start: u32, length: u32, target: usize, filter: Filter) -> Vec<f64> {
    let step = f64::from(length) / target as f64;
    let one = |position: usize| {
        let centre = f64::from(start) + (position as f64 + 0.5) * step;
        let weight = |i: usize| filter_value(filter, ((i as f64 + 0.5 - centre) / step.max(1.0)).abs());
        let sum: f64 = (0..levels.len()).map(weight).sum();
        let level: f64 = levels.iter().enumerate().map(|(i, level)| weight(i) * level / sum).sum();
        (level + 0.5).floor().clamp(0.0, 255.0)
    };
    (0..target).map(one).collect()
}

/// Returns one channel of the upright result, as rows of levels.
fn expected(image: &SourceImage<'_>, channel: usize, height: usize, width: usize) -> Vec<Vec<f64>> {
    let SourceImage { pixels, size: [across, down], start, length, orientation, rows_first, filter } = *image;
    let (columns, rows) = if orientation.transposed { (height, width) } else { (width, height) };
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
    if orientation.mirrored_x {
        levels.iter_mut().for_each(|row| row.reverse());
    }
    if orientation.mirrored_y {
        levels.reverse();
    }
    if orientation.transposed { transposed(&levels) } else { levels }
}

fn check(device: &Device, kernels: Kernels) {
    let (height, width) = (12, 9);
    let noise: Vec<u8> = (0..41 * 30 * 3).map(|i| (i * 7919 % 251) as u8).collect();
    let orientations =
        (0..8).map(|bits| Orientation { transposed: bits & 1 > 0, mirrored_x: bits & 2 > 0, mirrored_y: bits & 4 > 0 });
    let mut images = Vec::new();
    for (index, orientation) in orientations.enumerate() {
        for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
            let whole = SourceImage {
                pixels: &noise,
                size: [41, 30],
                start: [0, 0],
                length: [41, 30],
                orientation,
                rows_first: index % 2 == 0,
                filter,
            };
            // The whole image, a part of it, and a part that is enlarged.
            images.push(whole);
            images.push(SourceImage { start: [7, 3], length: [30, 22], rows_first: !whole.rows_first, ..whole });
            images.push(SourceImage { start: [20, 11], length: [5, 4], ..whole });
        }
    }
    let normalizer = Normalizer::new(device, DType::F32, [0.0; 3], [1.0; 3]);
    let ours = kernels.scope(|| normalizer.resize(&images, height, width)).into_data();
    let ours = ours.as_slice::<f32>().unwrap();
    let mut off = 0;
    for (image, ours) in images.iter().zip(ours.chunks(height * width * 3)) {
        for channel in 0..3 {
            let expected = expected(image, channel, height, width);
            for (index, expected) in expected.iter().flatten().enumerate() {
                let difference = (f64::from(ours[index * 3 + channel]) - expected).abs();
                assert!(difference <= 1.0, "{kernels}, {image:?}: {index} is off by {difference}");
                off += usize::from(difference > 0.0);
            }
        }
    }
    assert!(off * 200 < ours.len(), "{kernels}: {off} of {} levels are off by one", ours.len());
}

#[test]
fn resize_is_within_one_level_for_every_orientation_filter_and_order() {
    check(&Device::flex(), Kernels::Stock);
    let Some(device) = vulkan::device() else { return };
    check(&device, Kernels::best_for(&device));
    check(&device, Kernels::Stock);
}

#[test]
#[should_panic(expected = "the window [1, 0], [2, 2] of 2x2")]
fn window_outside_of_the_image_panics() {
    let image = SourceImage {
        pixels: &[0; 12],
        size: [2, 2],
        start: [1, 0],
        length: [2, 2],
        orientation: Orientation::default(),
        rows_first: true,
        filter: Filter::Bicubic,
    };
    Normalizer::new(&Device::flex(), DType::F32, [0.0; 3], [1.0; 3]).resize(&[image], 2, 2);
}
