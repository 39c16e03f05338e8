//! Converts samples to the network's input tensor. Images are uploaded as u8 and normalised on the device, and crop regions
//! are resized there, too. Tensors are uploaded unchanged.

use std::cell::RefCell;

use burn::tensor::{DType, Device, Tensor, TensorData};
use kiln_image::{self as image, CropRegion};
use kiln_kernels::resize::{Filter, Orientation, SourceImage};
use kiln_kernels::{Layout, Normalizer};

use super::engine::Sample;
use crate::model::ModelSpec;

/// Builds the input of one model on one device.
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
    /// A reused buffer for the pixels of a batch, or of a thread's part of it.
    static PIXELS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Input {
    /// `dtype` is the type of the network's tensors.
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

    /// Builds a tensor of `size` rows. Rows after the samples are padding. All samples must be tensors, or none.
    ///
    /// # Panics
    ///
    /// Panics if a sample does not have the model's input size.
    pub(super) fn tensor(&self, samples: &[&Sample], size: usize) -> Tensor<4> {
        match samples.first() {
            Some(Sample::Tensor(_)) => self.uploaded(samples, size),
            _ if samples.iter().any(|sample| matches!(sample, Sample::CropRegion(_))) => self.resized(samples, size),
            _ => self.normalised(samples, size),
        }
    }

    fn normalised(&self, samples: &[&Sample], size: usize) -> Tensor<4> {
        PIXELS.with_borrow_mut(|pixels| {
            pixels.clear();
            for sample in samples {
                if let Sample::Image(image) = sample {
                    pixels.extend_from_slice(image.pixels());
                }
            }
            pixels.resize(size * self.width * self.height * 3, 0);
            self.normalizer.run(pixels, size, self.height, self.width, self.layout)
        })
    }

    /// Images of the model's input size are resized to their own size, so that they may be mixed with crop regions.
    fn resized(&self, samples: &[&Sample], size: usize) -> Tensor<4> {
        let mut images: Vec<SourceImage<'_>> = samples.iter().filter_map(|sample| source_image(sample)).collect();
        let padding = SourceImage { pixels: &[0; 3], size: [1, 1], start: [0, 0], length: [1, 1], ..images[0] };
        images.resize(size, padding);
        let tensor = self.normalizer.resize(&images, self.height, self.width);
        match self.layout {
            Layout::ChannelsFirst => tensor.permute([0, 3, 1, 2]),
            Layout::ChannelsLast => tensor,
        }
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

/// Returns the image that the device resizes for a sample; `None` for a tensor.
fn source_image(sample: &Sample) -> Option<SourceImage<'_>> {
    match sample {
        Sample::CropRegion(region) => Some(source_of(region)),
        Sample::Image(image) => {
            let size = [image.width(), image.height()];
            let (orientation, filter) = (Orientation::default(), Filter::Bilinear);
            Some(SourceImage {
                pixels: image.pixels(),
                size,
                start: [0, 0],
                length: size,
                orientation,
                rows_first: true,
                filter,
            })
        }
        Sample::Tensor(_) => None,
    }
}

/// Converts a region of the image crate to the type of the kernels; neither crate depends on the other.
pub fn source_of(region: &CropRegion) -> SourceImage<'_> {
    let [mirrored_x, mirrored_y] = region.mirrored;
    SourceImage {
        pixels: &region.pixels,
        size: region.size,
        start: region.start,
        length: region.length,
        orientation: Orientation { transposed: region.swapped, mirrored_x, mirrored_y },
        rows_first: region.rows_first,
        filter: match region.filter {
            image::Filter::Bilinear => Filter::Bilinear,
            image::Filter::Bicubic => Filter::Bicubic,
            image::Filter::Lanczos3 => Filter::Lanczos,
        },
    }
}
