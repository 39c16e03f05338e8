//! Where the pixels of a picture lie in memory.

/// Pixels in rows. All strides are in f32 values; the channels of a pixel lie side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Pixels in a row.
    pub(crate) width: usize,
    /// From a pixel to the one below.
    pub(crate) row: usize,
    /// From a pixel to the one on its right.
    pub(crate) pixel: usize,
}

impl Grid {
    /// Rows without gaps.
    pub(crate) fn dense(width: usize, channels: usize) -> Self {
        Self { width, row: width * channels, pixel: channels }
    }

    /// All pixels one after the other.
    pub(crate) fn line(channels: usize) -> Self {
        Self { width: usize::MAX, row: 0, pixel: channels }
    }

    /// Where the pixels from `first` on start, counted row by row.
    #[inline(always)]
    pub(crate) fn offsets<const N: usize>(&self, first: usize) -> [usize; N] {
        let (mut y, mut x) = (first / self.width, first % self.width);
        std::array::from_fn(|_| {
            let offset = y * self.row + x * self.pixel;
            x += 1;
            if x == self.width {
                (y, x) = (y + 1, 0);
            }
            offset
        })
    }
}
