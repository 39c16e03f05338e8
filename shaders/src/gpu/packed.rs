//! A convolution's weights as the WGSL programs want them: rows of quads, filled up with zeros.

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::cpu::ConvSpec;

/// Weights on a device.
#[derive(Clone, Debug)]
pub(crate) struct PackedConv {
    /// Dense: `[4 * taps * input quads, 4 * output quads]`. Depthwise: `[taps, 4 * output quads]`.
    pub(crate) weight: Tensor<2>,
    /// f32 `[4 * output quads]`.
    pub(crate) bias: Tensor<1>,
}

impl PackedConv {
    /// Packs `weight`, `[outputs, inputs / groups, height, width]`, and `bias`, `[outputs]`, for tensors of `dtype`.
    pub(crate) fn pack(spec: &ConvSpec, weight: &[f32], bias: &[f32], dtype: DType, device: &Device) -> Self {
        let [height, width] = spec.geometry.kernel;
        let (taps, inputs) = (height * width, if spec.depthwise { 1 } else { spec.inputs });
        let columns = spec.outputs.next_multiple_of(4);
        let depth = if spec.depthwise { 1 } else { inputs.next_multiple_of(4) };
        let mut rows = vec![0.0; taps * depth * columns];
        for (output, weights) in weight.chunks_exact(inputs * taps).enumerate() {
            for (index, value) in weights.iter().enumerate() {
                let (channel, tap) = (index / taps, index % taps);
                rows[(tap * depth + channel) * columns + output] = *value;
            }
        }
        let mut padded = bias.to_vec();
        padded.resize(columns, 0.0);
        Self {
            weight: Tensor::from_data(TensorData::new(rows, [taps * depth, columns]), (device, dtype)),
            bias: Tensor::from_data(TensorData::new(padded, [columns]), (device, DType::F32)),
        }
    }
}
