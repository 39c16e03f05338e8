//! The geometry of a window that slides over an image, shared by convolution and pooling.

/// The size, stride and padding of a window. Each pair is `[vertical, horizontal]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Input pixels between two neighbouring output pixels.
    pub stride: [usize; 2],
    /// Padding above and on the left.
    pub before: [usize; 2],
    /// Padding below and on the right.
    pub after: [usize; 2],
}

impl Geometry {
    /// A window of one pixel with stride 1 and no padding.
    pub const POINTWISE: Self = Self { kernel: [1, 1], stride: [1, 1], before: [0, 0], after: [0, 0] };

    /// Returns the output's height and width for an `input` height and width.
    ///
    /// # Panics
    ///
    /// Panics if the window is larger than the padded image, or if a stride is zero.
    pub fn output_size(&self, input: [usize; 2]) -> [usize; 2] {
        let size = self.checked_output_size(input);
        size.unwrap_or_else(|| panic!("a window of {:?} is larger than the padded image of {input:?}", self.kernel))
    }

    /// Returns the output's height and width, or `None` if the window is larger than the padded image.
    ///
    /// # Panics
    ///
    /// Panics if a stride is zero.
    pub fn checked_output_size(&self, input: [usize; 2]) -> Option<[usize; 2]> {
        let along = |axis: usize| {
            let padded = input[axis] + self.before[axis] + self.after[axis];
            Some(padded.checked_sub(self.kernel[axis])? / self.stride[axis] + 1)
        };
        Some([along(0)?, along(1)?])
    }

    /// Returns whether each output pixel depends only on the input pixel at the same position.
    pub fn is_pointwise(&self) -> bool {
        *self == Self::POINTWISE
    }

    /// Returns whether a depthwise CPU kernel exists: square windows of side 3, 5 or 7 with stride 1 or 2.
    pub fn has_depthwise_kernel(&self) -> bool {
        let Self { kernel, stride, .. } = self;
        let square = kernel[0] == kernel[1] && stride[0] == stride[1];
        square && matches!(kernel[0], 3 | 5 | 7) && matches!(stride[0], 1 | 2)
    }
}
