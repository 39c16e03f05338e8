// The input of a convolution whose input channels are not a multiple of four, for example those of an RGB image. The last
// quad of each tap is padded with zeros.

@group(0) @binding(0) var<storage, read_write> input: array<scalar>;

fn load(window: Window, k: u32) -> vec4<f32> {
    let quads = (info.channels + 3u) / 4u;
    let pixel = pixel_under(window, k / quads);
    let channel = k % quads * 4u;
    let first = u32(max(pixel, 0)) * info.channels;
    var value = vec4<f32>();
    for (var i = 0u; i < 4u; i++) {
        // Values beyond the channels belong to another pixel and must not enter the sum.
        let is_here = pixel >= 0 && channel + i < info.channels;
        value[i] = select(0.0, f32(input[first + min(channel + i, info.channels - 1u)]), is_here);
    }
    return value;
}
