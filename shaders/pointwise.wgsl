// The input of a pointwise convolution: the channels of the pixel at the same position.

@group(0) @binding(0) var<storage, read_write> input: array<vec4<scalar>>;

alias Window = u32;

// Returns the index of the first value of an output pixel.
fn window_of(row: u32) -> Window {
    return row * info.depth;
}

// Returns one quad of the values of a sum.
fn load(first: Window, k: u32) -> vec4<f32> {
    return vec4<f32>(input[first + k]);
}
