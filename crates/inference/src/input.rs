//! Samples to the tensor that a network takes: pictures are uploaded as u8 and normalised on the device, where need be
//! resized there too, and tensors go as they are.

use std::cell::RefCell;

use burn::tensor::{DType, Device, Tensor, TensorData};
use kiln_kernels::resize::{Filter, Orientation, SourceImage};
use kiln_kernels::{Layout, Normalizer};
use model_import::ModelSpec;

use super::engine::Sample;
use kiln_image::{self as image, CropRegion};

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
            _ if samples.iter().any(|sample| matches!(sample, Sample::CropRegion(_))) => self.resized(samples, size),
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

    /// Pictures that are of the model's size already stand among the others as their own cut-outs.
    fn resized(&self, samples: &[&Sample], size: usize) -> Tensor<4> {
        let mut pictures: Vec<SourceImage<'_>> = samples.iter().filter_map(|sample| uncut(sample)).collect();
        let padding = SourceImage { pixels: &[0; 3], size: [1, 1], start: [0, 0], length: [1, 1], ..pictures[0] };
        pictures.resize(size, padding);
        let tensor = self.normalizer.resize(&pictures, self.height, self.width);
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

/// What is to be resized of a sample.
fn uncut(sample: &Sample) -> Option<SourceImage<'_>> {
    match sample {
        Sample::CropRegion(cutout) => Some(source_of(cutout)),
        Sample::Picture(picture) => {
            let size = [picture.width(), picture.height()];
            let (orientation, filter) = (Orientation::default(), Filter::Bilinear);
            Some(SourceImage {
                pixels: picture.pixels(),
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

/// Translates the image crate's terms into those of the kernels; the two crates do not know each other.
pub fn source_of(cutout: &CropRegion) -> SourceImage<'_> {
    let [mirrored_x, mirrored_y] = cutout.mirrored;
    SourceImage {
        pixels: &cutout.pixels,
        size: cutout.size,
        start: cutout.start,
        length: cutout.length,
        orientation: Orientation { transposed: cutout.swapped, mirrored_x, mirrored_y },
        rows_first: cutout.rows_first,
        filter: match cutout.filter {
            image::Filter::Bilinear => Filter::Bilinear,
            image::Filter::Bicubic => Filter::Bicubic,
            image::Filter::Lanczos3 => Filter::Lanczos,
        },
    }
}
