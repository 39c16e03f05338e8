// The common part of convolutions: buffers, parameters, activation and store.
// Images are NHWC, and a quad is four neighbouring channels. Tensors store `scalar`, f32 or f16; sums are f32.
// Every tensor buffer is read_write: the runtime may place all of them in one allocation, and one dispatch must not bind a
// buffer both as read-only and as writable.

struct Info {
    rows: u32,         // output pixels of the whole batch
    columns: u32,      // output channels, in quads
    depth: u32,        // values in one sum, in quads
    across: u32,       // lanes side by side over the columns of a tile
    channels: u32,     // input channels: in quads, but in conv_narrow.wgsl in single channels
    height: u32,       // of the input
    width: u32,
    out_height: u32,
    out_width: u32,
    window: u32,       // width of the window
    stride_y: u32,
    stride_x: u32,
    top: u32,          // padding above and on the left
    left: u32,
    has_residual: u32,
    activation: u32,   // 0: clamp(low, high); 1: hard sigmoid of slope low, value high at zero; 2: hard swish
    low: f32,
    high: f32,
}

@group(0) @binding(1) var<storage, read_write> weight: array<vec4<scalar>>;
@group(0) @binding(2) var<storage, read_write> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> residual: array<vec4<scalar>>;
@group(0) @binding(4) var<storage, read_write> output: array<vec4<scalar>>;
@group(0) @binding(5) var<storage, read> info: Info;

fn hard_sigmoid(slope: f32, zero: f32, x: vec4<f32>) -> vec4<f32> {
    return clamp(slope * x + zero, vec4<f32>(0.0), vec4<f32>(1.0));
}

fn activate(x: vec4<f32>) -> vec4<f32> {
    switch info.activation {
        case 0u: { return min(max(x, vec4<f32>(info.low)), vec4<f32>(info.high)); }
        case 1u: { return hard_sigmoid(info.low, info.high, x); }
        default: { return x * hard_sigmoid(1.0 / 6.0, 0.5, x); }
    }
}

// Adds the residual, applies the activation, and stores one quad of one output pixel.
fn store(row: u32, column: u32, sum: vec4<f32>) {
    let at = row * info.columns + column;
    var x = sum;
    if info.has_residual != 0u {
        x += vec4<f32>(residual[at]);
    }
    output[at] = vec4<scalar>(activate(x));
}
