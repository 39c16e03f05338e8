// Dense convolution as a matrix product: a row for each output pixel, a column for each output channel. Each lane holds
// four rows and two quads of columns in registers, and reads straight from memory: for devices without memory that is
// near, which is what software adapters are. `place` and `value` come from another file.

fn run(group: u32, lane: u32) {
    let across = info.across;
    let tiles_across = (info.columns + 2u * across - 1u) / (2u * across);
    let row = (group / tiles_across * (LANES / across) + lane / across) * 4u;
    let left = group % tiles_across * 2u * across + lane % across;
    if row >= info.rows || left >= info.columns {
        return;
    }
    // Beyond the last row and column the last one is computed again, and not stored.
    let last = info.rows - 1u;
    let right = min(left + across, info.columns - 1u);
    let first = place(row);
    let second = place(min(row + 1u, last));
    let third = place(min(row + 2u, last));
    let fourth = place(min(row + 3u, last));
    var sum_left = start(left);
    var sum_right = start(right);
    for (var k = 0u; k < info.depth; k++) {
        let values = mat4x4<f32>(value(first, k), value(second, k), value(third, k), value(fourth, k));
        sum_left += weights(k, left) * values;
        sum_right += weights(k, right) * values;
    }
    for (var i = 0u; i < min(4u, info.rows - row); i++) {
        finish(row + i, left, sum_left[i]);
        if left + across < info.columns {
            finish(row + i, right, sum_right[i]);
        }
    }
}

// Four sums that begin with the bias.
fn start(column: u32) -> mat4x4<f32> {
    return mat4x4<f32>(bias[column], bias[column], bias[column], bias[column]);
}

// Four rows of one quad of columns.
fn weights(k: u32, column: u32) -> mat4x4<f32> {
    let at = 4u * k * info.columns + column;
    return mat4x4<f32>(
        vec4<f32>(weight[at]),
        vec4<f32>(weight[at + info.columns]),
        vec4<f32>(weight[at + 2u * info.columns]),
        vec4<f32>(weight[at + 3u * info.columns]),
    );
}
