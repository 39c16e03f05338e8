// The input of a convolution with a window: tap by tap, and for each tap the channels of a pixel.

@group(0) @binding(0) var<storage, read_write> input: array<vec4<scalar>>;

fn load(window: Window, k: u32) -> vec4<f32> {
    let pixel = pixel_under(window, k / info.channels);
    let value = input[u32(max(pixel, 0)) * info.channels + k % info.channels];
    return select(vec4<f32>(), vec4<f32>(value), pixel >= 0);
}
