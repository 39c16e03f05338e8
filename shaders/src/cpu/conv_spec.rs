//! The parameters of convolutions: those with a fused kernel, and those with groups, dilation or any depthwise window.

use kiln_ops::Activation;
use kiln_ops::Geometry;

/// The parameters of a convolution, without its weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvSpec {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Window, stride and padding.
    pub geometry: Geometry,
    /// If true, each output channel reads only the input channel of the same index; otherwise it reads all of them.
    pub depthwise: bool,
    /// The activation, applied after the residual.
    pub activation: Activation,
}

impl ConvSpec {
    /// Returns whether a CPU kernel exists: for every dense convolution, and for depthwise ones of some windows.
    pub fn is_supported(&self) -> bool {
        !self.depthwise || self.geometry.has_depthwise_kernel() && self.inputs == self.outputs
    }
}

/// The parameters of a convolution with groups, dilation or any depthwise window, without its weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeneralConvSpec {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// The channels are divided into this number of groups. Each group is a convolution by itself.
    pub groups: usize,
    /// Window, stride and padding.
    pub geometry: Geometry,
    /// Distance between neighbouring taps of the window, `[vertical, horizontal]`; 1 is a window without gaps.
    pub dilation: [usize; 2],
    /// The activation, applied after the residual.
    pub activation: Activation,
}

impl GeneralConvSpec {
    /// Returns the geometry of the window with its gaps.
    pub(super) fn dilated(&self) -> Geometry {
        let side = |axis: usize| (self.geometry.kernel[axis] - 1) * self.dilation[axis] + 1;
        Geometry { kernel: [side(0), side(1)], ..self.geometry }
    }

    /// Returns the output shape, `[count, height, width, channels]`, for an input shape.
    ///
    /// # Panics
    ///
    /// Panics if the window is larger than the padded image.
    pub fn output_shape(&self, [count, height, width, _]: [usize; 4]) -> [usize; 4] {
        let [height, width] = self.dilated().output_size([height, width]);
        [count, height, width, self.outputs]
    }

    /// Returns the fused convolution that does the same, if there is one.
    pub(super) fn fused(&self) -> Option<ConvSpec> {
        let Self { inputs, outputs, groups, geometry, dilation, activation } = *self;
        let depthwise = groups == inputs && groups != 1;
        let spec = ConvSpec { inputs, outputs, geometry, depthwise, activation };
        (dilation == [1, 1] && (depthwise || groups == 1) && spec.is_supported()).then_some(spec)
    }
}
