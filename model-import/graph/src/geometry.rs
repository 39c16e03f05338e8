//! Windows of convolutions and of pooling.

/// Size, stride and padding of a window. Pairs are `[vertical, horizontal]`, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Distance between neighbouring output pixels.
    pub stride: [usize; 2],
    /// Zeros above and on the left.
    pub before: [usize; 2],
    /// Zeros below and on the right.
    pub after: [usize; 2],
}

impl Geometry {
    /// One pixel, stride one, no padding.
    pub const POINTWISE: Self = Self { kernel: [1, 1], stride: [1, 1], before: [0, 0], after: [0, 0] };

    /// Height and width of the output for an input of this height and width. `None` if the window is larger than the padded
    /// input, a stride is zero, or a size overflows.
    pub fn output_size(&self, input: [usize; 2]) -> Option<[usize; 2]> {
        let along = |axis: usize| {
            let padded = input[axis].checked_add(self.before[axis])?.checked_add(self.after[axis])?;
            padded.checked_sub(self.kernel[axis])?.checked_div(self.stride[axis])?.checked_add(1)
        };
        Some([along(0)?, along(1)?])
    }

    /// Whether each output pixel depends only on the input pixel at the same position.
    pub fn is_pointwise(&self) -> bool {
        *self == Self::POINTWISE
    }

    /// Whether the kernels have a depthwise convolution for it: square windows of 3, 5 or 7, strides of 1 or 2.
    pub fn has_depthwise_kernel(&self) -> bool {
        let Self { kernel, stride, .. } = self;
        let square = kernel[0] == kernel[1] && stride[0] == stride[1];
        square && matches!(kernel[0], 3 | 5 | 7) && matches!(stride[0], 1 | 2)
    }
}
