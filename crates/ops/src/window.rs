//! Windows that slide over images, shared by convolutions and pooling.

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

    /// Returns the output's height and width. `None` if the window is larger than the padded image, a stride is zero, or a size
    /// overflows.
    pub fn checked_output_size(&self, input: [usize; 2]) -> Option<[usize; 2]> {
        let along = |axis: usize| {
            let padded = input[axis].checked_add(self.before[axis])?.checked_add(self.after[axis])?;
            padded.checked_sub(self.kernel[axis])?.checked_div(self.stride[axis])?.checked_add(1)
        };
        Some([along(0)?, along(1)?])
    }

    /// Returns whether each output pixel depends only on the input pixel at the same position.
    pub fn is_pointwise(&self) -> bool {
        *self == Self::POINTWISE
    }

    /// Returns whether the kernels have a depthwise convolution for it: square windows of side 3, 5 or 7 with stride 1 or 2.
    pub fn has_depthwise_kernel(&self) -> bool {
        let Self { kernel, stride, .. } = self;
        let square = kernel[0] == kernel[1] && stride[0] == stride[1];
        square && matches!(kernel[0], 3 | 5 | 7) && matches!(stride[0], 1 | 2)
    }
}

/// The function that a window applies to its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The maximum, without the padding.
    Max,
    /// The mean, without the padding.
    Average,
    /// The sum of the values, divided by the size of the window.
    AverageWithPadding,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts the positions of a window by moving it.
    fn count(size: usize, kernel: usize, stride: usize, padding: usize) -> usize {
        (0..).step_by(stride).take_while(|start| start + kernel <= size + padding).count()
    }

    #[test]
    fn output_has_a_pixel_for_each_position_of_the_window() {
        for (kernel, stride, before) in
            (1..9).flat_map(|kernel| (1..4).flat_map(move |stride| (0..3).map(move |before| (kernel, stride, before))))
        {
            let strides = [stride, stride.min(2)];
            let window = Geometry { kernel: [kernel; 2], stride: strides, before: [before, 1], after: [1, before] };
            for [height, width] in [[8, 9], [3, 7], [1, 1]] {
                let rows = count(height, kernel, strides[0], before + 1);
                let columns = count(width, kernel, strides[1], 1 + before);
                let expected = (rows > 0 && columns > 0).then_some([rows, columns]);
                assert_eq!(window.checked_output_size([height, width]), expected, "{window:?} {height}x{width}");
            }
        }
        let no_stride = Geometry { stride: [0, 1], ..Geometry::POINTWISE };
        assert_eq!(no_stride.checked_output_size([8, 8]), None);
        let too_much = Geometry { before: [usize::MAX, 0], ..Geometry::POINTWISE };
        assert_eq!(too_much.checked_output_size([8, 8]), None);
    }
}
