//! How a window moves over a picture: shared by convolution and pooling.

/// A window's size, steps and padding; pairs are `[vertical, horizontal]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// The window's height and width.
    pub kernel: [usize; 2],
    /// From one output pixel to the next.
    pub stride: [usize; 2],
    /// Zeros above and on the left.
    pub before: [usize; 2],
    /// Zeros below and on the right.
    pub after: [usize; 2],
}

impl Geometry {
    /// A window of one pixel that steps by one: no window at all.
    pub const POINTWISE: Self = Self { kernel: [1, 1], stride: [1, 1], before: [0, 0], after: [0, 0] };

    /// Height and width of what comes out of `input`, a height and a width.
    ///
    /// # Panics
    ///
    /// The window is larger than the padded picture, or a stride is zero.
    pub fn output_size(&self, input: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|axis| {
            let padded = input[axis] + self.before[axis] + self.after[axis];
            assert!(padded >= self.kernel[axis], "a window of {:?} on a picture of {input:?}", self.kernel);
            (padded - self.kernel[axis]) / self.stride[axis] + 1
        })
    }

    /// Whether each output pixel comes from the one input pixel at its own place.
    pub(crate) fn is_pointwise(&self) -> bool {
        *self == Self::POINTWISE
    }
}
