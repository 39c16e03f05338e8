//! The register tile of a dense convolution: some pixels by some columns, summed over the whole depth.

use super::super::grid::Grid;
use super::super::simd::Simd;
use super::{DenseJob, Depth};

/// Where the words of the sums lie: the input itself, or its copy in bfloat16.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub(super) words: *const f32,
    pub(super) grid: Grid,
    pub(super) depth: Depth,
    /// The pixel that lies at its start.
    pub(super) first: usize,
}

/// Where a tile's results go.
pub(super) struct Place {
    /// The first pixel.
    pub(super) first: usize,
    /// The first column, counted from the job's first.
    pub(super) column: usize,
    /// Columns that exist; the last vector may have fewer than its lanes.
    pub(super) columns: usize,
}

/// Calls the tile of this size, of at most as many rows as `S` has, made of `T`'s vectors.
#[inline(always)]
pub(super) unsafe fn tile_of<S: Simd, T: Simd>(
    (rows, vectors): (usize, usize),
    job: &DenseJob<'_>,
    source: &Source,
    panel: *const f32,
    place: &Place,
) {
    macro_rules! by_size {
        ($($rows:literal)*) => {
            // SAFETY: the caller's promises, passed on.
            match (rows, vectors) {
                $(
                    ($rows, 1) => unsafe { tile::<T, $rows, 1>(job, source, panel, place) },
                    ($rows, 2) if T::LANES == S::LANES => unsafe { tile::<T, $rows, 2>(job, source, panel, place) },
                    ($rows, 3) if T::TILE_VECTORS >= 3 => unsafe { tile::<T, $rows, 3>(job, source, panel, place) },
                )*
                _ => unreachable!("a tile of {rows} rows and {vectors} vectors"),
            }
        };
    }
    if S::TILE_ROWS <= 4 {
        by_size!(1 2 3 4)
    } else if S::TILE_ROWS <= 6 {
        by_size!(1 2 3 4 5 6)
    } else {
        by_size!(1 2 3 4 5 6 7 8)
    }
}

/// The register tile: `ROWS` pixels by `VECTORS` vectors of columns, summed over the whole depth.
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
    job: &DenseJob<'_>,
    source: &Source,
    panel: *const f32,
    place: &Place,
) {
    // SAFETY: a tile's pixels and columns are the caller's, who promises input and weights for them.
    unsafe {
        let mut rows = source.grid.offsets::<ROWS>(place.first - source.first).map(|offset| source.words.add(offset));
        let bias: [S::V; VECTORS] = std::array::from_fn(|v| S::load(panel.add(v * S::LANES)));
        let mut sums = [bias; ROWS];
        let mut weights = panel.add(VECTORS * S::LANES);
        for _ in 0..source.depth.segments {
            for k in 0..source.depth.length {
                let w: [S::V; VECTORS] = std::array::from_fn(|v| S::load(weights.add(v * S::LANES)));
                for r in 0..ROWS {
                    let x = S::splat(*rows[r].add(k));
                    for v in 0..VECTORS {
                        sums[r][v] = S::dot(x, w[v], sums[r][v]);
                    }
                }
                weights = weights.add(VECTORS * S::LANES);
            }
            rows = rows.map(|row| row.wrapping_add(source.depth.stride));
        }
        finish::<S, ROWS, VECTORS>(job, place, sums);
    }
}

/// Residual, activation and store.
#[inline(always)]
unsafe fn finish<S: Simd, const ROWS: usize, const VECTORS: usize>(
    job: &DenseJob<'_>,
    place: &Place,
    mut sums: [[S::V; VECTORS]; ROWS],
) {
    let offsets = job.output_grid.offsets::<ROWS>(place.first).map(|offset| offset + place.column);
    let whole = place.columns == VECTORS * S::LANES;
    // SAFETY: the same for output and residual; a panel that is not full takes the other way.
    unsafe {
        if !whole {
            return finish_part::<S, ROWS, VECTORS>(job, place.columns, offsets, sums);
        }
        if !job.residual.is_null() {
            for r in 0..ROWS {
                for v in 0..VECTORS {
                    sums[r][v] = S::add(sums[r][v], S::load(job.residual.add(offsets[r] + v * S::LANES)));
                }
            }
        }
        let sums = job.activation.apply::<S, ROWS, VECTORS>(sums);
        for r in 0..ROWS {
            for v in 0..VECTORS {
                S::store(job.output.add(offsets[r] + v * S::LANES), sums[r][v]);
            }
        }
    }
}

/// The same for a panel whose last vector is not full: by way of a buffer, since nothing beyond it may be touched.
#[inline(always)]
unsafe fn finish_part<S: Simd, const ROWS: usize, const VECTORS: usize>(
    job: &DenseJob<'_>,
    columns: usize,
    offsets: [usize; ROWS],
    mut sums: [[S::V; VECTORS]; ROWS],
) {
    // The widest vector has 16 lanes, the widest tile three vectors.
    let mut buffer = [0.0_f32; 48];
    // SAFETY: only the columns that exist are copied from and to; the buffer has room for the widest tile.
    unsafe {
        for r in 0..ROWS {
            if !job.residual.is_null() {
                std::ptr::copy_nonoverlapping(job.residual.add(offsets[r]), buffer.as_mut_ptr(), columns);
                for v in 0..VECTORS {
                    sums[r][v] = S::add(sums[r][v], S::load(buffer.as_ptr().add(v * S::LANES)));
                }
            }
        }
        let sums = job.activation.apply::<S, ROWS, VECTORS>(sums);
        for r in 0..ROWS {
            for v in 0..VECTORS {
                S::store(buffer.as_mut_ptr().add(v * S::LANES), sums[r][v]);
            }
            std::ptr::copy_nonoverlapping(buffer.as_ptr(), job.output.add(offsets[r]), columns);
        }
    }
}
