//! Pooling and scaling of whole batches: checks sizes and shares the work out.

use super::convolution::{Pictures, by_picture, share};
use super::geometry::Geometry;
use super::isa::Isa;
use super::pooling::{PoolJob, Pooling};
use super::target::Target;

/// Pools each picture by a window.
///
/// # Panics
///
/// Sizes do not fit.
pub(crate) fn pool(pooling: Pooling, geometry: &Geometry, input: Pictures<'_>, output: &mut [f32]) {
    let [height, width] = geometry.output_size(input.size);
    let row = width * input.channels;
    assert_eq!(output.len(), input.count * height * row, "values of a pooled batch");
    let (target, isa) = (Target::new(output, None), Isa::in_use());
    share(input.count * height, height.div_ceil(2), |rows| {
        for (picture, rows) in by_picture(rows, height) {
            let job = PoolJob {
                pooling,
                input: input.picture(picture).as_ptr(),
                input_size: input.size,
                channels: input.channels,
                kernel: geometry.kernel,
                stride: geometry.stride,
                padding: geometry.before,
                output: target.skip(picture * height * row).output(height * row),
                output_width: width,
                rows,
            };
            // SAFETY: the picture and the output were checked to be as large as the job says, and no two jobs share a row.
            unsafe { isa.pool(&job) };
        }
    });
}

/// Multiplies each channel of each picture by its own value of `gate`.
///
/// # Panics
///
/// Sizes do not fit.
pub(crate) fn scale(input: Pictures<'_>, gate: &[f32], output: &mut [f32]) {
    assert_eq!(gate.len(), input.count * input.channels, "values of a gate");
    assert_eq!(output.len(), input.values.len(), "values of a scaled batch");
    let picture = input.size[0] * input.size[1] * input.channels;
    let pictures = output.chunks_exact_mut(picture).zip(input.values.chunks_exact(picture));
    // Too little work to be shared out: one multiplication a value.
    for ((output, input_values), gate) in pictures.zip(gate.chunks_exact(input.channels)) {
        let pixels = output.chunks_exact_mut(input.channels).zip(input_values.chunks_exact(input.channels));
        for (output, pixel) in pixels {
            for ((output, value), factor) in output.iter_mut().zip(pixel).zip(gate) {
                *output = value * factor;
            }
        }
    }
}
