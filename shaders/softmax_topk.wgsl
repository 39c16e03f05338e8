// Ranks logits: softmax over a row, and the k largest probabilities with their class ids. One workgroup computes one row.
// Equal scores keep the order of their ids.

struct Info {
    rows: u32,
    classes: u32,
    top: u32, // k
}

@group(0) @binding(0) var<storage, read_write> logits: array<scalar>; // [rows, classes]
@group(0) @binding(1) var<storage, read_write> output: array<f32>;    // [rows, 2 k]: probabilities, or -1 if a score is not finite; then ids
@group(0) @binding(2) var<storage, read> info: Info;

// The result of each lane. After the reduction, index 0 holds the result of the workgroup.
var<workgroup> scores: array<f32, LANES>;
var<workgroup> ids: array<u32, LANES>;
var<workgroup> sums: array<f32, LANES>;
// Whether a lane found a score that is not finite. The check uses the bits, because drivers differ in how they compare NaN.
var<workgroup> non_finite: array<u32, LANES>;

const NONE = 0xffffffffu;

fn run(row: u32, lane: u32) {
    // The condition is the same for the whole workgroup, so that all lanes reach the same barriers.
    if row >= info.rows {
        return;
    }
    let first = row * info.classes;
    find_next(first, lane, 0.0, NONE);
    var score = scores[0];
    var id = ids[0];
    let largest = score;
    sum_exponentials(first, lane, largest);
    let sum = sums[0];
    let is_non_finite = non_finite[0] != 0u;
    for (var rank = 0u; rank < info.top; rank++) {
        if lane == 0u {
            output[2u * row * info.top + rank] = select(exp(score - largest) / sum, -1.0, is_non_finite);
            output[(2u * row + 1u) * info.top + rank] = f32(id);
        }
        workgroupBarrier();
        find_next(first, lane, score, id);
        score = scores[0];
        id = ids[0];
    }
}

// Finds the largest score of the row that ranks after another one; after NONE, the largest of all.
fn find_next(first: u32, lane: u32, score: f32, id: u32) {
    var best = 0.0;
    var best_id = NONE;
    for (var i = lane; i < info.classes; i += LANES) {
        let here = f32(logits[first + i]);
        let is_after = id == NONE || here < score || (here == score && i > id);
        if is_after && (best_id == NONE || here > best) {
            best = here;
            best_id = i;
        }
    }
    scores[lane] = best;
    ids[lane] = best_id;
    workgroupBarrier();
    for (var step = LANES / 2u; step > 0u; step /= 2u) {
        if lane < step && ranks_before(lane + step, lane) {
            scores[lane] = scores[lane + step];
            ids[lane] = ids[lane + step];
        }
        workgroupBarrier();
    }
}

fn ranks_before(one: u32, other: u32) -> bool {
    if ids[one] == NONE || ids[other] == NONE {
        return ids[one] != NONE;
    }
    return scores[one] > scores[other] || (scores[one] == scores[other] && ids[one] < ids[other]);
}

// Sums the exponentials. The largest score is subtracted first, so that none overflows.
fn sum_exponentials(first: u32, lane: u32, largest: f32) {
    var sum = 0.0;
    var has_non_finite = 0u;
    for (var i = lane; i < info.classes; i += LANES) {
        let score = f32(logits[first + i]);
        sum += exp(score - largest);
        has_non_finite |= u32((bitcast<u32>(score) & 0x7f800000u) == 0x7f800000u);
    }
    sums[lane] = sum;
    non_finite[lane] = has_non_finite;
    workgroupBarrier();
    for (var step = LANES / 2u; step > 0u; step /= 2u) {
        if lane < step {
            sums[lane] += sums[lane + step];
            non_finite[lane] |= non_finite[lane + step];
        }
        workgroupBarrier();
    }
}
