// The same where the input's channels are no multiple of four, as those of a picture: each tap's last quad is filled up
// with zeros.

@group(0) @binding(0) var<storage, read_write> input: array<scalar>;

fn value(window: Place, k: u32) -> vec4<f32> {
    let quads = (info.channels + 3u) / 4u;
    let pixel = pixel_under(window, k / quads);
    let channel = k % quads * 4u;
    let first = u32(max(pixel, 0)) * info.channels;
    var value = vec4<f32>();
    for (var i = 0u; i < 4u; i++) {
        // What lies beyond belongs to another pixel, perhaps of another picture, and may be anything.
        let is_here = pixel >= 0 && channel + i < info.channels;
        value[i] = select(0.0, f32(input[first + min(channel + i, info.channels - 1u)]), is_here);
    }
    return value;
}
