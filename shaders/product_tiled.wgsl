// The same matrix product for GPUs: the lanes of a group bring a part of their rows and columns into workgroup memory,
// and all of them read it from there. `place` and `value` come from another file.

// Quads of depth that are brought at a time.
const DEPTH = 4u;
// Room for the most rows, which a group has with two lanes across, and for the most columns, with eight.
var<workgroup> near_values: array<vec4<f32>, DEPTH * LANES / 2u * 4u>;
var<workgroup> near_weights: array<vec4<f32>, DEPTH * 4u * 16u>;

fn run(group: u32, lane: u32) {
    let across = info.across;
    let tiles_across = (info.columns + 2u * across - 1u) / (2u * across);
    let tile_rows = LANES / across * 4u;
    let first_row = group / tiles_across * tile_rows;
    let first_column = group % tiles_across * 2u * across;
    let my_row = lane / across * 4u;
    let my_column = lane % across;
    var sum_left = start(first_column + my_column);
    var sum_right = start(first_column + my_column + across);
    for (var k = 0u; k < info.depth; k += DEPTH) {
        bring_values(lane, first_row, tile_rows, k);
        bring_weights(lane, first_column, k);
        workgroupBarrier();
        for (var i = 0u; i < DEPTH; i++) {
            let at = my_row * DEPTH + i;
            let values = mat4x4<f32>(
                near_values[at],
                near_values[at + DEPTH],
                near_values[at + 2u * DEPTH],
                near_values[at + 3u * DEPTH],
            );
            sum_left += weights(i, my_column) * values;
            sum_right += weights(i, my_column + across) * values;
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) {
        let row = first_row + my_row + i;
        let column = first_column + my_column;
        if row < info.rows && column < info.columns {
            finish(row, column, sum_left[i]);
        }
        if row < info.rows && column + across < info.columns {
            finish(row, column + across, sum_right[i]);
        }
    }
}

fn bring_values(lane: u32, first_row: u32, tile_rows: u32, first_k: u32) {
    for (var i = lane; i < tile_rows * DEPTH; i += LANES) {
        let k = first_k + i % DEPTH;
        // Rows beyond the last are not stored, but depth beyond the end would go into the sums.
        let window = place(min(first_row + i / DEPTH, info.rows - 1u));
        near_values[i] = select(vec4<f32>(), value(window, min(k, info.depth - 1u)), k < info.depth);
    }
}

fn bring_weights(lane: u32, first_column: u32, first_k: u32) {
    let columns = 2u * info.across;
    for (var i = lane; i < DEPTH * 4u * columns; i += LANES) {
        let k = min(first_k * 4u + i / columns, info.depth * 4u - 1u);
        let column = min(first_column + i % columns, info.columns - 1u);
        near_weights[i] = vec4<f32>(weight[k * info.columns + column]);
    }
}

// Four sums that begin with the bias.
fn start(column: u32) -> mat4x4<f32> {
    let value = bias[min(column, info.columns - 1u)];
    return mat4x4<f32>(value, value, value, value);
}

// Four rows of one quad of columns.
fn weights(k: u32, column: u32) -> mat4x4<f32> {
    let columns = 2u * info.across;
    let at = 4u * k * columns + column;
    return mat4x4<f32>(
        near_weights[at],
        near_weights[at + columns],
        near_weights[at + 2u * columns],
        near_weights[at + 3u * columns],
    );
}
