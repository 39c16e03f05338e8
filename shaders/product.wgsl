// Dense convolution as a matrix product with a row for each output pixel and a column for each output channel. Each lane
// computes four rows and two quads of columns in registers, and reads directly from storage: for devices without fast
// workgroup memory, such as software adapters. Another file defines `window_of` and `load`.

fn run(group: u32, lane: u32) {
    let across = info.across;
    let tiles_across = (info.columns + 2u * across - 1u) / (2u * across);
    let row = (group / tiles_across * (LANES / across) + lane / across) * 4u;
    let left = group % tiles_across * 2u * across + lane % across;
    if row >= info.rows || left >= info.columns {
        return;
    }
    // A lane beyond the last row or column computes the last one again, and does not store it.
    let last = info.rows - 1u;
    let right = min(left + across, info.columns - 1u);
    let first = window_of(row);
    let second = window_of(min(row + 1u, last));
    let third = window_of(min(row + 2u, last));
    let fourth = window_of(min(row + 3u, last));
    var sum_left = initial_sums(left);
    var sum_right = initial_sums(right);
    for (var k = 0u; k < info.depth; k++) {
        let values = mat4x4<f32>(load(first, k), load(second, k), load(third, k), load(fourth, k));
        sum_left += weights(k, left) * values;
        sum_right += weights(k, right) * values;
    }
    for (var i = 0u; i < min(4u, info.rows - row); i++) {
        store(row + i, left, sum_left[i]);
        if left + across < info.columns {
            store(row + i, right, sum_right[i]);
        }
    }
}

// Returns four sums that initial_sums with the bias.
fn initial_sums(column: u32) -> mat4x4<f32> {
    return mat4x4<f32>(bias[column], bias[column], bias[column], bias[column]);
}

// Returns four rows of weights for one quad of columns.
fn weights(k: u32, column: u32) -> mat4x4<f32> {
    let at = 4u * k * info.columns + column;
    return mat4x4<f32>(
        vec4<f32>(weight[at]),
        vec4<f32>(weight[at + info.columns]),
        vec4<f32>(weight[at + 2u * info.columns]),
        vec4<f32>(weight[at + 3u * info.columns]),
    );
}
