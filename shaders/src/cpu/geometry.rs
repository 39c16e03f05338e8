//! How a window moves over a picture: shared by convolution and pooling, and, as a file, by the build script of
//! model-import, which must not have Burn built to know it. So it depends on nothing.

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
        let size = self.checked_output_size(input);
        size.unwrap_or_else(|| panic!("a window of {:?} on a picture of {input:?}", self.kernel))
    }

    /// The same, or nothing if the window is larger than the padded picture.
    ///
    /// # Panics
    ///
    /// A stride is zero.
    pub fn checked_output_size(&self, input: [usize; 2]) -> Option<[usize; 2]> {
        let along = |axis: usize| {
            let padded = input[axis] + self.before[axis] + self.after[axis];
            Some(padded.checked_sub(self.kernel[axis])? / self.stride[axis] + 1)
        };
        Some([along(0)?, along(1)?])
    }

    /// Whether each output pixel comes from the one input pixel at its own place.
    pub fn is_pointwise(&self) -> bool {
        *self == Self::POINTWISE
    }

    /// Whether there is a depthwise kernel for it: square windows of 3, 5 or 7, steps of 1 or 2.
    pub fn has_depthwise_kernel(&self) -> bool {
        let Self { kernel, stride, .. } = self;
        let square = kernel[0] == kernel[1] && stride[0] == stride[1];
        square && matches!(kernel[0], 3 | 5 | 7) && matches!(stride[0], 1 | 2)
    }
}
