// Pooling by a window. Each lane computes one quad of channels of one output pixel. A window as large as the image is global
// pooling.

struct Info {
    pixels: u32,       // output pixels of the whole batch
    channels: u32,     // in quads
    height: u32,
    width: u32,
    out_height: u32,
    out_width: u32,
    window_height: u32,
    window_width: u32,
    stride_y: u32,
    stride_x: u32,
    top: u32,
    left: u32,
    kind: u32,         // 0: maximum; 1: mean without padding; 2: sum divided by the size of the window
}

@group(0) @binding(0) var<storage, read_write> input: array<vec4<scalar>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<scalar>>;
@group(0) @binding(2) var<storage, read> info: Info;

fn run(group: u32, lane: u32) {
    let index = group * LANES + lane;
    let quad = index % info.channels;
    let pixel = index / info.channels;
    if pixel >= info.pixels {
        return;
    }
    let x = pixel % info.out_width * info.stride_x;
    let line = pixel / info.out_width;
    let y = line % info.out_height * info.stride_y;
    let image = line / info.out_height * info.height;
    // The window, clipped to the image.
    let rows = vec2<u32>(max(y, info.top) - info.top, min(y + info.window_height, info.top + info.height) - info.top);
    let columns = vec2<u32>(max(x, info.left) - info.left, min(x + info.window_width, info.left + info.width) - info.left);
    let lowest = bitcast<f32>(0xff7fffffu);
    var result = select(vec4<f32>(), vec4<f32>(lowest), info.kind == 0u);
    for (var i = rows.x; i < rows.y; i++) {
        for (var j = columns.x; j < columns.y; j++) {
            let value = vec4<f32>(input[((image + i) * info.width + j) * info.channels + quad]);
            result = select(result + value, max(result, value), info.kind == 0u);
        }
    }
    let counted = select(info.window_height * info.window_width, (rows.y - rows.x) * (columns.y - columns.x), info.kind == 1u);
    let divisor = select(f32(counted), 1.0, info.kind == 0u);
    output[index] = vec4<scalar>(result / divisor);
}
