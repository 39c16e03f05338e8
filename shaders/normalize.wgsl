// Packed u8 pictures (NHWC, four bytes a word, first byte lowest) -> normalised f32 (NCHW).
// One invocation a pixel: y = (x - mean[c]) * inv_std[c].
// Every buffer is read_write because the runtime may place them all in one allocation, and a buffer
// must not be bound as read-only and as writable in the same dispatch.

@group(0) @binding(0) var<storage, read_write> packed: array<u32>;
@group(0) @binding(1) var<storage, read_write> affine: array<f32>; // mean r, g, b, inv_std r, g, b
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

const PLANE: u32 = {{ plane }}u;        // pixels in one picture: height * width
const WORKGROUP: u32 = {{ workgroup }}u;

fn byte_at(index: u32) -> f32 {
    return f32((packed[index / 4u] >> ((index % 4u) * 8u)) & 255u);
}

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // Two grid dimensions, because one holds at most 65,535 groups.
    let pixel = (group.y * groups.x + group.x) * WORKGROUP + lane;
    if pixel * 3u >= arrayLength(&output) {
        return;
    }
    let first = (pixel / PLANE) * 3u * PLANE + pixel % PLANE;
    for (var channel = 0u; channel < 3u; channel++) {
        let value = byte_at(pixel * 3u + channel);
        output[first + channel * PLANE] = (value - affine[channel]) * affine[3u + channel];
    }
}
