// Where a pointwise convolution finds its values: a pixel's own channels.

@group(0) @binding(0) var<storage, read_write> input: array<vec4<scalar>>;

alias Place = u32;

// Where the values of an output pixel begin.
fn place(row: u32) -> Place {
    return row * info.depth;
}

// One quad of the values that go into a sum.
fn value(first: Place, k: u32) -> vec4<f32> {
    return vec4<f32>(input[first + k]);
}
