//! A convolution on NHWC pictures, with its bias, residual and activation: packs weights, checks sizes and shares the
//! work out. Its parts are in `parts.rs`.

use std::ops::Range;

use super::activation::Activation;
use super::dense::DensePanels;
use super::depthwise::DepthwiseTaps;
use super::geometry::Geometry;
use super::isa::Isa;
use super::target::Target;
use super::threads;

/// What a convolution does, apart from its weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvSpec {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Window, steps and padding.
    pub geometry: Geometry,
    /// Each output channel sees its own input channel only; otherwise every one.
    pub depthwise: bool,
    /// What follows, after the residual if there is one.
    pub activation: Activation,
}

impl ConvSpec {
    /// Whether there is a kernel for it: any dense convolution, and depthwise ones of some windows.
    pub fn is_supported(&self) -> bool {
        !self.depthwise || self.geometry.has_depthwise_kernel() && self.inputs == self.outputs
    }
}

/// A convolution ready to run on the CPU.
#[derive(Clone, Debug)]
pub(crate) struct PackedConv {
    pub(super) spec: ConvSpec,
    pub(super) isa: Isa,
    pub(super) weights: Weights,
}

/// Weights as their kernel wants them.
#[derive(Clone, Debug)]
pub(super) enum Weights {
    Dense(DensePanels),
    Depthwise(DepthwiseTaps),
}

/// A batch of pictures, NHWC and dense.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pictures<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) count: usize,
    /// Height and width.
    pub(crate) size: [usize; 2],
    pub(crate) channels: usize,
}

impl<'a> Pictures<'a> {
    /// # Panics
    ///
    /// There are not as many values as the shape asks for.
    pub(crate) fn new(values: &'a [f32], [count, height, width, channels]: [usize; 4]) -> Self {
        assert_eq!(values.len(), count * height * width * channels, "values of a batch");
        Self { values, count, size: [height, width], channels }
    }

    /// One picture.
    pub(crate) fn picture(&self, index: usize) -> &'a [f32] {
        let length = self.size[0] * self.size[1] * self.channels;
        &self.values[index * length..][..length]
    }
}

impl PackedConv {
    /// Packs `weight`, `[outputs, inputs / groups, height, width]`, and `bias`, `[outputs]`.
    ///
    /// # Panics
    ///
    /// The weights are not as many as `spec` asks for, or it is not supported.
    pub(crate) fn pack(isa: Isa, spec: ConvSpec, weight: &[f32], bias: &[f32]) -> Self {
        assert!(spec.is_supported(), "there is no kernel for {spec:?}");
        let ConvSpec { inputs, outputs, geometry: Geometry { kernel: [height, width], .. }, .. } = spec;
        let depth = height * width * if spec.depthwise { 1 } else { inputs };
        assert_eq!(weight.len(), outputs * depth, "weights of {spec:?}");
        assert_eq!(bias.len(), outputs, "bias of {spec:?}");
        let weights = if spec.depthwise {
            Weights::Depthwise(DepthwiseTaps::pack(outputs, height, bias, |channel, tap| weight[channel * depth + tap]))
        } else {
            // The sum runs over rows, columns and channels, as the values lie in NHWC.
            let place = |k: usize| (k % inputs) * height * width + k / inputs;
            Weights::Dense(
                isa.pack_dense(outputs, [depth, width * inputs], bias, |column, k| weight[column * depth + place(k)]),
            )
        };
        Self { spec, isa, weights }
    }

    /// `[count, height, width, channels]` of what comes out of pictures of this shape.
    pub(crate) fn output_shape(&self, [count, height, width, _]: [usize; 4]) -> [usize; 4] {
        let [height, width] = self.spec.geometry.output_size([height, width]);
        [count, height, width, self.spec.outputs]
    }

    pub(crate) fn geometry(&self) -> &Geometry {
        &self.spec.geometry
    }

    /// Fills `output` with `activation(conv(input) + bias + residual)`.
    ///
    /// # Panics
    ///
    /// Sizes do not fit, or a depthwise convolution is given a residual.
    pub(crate) fn run(&self, input: Pictures<'_>, residual: Option<&[f32]>, output: &mut [f32]) {
        let size = self.spec.geometry.output_size(input.size);
        let pixels = input.count * size[0] * size[1];
        assert_eq!(output.len(), pixels * self.spec.outputs, "values of the output of {:?}", self.spec);
        let target = Target::new(output, residual);
        if self.spec.geometry.is_pointwise() {
            // All pixels of all pictures are rows of one product. Where they are few, its columns are shared out.
            if pixels >= threads::available() * FEW_PIXELS {
                share(pixels, FEW_PIXELS, |pixels| self.run_pixels(input.values, pixels, 0..self.panels(), target));
            } else {
                share(self.panels(), 1, |panels| self.run_pixels(input.values, 0..pixels, panels, target));
            }
            return;
        }
        share(input.count * size[0], size[0].min(4), |rows| {
            for (picture, rows) in by_picture(rows, size[0]) {
                let target = target.at_pixel((picture * size[0] + rows.start) * size[1], self.spec.outputs);
                self.run_rows(input, picture, rows, target);
            }
        });
    }
}

/// Below this number of pixels a thread, columns are shared out and not pixels.
const FEW_PIXELS: usize = 32;

/// Cuts `0..total` into even ranges of at least `least` and has the team work on them.
pub(crate) fn share(total: usize, least: usize, work: impl Fn(Range<usize>) + Sync) {
    // More ranges than threads, so that one that starts late still finds some.
    let parts = match threads::available() {
        1 => 1,
        threads => (total / least).clamp(1, threads * 4),
    };
    threads::run(parts, |part| work(total * part / parts..total * (part + 1) / parts));
}

/// Cuts rows, counted through all pictures of `height` rows, where a new picture begins.
pub(crate) fn by_picture(rows: Range<usize>, height: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let mut next = rows.start;
    std::iter::from_fn(move || {
        let (picture, first) = (next / height, next % height);
        let end = height.min(first + rows.end - next);
        next += end - first;
        (first < end).then_some((picture, first..end))
    })
}
