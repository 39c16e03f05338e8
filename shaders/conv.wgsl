// Where a convolution with a window finds its values: tap by tap, in each the channels of a pixel.

@group(0) @binding(0) var<storage, read_write> input: array<vec4<scalar>>;

fn value(window: Place, k: u32) -> vec4<f32> {
    let pixel = pixel_under(window, k / info.channels);
    let value = input[u32(max(pixel, 0)) * info.channels + k % info.channels];
    return select(vec4<f32>(), vec4<f32>(value), pixel >= 0);
}
