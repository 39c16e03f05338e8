//! A network of layers with their weights. The values of convolutional networks are float32 in NHWC: `[batch, height, width,
//! channels]`.

use kiln_ops::{Activation, Geometry, Pooling};

use crate::host::Array;
use crate::tensor_op::TensorOp;

/// The number of a value: the network's input, or the output of a layer.
pub type Value = usize;

/// A network whose layers are in execution order.
#[derive(Clone, Debug)]
pub struct Network {
    /// The layers. Each reads values that earlier layers produce, or the input.
    pub layers: Vec<Layer>,
    /// Height and width of the input image, which has three channels.
    pub image_size: [usize; 2],
    /// The input image.
    pub input: Value,
    /// The logits, `[batch, 1, 1, classes]`.
    pub output: Value,
    /// The number of classes.
    pub classes: usize,
}

/// One step of a network.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Operator and name of the ONNX node that the layer was created from.
    pub node: String,
    /// The value that the layer produces.
    pub output: Value,
    /// The values that the layer reads.
    pub inputs: Vec<Value>,
    /// The operation.
    pub kind: LayerKind,
}

/// The operation of a layer.
#[derive(Clone, Debug)]
pub enum LayerKind {
    /// A convolution of the first input; the second input, if there is one, is a residual that is added before the activation.
    Conv(Conv),
    /// Dense, depthwise and pointwise convolution in a row, with an optional residual as in `Conv`.
    InvertedBottleneck(Box<[Conv; 3]>),
    /// Dense and depthwise convolution in a row. Only [`Classifier`](crate::Classifier) has it.
    ExpandedDepthwise(Box<[Conv; 2]>),
    /// Pooling under a window.
    Pool(Pooling, Geometry),
    /// The mean of each channel.
    GlobalAveragePool,
    /// Each channel of the first input times its value in the second, which is `[batch, 1, 1, channels]`.
    Scale,
    /// An elementwise function that no convolution absorbed.
    Activation(Activation),
    /// A sum of two values that no convolution absorbed.
    Add,
    /// Zero padding that no convolution absorbed: top, left, bottom, right.
    Pad([usize; 4]),
    /// A batch norm that no convolution absorbed: `factor * x + summand` for each channel.
    Affine {
        /// One factor for each channel.
        factor: Vec<f32>,
        /// One summand for each channel.
        summand: Vec<f32>,
    },
    /// A tensor with known values. It has no inputs.
    Constant(Array<f32>),
    /// An operation without a fused kernel.
    Tensor(TensorOp),
}

/// A convolution with its weights.
#[derive(Clone, Debug)]
pub struct Conv {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Window, stride and padding.
    pub geometry: Geometry,
    /// Groups of channels: an output channel reads the input channels of its group. A depthwise convolution has as many groups
    /// as channels.
    pub groups: usize,
    /// Distance between neighbouring elements of the window.
    pub dilation: [usize; 2],
    /// Function that is applied to the result.
    pub activation: Activation,
    /// `[outputs, inputs / groups, height, width]`.
    pub weight: Vec<f32>,
    /// `[outputs]`.
    pub bias: Vec<f32>,
}

impl Network {
    /// Checks the number of classes.
    ///
    /// # Errors
    ///
    /// The network computes another number of classes than the file or the labels declare.
    pub fn check_classes(&self, declared: usize) -> Result<(), String> {
        if self.classes == declared {
            return Ok(());
        }
        Err(format!(
            "its last layer gives {} numbers, but the file or the labels declare {declared} classes. Correct the axis of its \
             output, or the labels, whichever is wrong.",
            self.classes
        ))
    }
}

impl LayerKind {
    /// The convolution, if it is a single one.
    pub fn as_conv(&self) -> Option<&Conv> {
        match self {
            Self::Conv(conv) => Some(conv),
            _ => None,
        }
    }

    /// Whether Kiln has a fused kernel for the operation. The other operations are supported only inside a convolution.
    pub fn has_fused_kernel(&self) -> bool {
        matches!(
            self,
            Self::InvertedBottleneck(_)
                | Self::ExpandedDepthwise(_)
                | Self::Pool(..)
                | Self::GlobalAveragePool
                | Self::Scale
        ) || self.as_conv().is_some_and(Conv::has_kernel)
    }
}

impl Conv {
    /// Whether each channel has a filter of its own and a kernel exists for it.
    pub fn is_depthwise(&self) -> bool {
        self.groups > 1
            && [self.inputs, self.outputs] == [self.groups; 2]
            && self.dilation == [1, 1]
            && self.geometry.has_depthwise_kernel()
    }

    /// Whether it reads all channels and has no dilation.
    pub fn is_dense(&self) -> bool {
        self.groups == 1 && self.dilation == [1, 1]
    }

    /// Whether Kiln has a fused kernel for it.
    pub fn has_kernel(&self) -> bool {
        self.is_dense() || self.is_depthwise()
    }
}
