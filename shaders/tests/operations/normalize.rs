//! Each implementation of normalisation against its formula.

use burn::tensor::{DType, Device, Tensor};
use kiln_kernels::{Kernels, Layout, Normalizer, Tiles};

use crate::vulkan;

const MEAN: [f32; 3] = [123.675, 116.28, 103.53];
const STD: [f32; 3] = [58.395, 57.12, 57.375];
/// An odd size, so that images do not end at word borders, and more pixels than one workgroup processes.
const BATCH: usize = 3;
const HEIGHT: usize = 15;
const WIDTH: usize = 21;

fn pixels() -> Vec<u8> {
    (0..BATCH * HEIGHT * WIDTH * 3).map(|i| (i * 7919 % 256) as u8).collect()
}

/// Computes `y[n, c, h, w] = (x[n, h, w, c] - mean[c]) / std[c]`.
fn expected(pixels: &[u8]) -> Vec<f32> {
    let mut output = Vec::new();
    for image in pixels.chunks(HEIGHT * WIDTH * 3) {
        for channel in 0..3 {
            output
                .extend(image.iter().skip(channel).step_by(3).map(|x| (f32::from(*x) - MEAN[channel]) / STD[channel]));
        }
    }
    output
}

fn check(device: &Device, kernels: Kernels, dtype: DType, tolerance: f32) {
    let pixels = pixels();
    let normalizer = Normalizer::new(device, dtype, MEAN, STD);
    let run = |layout| kernels.scope(|| normalizer.run(&pixels, BATCH, HEIGHT, WIDTH, layout));
    let planes = run(Layout::ChannelsFirst);
    assert_eq!((planes.dims(), planes.dtype()), ([BATCH, 3, HEIGHT, WIDTH], dtype));
    let interleaved = run(Layout::ChannelsLast);
    assert_eq!((interleaved.dims(), interleaved.dtype()), ([BATCH, HEIGHT, WIDTH, 3], dtype));
    let values = |tensor: Tensor<4>| tensor.cast(DType::F32).into_data().try_into_vec::<f32>().unwrap();
    let ours = values(planes);
    assert_eq!(values(interleaved.permute([0, 3, 1, 2])), ours);
    for (index, (ours, expected)) in ours.iter().zip(expected(&pixels)).enumerate() {
        assert!((ours - expected).abs() < tolerance, "{kernels}: value {index} is {ours}, not {expected}");
    }
}

#[test]
fn cpu_kernel_and_reference_match_formula() {
    let device = Device::flex();
    assert_eq!(Kernels::best_for(&device), Kernels::Fused(Tiles::Registers));
    check(&device, Kernels::best_for(&device), DType::F32, 1e-5);
    check(&device, Kernels::Stock, DType::F32, 1e-5);
}

#[test]
fn gpu_kernel_and_reference_match_formula() {
    let Some(device) = vulkan::device() else { return };
    let mut kernels = vec![Kernels::Stock];
    if cfg!(not(any(feature = "vulkan", feature = "metal"))) {
        assert_eq!(Kernels::best_for(&device), Kernels::Fused(Tiles::Workgroup));
        kernels.push(Kernels::best_for(&device));
    }
    for kernels in kernels {
        check(&device, kernels, DType::F32, 1e-5);
        if device.supports_dtype(DType::F16) {
            check(&device, kernels, DType::F16, 2e-3);
        }
    }
}

#[test]
#[should_panic(expected = "pixels of 1 images of 2x2")]
fn wrong_number_of_pixels_panics() {
    Normalizer::new(&Device::flex(), DType::F32, MEAN, STD).run(&[0; 11], 1, 2, 2, Layout::ChannelsFirst);
}
