// Dense convolution as a matrix product (see product.wgsl) for GPUs: the lanes of a workgroup copy a part of their rows and
// columns into workgroup memory, and all lanes read it from there. Another file defines `window_of` and `load`.

// Quads of depth in a tile.
const DEPTH = 4u;
// Sized for the maximum of rows, with two lanes across, and for the maximum of columns, with eight lanes across.
var<workgroup> tile_values: array<vec4<f32>, DEPTH * LANES / 2u * 4u>;
var<workgroup> tile_weights: array<vec4<f32>, DEPTH * 4u * 16u>;

fn run(group: u32, lane: u32) {
    let across = info.across;
    let tiles_across = (info.columns + 2u * across - 1u) / (2u * across);
    let tile_rows = LANES / across * 4u;
    let first_row = group / tiles_across * tile_rows;
    let first_column = group % tiles_across * 2u * across;
    let my_row = lane / across * 4u;
    let my_column = lane % across;
    var sum_left = initial_sums(first_column + my_column);
    var sum_right = initial_sums(first_column + my_column + across);
    for (var k = 0u; k < info.depth; k += DEPTH) {
        copy_values(lane, first_row, tile_rows, k);
        copy_weights(lane, first_column, k);
        workgroupBarrier();
        for (var i = 0u; i < DEPTH; i++) {
            let at = my_row * DEPTH + i;
            let values = mat4x4<f32>(
                tile_values[at],
                tile_values[at + DEPTH],
                tile_values[at + 2u * DEPTH],
                tile_values[at + 3u * DEPTH],
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
            store(row, column, sum_left[i]);
        }
        if row < info.rows && column + across < info.columns {
            store(row, column + across, sum_right[i]);
        }
    }
}

fn copy_values(lane: u32, first_row: u32, tile_rows: u32, first_k: u32) {
    for (var i = lane; i < tile_rows * DEPTH; i += LANES) {
        let k = first_k + i % DEPTH;
        // Rows beyond the last one are not stored, but values beyond the depth would enter the sums.
        let window = window_of(min(first_row + i / DEPTH, info.rows - 1u));
        tile_values[i] = select(vec4<f32>(), load(window, min(k, info.depth - 1u)), k < info.depth);
    }
}

fn copy_weights(lane: u32, first_column: u32, first_k: u32) {
    let columns = 2u * info.across;
    for (var i = lane; i < DEPTH * 4u * columns; i += LANES) {
        let k = min(first_k * 4u + i / columns, info.depth * 4u - 1u);
        let column = min(first_column + i % columns, info.columns - 1u);
        tile_weights[i] = vec4<f32>(weight[k * info.columns + column]);
    }
}

// Returns four sums that initial_sums with the bias.
fn initial_sums(column: u32) -> mat4x4<f32> {
    let first = bias[min(column, info.columns - 1u)];
    return mat4x4<f32>(first, first, first, first);
}

// Returns four rows of weights for one quad of columns.
fn weights(k: u32, column: u32) -> mat4x4<f32> {
    let columns = 2u * info.across;
    let at = 4u * k * columns + column;
    return mat4x4<f32>(
        tile_weights[at],
        tile_weights[at + columns],
        tile_weights[at + 2u * columns],
        tile_weights[at + 3u * columns],
    );
}
