//! The weights of a dense convolution, packed for the register tile of an instruction set.

use std::ops::Range;

use super::super::aligned::{ALIGNMENT, Aligned};
use super::super::simd::Simd;

/// Weights and bias in the order in which the kernel reads them.
///
/// Panel by panel: the bias of its columns, then for each word of the sum (one value, or a pair in bfloat16) the weights of
/// its columns; columns that are missing in the last vector are zero.
#[derive(Clone, Debug)]
pub(crate) struct DensePanels {
    pub(super) values: Aligned,
    pub(super) panels: Vec<Panel>,
    /// [`Simd::PACKED`] of the instruction set.
    packed: usize,
}

/// Columns that a tile computes at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panel {
    pub(super) start: usize,
    pub(super) first_column: usize,
    pub(super) columns: usize,
    pub(super) vectors: usize,
    /// Made of [`Simd::Narrow`].
    pub(super) narrow: bool,
}

impl DensePanels {
    /// Packs weights, of which `weight(column, k)` is the one for value `k` of the sum. There are a whole number of words.
    pub(crate) fn pack<S: Simd>(
        columns: usize,
        depth: usize,
        bias: &[f32],
        weight: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let (mut values, mut panels) = (Vec::new(), Vec::new());
        let mut first_column = 0;
        for (vectors, narrow) in widths::<S>(columns) {
            let width = vectors * if narrow { S::Narrow::LANES } else { S::LANES };
            let here = width.min(columns - first_column);
            panels.push(Panel { start: values.len(), first_column, columns: here, vectors, narrow });
            let column = |offset: usize| (offset < here).then_some(first_column + offset);
            values.extend((0..width).map(|offset| column(offset).map_or(0.0, |c| bias[c])));
            for k in (0..depth).step_by(S::PACKED) {
                let word = |c: usize| S::word(|behind| weight(c, k + behind));
                values.extend((0..width).map(|offset| column(offset).map_or(0.0, word)));
            }
            first_column += here;
        }
        Self { values: Aligned::from_slice(ALIGNMENT, &values), panels, packed: S::PACKED }
    }

    /// Whether the weights are in bfloat16.
    pub(crate) fn is_reduced(&self) -> bool {
        self.packed > 1
    }

    /// How many panels there are.
    pub(crate) fn count(&self) -> usize {
        self.panels.len()
    }

    /// The columns of some panels.
    pub(crate) fn columns_of(&self, panels: Range<usize>) -> Range<usize> {
        let last = &self.panels[panels.end - 1];
        self.panels[panels.start].first_column..last.first_column + last.columns
    }
}

/// The vectors of each panel, and whether they are narrow ones.
fn widths<S: Simd>(columns: usize) -> Vec<(usize, bool)> {
    let rest = columns % S::LANES;
    let narrow = S::Narrow::LANES < S::LANES && (1..=S::Narrow::LANES).contains(&rest);
    let vectors = if narrow { columns / S::LANES } else { columns.div_ceil(S::LANES) };
    let count = vectors.div_ceil(S::TILE_VECTORS);
    // As even as can be: five vectors are three and two, not three, one and one.
    let wide = (0..count).map(|index| (vectors / count + usize::from(index < vectors % count), false));
    wide.chain(narrow.then_some((1, true))).collect()
}
