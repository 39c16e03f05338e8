//! Adapts a network that was read from a file to what engines expect: RGB images in, one logit per class out.

use burn::tensor::Tensor;
use kiln_kernels::Layout;
use model_import::Network;

use crate::model::ModelSpec;
use crate::model::onnx_model::{InputInfo, OnnxSource, OutputKind};

/// The weights of red, green and blue in grayscale (ITU-R BT.601), as in Pillow's conversion to `L`.
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// Wraps `network`, which was loaded from `source`, if its input or output differs from what engines expect.
pub(super) fn adapt(network: Box<dyn Network>, source: &dyn OnnxSource, spec: &ModelSpec) -> Box<dyn Network> {
    let InputInfo { channels, .. } = *source.input();
    let is_binary = source.output().kind == OutputKind::Binary;
    if channels == 3 && !is_binary {
        return network;
    }
    // The alpha channel is normalised as red is.
    let opaque = (255.0 - spec.mean[0]) / spec.std[0];
    Box::new(AdaptedNetwork { network, channels, opaque, is_binary })
}

struct AdaptedNetwork {
    network: Box<dyn Network>,
    channels: usize,
    /// The normalised value of an opaque pixel.
    opaque: f32,
    /// Whether the network has one logit for two classes.
    is_binary: bool,
}

impl AdaptedNetwork {
    /// Converts RGB to the channels of the network.
    fn with_channels(&self, images: Tensor<4>) -> Tensor<4> {
        let axis = match self.network.layout() {
            Layout::ChannelsFirst => 1,
            Layout::ChannelsLast => 3,
        };
        match self.channels {
            1 => {
                let channel = |index: usize| images.clone().narrow(axis, index, 1).mul_scalar(LUMA[index]);
                channel(0).add(channel(1)).add(channel(2))
            }
            4 => {
                let alpha = images.clone().narrow(axis, 0, 1).ones_like().mul_scalar(self.opaque);
                Tensor::cat(vec![images, alpha], axis)
            }
            _ => images,
        }
    }
}

impl Network for AdaptedNetwork {
    fn layout(&self) -> Layout {
        self.network.layout()
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let logits = self.network.forward(self.with_channels(images));
        if !self.is_binary {
            return logits;
        }
        // The softmax of 0 and x is 1 - sigmoid(x) and sigmoid(x).
        Tensor::cat(vec![logits.zeros_like(), logits], 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, TensorData};

    /// Returns the values of the first pixel, or the first one twice.
    #[derive(Debug)]
    struct FirstPixel;

    impl Network for FirstPixel {
        fn layout(&self) -> Layout {
            Layout::ChannelsFirst
        }

        fn forward(&self, images: Tensor<4>) -> Tensor<2> {
            let [batch, channels, _, _] = images.dims();
            images.narrow(2, 0, 1).narrow(3, 0, 1).reshape([batch, channels])
        }
    }

    fn run(channels: usize, is_binary: bool) -> Vec<f32> {
        let device = crate::device::choose(&crate::DeviceChoice::Cpu).unwrap().device;
        let network = AdaptedNetwork { network: Box::new(FirstPixel), channels, opaque: 1.5, is_binary };
        let data = TensorData::new(vec![1.0_f32, 1.0, 2.0, 2.0, 4.0, 4.0], [1, 3, 1, 2]);
        let output = network.forward(Tensor::from_data(data, &device)).try_into_data_dtype(DType::F32).unwrap();
        output.as_slice::<f32>().unwrap().to_vec()
    }

    #[test]
    fn rgb_becomes_grayscale_or_gets_an_opaque_alpha() {
        let gray = run(1, false);
        assert!((gray[0] - (0.299 + 2.0 * 0.587 + 4.0 * 0.114)).abs() < 1e-6, "{gray:?}");
        assert_eq!(run(4, false), [1.0, 2.0, 4.0, 1.5]);
    }

    #[test]
    fn one_logit_becomes_two() {
        let two = run(1, true);
        assert!(two.len() == 2 && two[0] == 0.0 && two[1] > 1.0, "{two:?}");
    }
}
