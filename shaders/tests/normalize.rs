//! Each implementation of normalisation against the formula, on every device of this machine.

mod vulkan;

use burn::tensor::Device;
use kiln_kernels::{Kernels, Layout, Normalizer};

const MEAN: [f32; 3] = [123.675, 116.28, 103.53];
const STD: [f32; 3] = [58.395, 57.12, 57.375];
/// An odd size, so that pictures do not end on word borders, and more pixels than one workgroup has.
const BATCH: usize = 3;
const HEIGHT: usize = 15;
const WIDTH: usize = 21;

fn pixels() -> Vec<u8> {
    (0..BATCH * HEIGHT * WIDTH * 3).map(|i| (i * 7919 % 256) as u8).collect()
}

/// `y[n, c, h, w] = (x[n, h, w, c] - mean[c]) / std[c]`, written down plainly.
fn expected(pixels: &[u8]) -> Vec<f32> {
    let mut output = Vec::new();
    for picture in pixels.chunks(HEIGHT * WIDTH * 3) {
        for channel in 0..3 {
            output.extend(
                picture.iter().skip(channel).step_by(3).map(|x| (f32::from(*x) - MEAN[channel]) / STD[channel]),
            );
        }
    }
    output
}

fn check(device: &Device, kernels: Kernels) {
    let pixels = pixels();
    let normalizer = Normalizer::new(device, kernels, MEAN, STD);
    let planes = normalizer.run(&pixels, BATCH, HEIGHT, WIDTH, Layout::ChannelsFirst);
    assert_eq!(planes.dims(), [BATCH, 3, HEIGHT, WIDTH]);
    let interleaved = normalizer.run(&pixels, BATCH, HEIGHT, WIDTH, Layout::ChannelsLast);
    assert_eq!(interleaved.dims(), [BATCH, HEIGHT, WIDTH, 3]);
    let values = interleaved.permute([0, 3, 1, 2]).into_data();
    assert_eq!(values.as_slice::<f32>().unwrap(), planes.clone().into_data().as_slice::<f32>().unwrap());
    let values = planes.into_data();
    let values = values.as_slice::<f32>().unwrap();
    for (index, (ours, expected)) in values.iter().zip(expected(&pixels)).enumerate() {
        assert!((ours - expected).abs() < 1e-5, "{kernels}: value {index} is {ours}, not {expected}");
    }
}

#[test]
fn the_cpu_kernel_and_its_twin_follow_the_formula() {
    let device = Device::flex();
    assert_eq!(Kernels::best_for(&device), Kernels::HandWritten);
    check(&device, Kernels::HandWritten);
    check(&device, Kernels::Plain);
}

#[test]
fn the_gpu_kernel_and_its_twin_follow_the_formula() {
    let Some(device) = vulkan::device() else { return };
    if cfg!(not(any(feature = "vulkan", feature = "metal"))) {
        assert_eq!(Kernels::best_for(&device), Kernels::HandWritten);
        check(&device, Kernels::HandWritten);
    }
    check(&device, Kernels::Plain);
}

#[test]
#[should_panic(expected = "pixels of 1 pictures of 2x2")]
fn pixels_that_do_not_fit_the_shape_are_a_bug() {
    Normalizer::new(&Device::flex(), Kernels::Plain, MEAN, STD).run(&[0; 11], 1, 2, 2, Layout::ChannelsFirst);
}
