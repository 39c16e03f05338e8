//! The weights of convolutions, in the order in which the kernel of an instruction set reads them.

use std::ops::Range;

use super::buffers::{ALIGNMENT, AlignedVec};
use super::isa::{Isa, Kernel, SafeKernel};
use super::simd::Simd;

/// The weights and bias of a dense convolution, packed for the register tile of an instruction set.
///
/// The values lie panel by panel. A panel holds the bias of its columns, and then for each word of the sum (one f32, or a
/// pair of bfloat16) the weights of its columns. Columns that the last vector lacks are zero.
#[derive(Clone, Debug)]
pub(super) struct DensePanels {
    isa: Isa,
    pub(super) values: AlignedVec,
    pub(super) panels: Vec<Panel>,
}

/// The columns that a register tile computes at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panel {
    /// Index of the first value.
    pub(super) start: usize,
    pub(super) first_column: usize,
    pub(super) columns: usize,
    pub(super) vectors: usize,
    /// Whether the vectors are those of [`Simd::Narrow`].
    pub(super) narrow: bool,
}

impl DensePanels {
    /// Packs the weights of `columns` output channels, whose sums have `depth` values. `weight(column, k)` is the weight of
    /// value `k`. `segment` is the number of values of a sum that are adjacent in the input.
    pub(super) fn pack(
        isa: Isa,
        columns: usize,
        [depth, segment]: [usize; 2],
        bias: &[f32],
        weight: impl Fn(usize, usize) -> f32,
    ) -> Self {
        // The conversion to bfloat16 takes 8 values at a time. The first convolution, of three channels, keeps f32.
        let isa = if segment.is_multiple_of(8) { isa } else { isa.without_bf16() };
        let packing = Packing { columns, depth, bias, weight };
        // SAFETY: packing has no contract besides the instruction set.
        let (values, panels) = unsafe { isa.dispatch(packing) };
        Self { isa, values, panels }
    }

    /// Returns the bias and the weights `[depth, columns]` of f32 panels.
    pub(super) fn unpack(&self, depth: usize) -> (Vec<f32>, Vec<f32>) {
        let columns = self.panels.iter().map(|panel| panel.columns).sum();
        let (mut bias, mut weights) = (vec![0.0; columns], vec![0.0; depth * columns]);
        for (index, panel) in self.panels.iter().enumerate() {
            let end = self.panels.get(index + 1).map_or(self.values.len(), |next| next.start);
            let mut rows = self.values[panel.start..end].chunks_exact((end - panel.start) / (depth + 1));
            let here = panel.first_column..panel.first_column + panel.columns;
            let first = rows.next().expect("a panel begins with its bias");
            bias[here.clone()].copy_from_slice(&first[..panel.columns]);
            for (row, values) in weights.chunks_exact_mut(columns).zip(rows) {
                row[here.clone()].copy_from_slice(&values[..panel.columns]);
            }
        }
        (bias, weights)
    }

    /// Returns the panels for a job of the kernel.
    pub(super) fn view(&self) -> PanelsView<'_> {
        PanelsView { isa: self.isa, values: &self.values, panels: &self.panels }
    }

    /// Returns the columns of a range of panels.
    pub(super) fn columns_of(&self, panels: Range<usize>) -> Range<usize> {
        let last = &self.panels[panels.end - 1];
        self.panels[panels.start].first_column..last.first_column + last.columns
    }
}

/// Panels whose values are borrowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct PanelsView<'a> {
    /// The instruction set that the values are packed for.
    pub(super) isa: Isa,
    pub(super) values: &'a [f32],
    pub(super) panels: &'a [Panel],
}

/// Returns the panels of a matrix of `columns` columns and `depth` rows of f32, and the number of values that they need.
pub(super) fn panel_layout(isa: Isa, columns: usize, depth: usize) -> (Vec<Panel>, usize) {
    let (mut panels, mut start, mut first_column) = (Vec::new(), 0, 0);
    for (vectors, width, narrow) in isa.without_bf16().run(PanelWidths { columns }) {
        let here = width.min(columns - first_column);
        panels.push(Panel { start, first_column, columns: here, vectors, narrow });
        start += width * (depth + 1);
        first_column += here;
    }
    (panels, start)
}

