//! Samples to the tensor that a network takes: pictures are uploaded as u8 and normalised on the device, tensors go as
//! they are.

use std::cell::RefCell;

use burn::tensor::{DType, Device, Tensor, TensorData};
use kiln_kernels::{Layout, Normalizer};
use model_import::ModelSpec;

use super::engine::Sample;

/// Prepares the input of one model on one device.
#[derive(Clone)]
pub(super) struct Input {
    normalizer: Normalizer,
    device: Device,
    dtype: DType,
    layout: Layout,
    height: usize,
    width: usize,
}

thread_local! {
    /// Pixels of a batch or of a thread's part of it, kept to be filled again.
    static PIXELS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Input {
    /// `dtype` is what the network's tensors hold.
    pub(super) fn new(device: &Device, dtype: DType, layout: Layout, spec: &ModelSpec) -> Self {
        Self {
            normalizer: Normalizer::new(device, dtype, spec.mean, spec.std),
            device: device.clone(),
            dtype,
            layout,
            height: spec.height as usize,
            width: spec.width as usize,
        }
    }

    /// `size` rows, of which those beyond the samples are padding. All samples are of the same kind.
    ///
    /// # Panics
    ///
    /// A sample is not of the model's size.
    pub(super) fn tensor(&self, samples: &[&Sample], size: usize) -> Tensor<4> {
        match samples.first() {
            Some(Sample::Tensor(_)) => self.uploaded(samples, size),
            _ => self.normalised(samples, size),
        }
    }

    fn normalised(&self, samples: &[&Sample], size: usize) -> Tensor<4> {
        PIXELS.with_borrow_mut(|pixels| {
            pixels.clear();
            for sample in samples {
                if let Sample::Picture(picture) = sample {
                    pixels.extend_from_slice(picture.pixels());
                }
            }
            pixels.resize(size * self.width * self.height * 3, 0);
            self.normalizer.run(pixels, size, self.height, self.width, self.layout)
        })
    }

    fn uploaded(&self, samples: &[&Sample], size: usize) -> Tensor<4> {
        let mut values = Vec::with_capacity(size * 3 * self.height * self.width);
        for sample in samples {
            if let Sample::Tensor(row) = sample {
                values.extend_from_slice(row);
            }
        }
        values.resize(size * 3 * self.height * self.width, 0.0);
        let data = TensorData::new(values, [size, 3, self.height, self.width]);
        let planes = Tensor::from_data(data, (&self.device, self.dtype));
        match self.layout {
            Layout::ChannelsFirst => planes,
            Layout::ChannelsLast => planes.permute([0, 2, 3, 1]),
        }
    }
}
