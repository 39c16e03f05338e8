// Depthwise convolution. Each lane computes one quad of channels of four neighbouring output pixels, so that it reads a
// weight once for four pixels. It does not use workgroup memory: only the lanes of one window read the same load, and the
// cache holds it.

@group(0) @binding(0) var<storage, read_write> input: array<vec4<scalar>>;

fn run(group: u32, lane: u32) {
    let index = group * LANES + lane;
    let quad = index % info.columns;
    let strips = (info.out_width + 3u) / 4u;
    let strip = index / info.columns;
    let x = strip % strips * 4u;
    let line = strip / strips;
    if line * info.out_width >= info.rows {
        return;
    }
    let top = i32(line % info.out_height * info.stride_y) - i32(info.top);
    let left = i32(x * info.stride_x) - i32(info.left);
    let image = i32(line / info.out_height * info.height);
    let step = i32(info.stride_x);
    let taps = i32(info.depth / info.window);
    var first = bias[quad];
    var second = first;
    var third = first;
    var fourth = first;
    for (var i = max(-top, 0); i < min(taps, i32(info.height) - top); i++) {
        let row = (image + top + i) * i32(info.width);
        for (var j = 0; j < i32(info.window); j++) {
            let factor = vec4<f32>(weight[u32(i * i32(info.window) + j) * info.columns + quad]);
            first = fma(load(row, left + j, quad), factor, first);
            second = fma(load(row, left + j + step, quad), factor, second);
            third = fma(load(row, left + j + 2 * step, quad), factor, third);
            fourth = fma(load(row, left + j + 3 * step, quad), factor, fourth);
        }
    }
    let pixel = line * info.out_width + x;
    let here = info.out_width - x;
    store(pixel, quad, first);
    if here > 1u {
        store(pixel + 1u, quad, second);
    }
    if here > 2u {
        store(pixel + 2u, quad, third);
    }
    if here > 3u {
        store(pixel + 3u, quad, fourth);
    }
}

// Returns a quad of the pixel in column `x`, or zero in the padding.
fn load(row: i32, x: i32, quad: u32) -> vec4<f32> {
    let inside = x >= 0 && x < i32(info.width);
    let at = u32(row + clamp(x, 0, i32(info.width) - 1)) * info.columns + quad;
    return select(vec4<f32>(), vec4<f32>(input[at]), inside);
}