/// Computes the vectors and columns of each panel, and whether its vectors are narrow.
struct PanelWidths {
    columns: usize,
}

impl SafeKernel for PanelWidths {
    type Output = Vec<(usize, usize, bool)>;

    #[inline(always)]
    fn run<S: Simd>(self) -> Self::Output {
        let lanes = |narrow: bool| if narrow { S::Narrow::LANES } else { S::LANES };
        let widths = panel_widths::<S>(self.columns).into_iter();
        widths.map(|(vectors, narrow)| (vectors, vectors * lanes(narrow), narrow)).collect()
    }
}

/// The packing of dense weights as a kernel, because the layout depends on the instruction set.
struct Packing<'a, F> {
    columns: usize,
    depth: usize,
    bias: &'a [f32],
    weight: F,
}

impl<F: Fn(usize, usize) -> f32> Kernel for Packing<'_, F> {
    type Output = (AlignedVec, Vec<Panel>);
    const USES_BF16: bool = true;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> Self::Output {
        let Self { columns, depth, bias, weight } = self;
        let widths = PanelWidths { columns }.run::<S>();
        let words = depth.div_ceil(S::VALUES_PER_WORD);
        let total = widths.iter().map(|(_, width, _)| width * (words + 1)).sum();
        // The weights of a large layer are written once: to grow or to copy them takes as long as to pack them.
        let (mut values, mut panels) = (AlignedVec::with_capacity(ALIGNMENT, total), Vec::new());
        let mut first_column = 0;
        for (vectors, width, narrow) in widths {
            let here = width.min(columns - first_column);
            panels.push(Panel { start: values.len(), first_column, columns: here, vectors, narrow });
            let mut row = vec![0.0; width];
            row[..here].copy_from_slice(&bias[first_column..first_column + here]);
            values.extend_from_slice(&row);
            for k in (0..depth).step_by(S::VALUES_PER_WORD) {
                for (value, column) in row.iter_mut().zip(first_column..first_column + here) {
                    *value = S::pack_word(|behind| weight(column, k + behind));
                }
                values.extend_from_slice(&row);
            }
            first_column += here;
        }
        (values, panels)
    }
}

/// Returns the number of vectors of each panel, and whether they are narrow.
fn panel_widths<S: Simd>(columns: usize) -> Vec<(usize, bool)> {
    let rest = columns % S::LANES;
    let narrow = S::Narrow::LANES < S::LANES && (1..=S::Narrow::LANES).contains(&rest);
    let vectors = if narrow { columns / S::LANES } else { columns.div_ceil(S::LANES) };
    let count = vectors.div_ceil(S::TILE_VECTORS);
    // The panels are as even as possible: five vectors become three and two, instead of three, one and one.
    let wide = (0..count).map(|index| (vectors / count + usize::from(index < vectors % count), false));
    wide.chain(narrow.then_some((1, true))).collect()
}

/// The weights and bias of a depthwise convolution: `[side * side][channels]`, then the bias.
#[derive(Clone, Debug)]
pub(super) struct DepthwiseTaps {
    pub(super) values: AlignedVec,
    pub(super) channels: usize,
    /// Height and width of the window.
    pub(super) side: usize,
}

impl DepthwiseTaps {
    /// Packs the weights. `weight(channel, tap)` is the weight of a tap; taps are counted row by row.
    pub(super) fn pack(channels: usize, side: usize, bias: &[f32], weight: impl Fn(usize, usize) -> f32) -> Self {
        let weight = &weight;
        let taps = (0..side * side).flat_map(|tap| (0..channels).map(move |channel| weight(channel, tap)));
        Self { values: AlignedVec::from_iter(ALIGNMENT, taps.chain(bias.iter().copied())), channels, side }
    }
}
