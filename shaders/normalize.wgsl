// Normalises packed u8 images (NHWC, four bytes in a word, the first byte lowest): y = (x - mean[c]) * inv_std[c].
// Each lane normalises one word. In NHWC a value keeps the index of its byte; in NCHW it goes to the plane of its channel.
// Tensor buffers are read_write for the reason given in layer.wgsl.

struct Info {
    values: u32, // in the whole batch
    plane: u32,  // pixels of one image, or 0 for NHWC
}

@group(0) @binding(0) var<storage, read_write> packed: array<u32>;
@group(0) @binding(1) var<storage, read_write> affine: array<f32>; // mean r, g, b, inv_std r, g, b
@group(0) @binding(2) var<storage, read_write> output: array<scalar>;
@group(0) @binding(3) var<storage, read> info: Info;

fn run(group: u32, lane: u32) {
    let word = group * LANES + lane;
    if word * 4u >= info.values {
        return;
    }
    let bytes = unpack4xU8(packed[word]);
    for (var i = 0u; i < min(4u, info.values - word * 4u); i++) {
        let index = word * 4u + i;
        let channel = index % 3u;
        let value = (f32(bytes[i]) - affine[channel]) * affine[3u + channel];
        output[destination(index, channel)] = scalar(value);
    }
}

fn destination(index: u32, channel: u32) -> u32 {
    if info.plane == 0u {
        return index;
    }
    let pixel = index / 3u;
    return (pixel / info.plane * 3u + channel) * info.plane + pixel % info.plane;
}
