//! The twin in stock tensor operations: each axis is a product with a matrix of weights that the host makes.

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::{Filter, Uncut};

/// Levels of one picture, f32 `[1, height, width, 3]`; see [`super::ResizeOps::resize`].
pub(super) fn resize(picture: &Uncut<'_>, height: usize, width: usize, device: &Device) -> Tensor<4> {
    let Uncut { pixels, size: [across, down], start, length, turn, rows_first, filter } = *picture;
    let (columns, rows) = if turn.swapped { (height, width) } else { (width, height) };
    let values: Vec<f32> = pixels.iter().map(|level| f32::from(*level)).collect();
    let shape = [down as usize, across as usize, 3];
    let levels: Tensor<3> = Tensor::from_data(TensorData::new(values, shape), (device, DType::F32));
    let levels = levels.permute([2, 0, 1]);
    let along_x = |levels: Tensor<3>| {
        let weights = weights(filter, start[0], length[0], across, columns, device);
        whole(levels.matmul(weights.transpose().unsqueeze()))
    };
    let along_y = |levels: Tensor<3>| {
        let weights = weights(filter, start[1], length[1], down, rows, device);
        whole(weights.unsqueeze().matmul(levels))
    };
    let resized = if rows_first { along_y(along_x(levels)) } else { along_x(along_y(levels)) };
    let resized = if turn.mirrored_y { resized.flip([1]) } else { resized };
    let resized = if turn.mirrored_x { resized.flip([2]) } else { resized };
    let upright = if turn.swapped { resized.permute([2, 1, 0]) } else { resized.permute([1, 2, 0]) };
    upright.unsqueeze()
}

/// Rounds to whole levels that a byte can hold.
fn whole(levels: Tensor<3>) -> Tensor<3> {
    (levels + 0.5).floor().clamp(0.0, 255.0)
}

/// `[target, size]`: in each row the part that each pixel has in one output pixel.
fn weights(filter: Filter, start: u32, length: u32, size: u32, target: usize, device: &Device) -> Tensor<2> {
    let step = f64::from(length) / target as f64;
    let scale = step.max(1.0);
    let mut weights = Vec::with_capacity(target * size as usize);
    for place in 0..target {
        let centre = f64::from(start) + (place as f64 + 0.5) * step;
        let row = (0..size).map(|i| shape(filter, ((f64::from(i) + 0.5 - centre) / scale).abs()));
        let row: Vec<f64> = row.collect();
        let sum: f64 = row.iter().sum();
        weights.extend(row.into_iter().map(|weight| (weight / sum) as f32));
    }
    Tensor::from_data(TensorData::new(weights, [target, size as usize]), (device, DType::F32))
}

/// The filter at a distance (Pillow 13, `src/libImaging/Resample.c`).
fn shape(filter: Filter, x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * std::f64::consts::PI).sin() / (x * std::f64::consts::PI) };
    match filter {
        Filter::Bilinear => (1.0 - x).max(0.0),
        Filter::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        Filter::Bicubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        Filter::Lanczos if x < 3.0 => sinc(x) * sinc(x / 3.0),
        Filter::Bicubic | Filter::Lanczos => 0.0,
    }
}
