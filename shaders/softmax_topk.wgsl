// Logits to the most probable classes: softmax over a row, and its largest k with their ids, so that only those need be
// sent back. One workgroup takes one row. Equal scores keep the order of their ids.

struct Info {
    rows: u32,
    classes: u32,
    top: u32, // k
}

@group(0) @binding(0) var<storage, read_write> logits: array<scalar>; // [rows, classes]
@group(0) @binding(1) var<storage, read_write> output: array<f32>;    // [rows, 2 k]: probabilities, or -1 if a score is not finite; then ids
@group(0) @binding(2) var<storage, read> info: Info;

// What the lanes have found, each by itself. Afterwards the first place holds what all of them have found.
var<workgroup> scores: array<f32, LANES>;
var<workgroup> ids: array<u32, LANES>;
var<workgroup> sums: array<f32, LANES>;
// Whether a lane has met a score that is not finite. Drivers differ in what they make of those, so their bits are looked at.
var<workgroup> odd: array<u32, LANES>;

const NOBODY = 0xffffffffu;

fn run(row: u32, lane: u32) {
    // The same for the whole group, so that its lanes meet at the same barriers.
    if row >= info.rows {
        return;
    }
    let first = row * info.classes;
    find_next(first, lane, 0.0, NOBODY);
    var score = scores[0];
    var id = ids[0];
    let largest = score;
    add_up(first, lane, largest);
    let sum = sums[0];
    let is_odd = odd[0] != 0u;
    for (var place = 0u; place < info.top; place++) {
        if lane == 0u {
            output[2u * row * info.top + place] = select(exp(score - largest) / sum, -1.0, is_odd);
            output[(2u * row + 1u) * info.top + place] = f32(id);
        }
        workgroupBarrier();
        find_next(first, lane, score, id);
        score = scores[0];
        id = ids[0];
    }
}

// The largest score of the row that comes after another one; after NOBODY, the largest of all.
fn find_next(first: u32, lane: u32, score: f32, id: u32) {
    var best = 0.0;
    var best_id = NOBODY;
    for (var i = lane; i < info.classes; i += LANES) {
        let here = f32(logits[first + i]);
        let is_after = id == NOBODY || here < score || (here == score && i > id);
        if is_after && (best_id == NOBODY || here > best) {
            best = here;
            best_id = i;
        }
    }
    scores[lane] = best;
    ids[lane] = best_id;
    workgroupBarrier();
    for (var step = LANES / 2u; step > 0u; step /= 2u) {
        if lane < step && goes_before(lane + step, lane) {
            scores[lane] = scores[lane + step];
            ids[lane] = ids[lane + step];
        }
        workgroupBarrier();
    }
}

fn goes_before(one: u32, other: u32) -> bool {
    if ids[one] == NOBODY || ids[other] == NOBODY {
        return ids[one] != NOBODY;
    }
    return scores[one] > scores[other] || (scores[one] == scores[other] && ids[one] < ids[other]);
}

// The sum of the exponentials, the largest score subtracted first so that none overflows.
fn add_up(first: u32, lane: u32, largest: f32) {
    var sum = 0.0;
    var has_odd = 0u;
    for (var i = lane; i < info.classes; i += LANES) {
        let score = f32(logits[first + i]);
        sum += exp(score - largest);
        has_odd |= u32((bitcast<u32>(score) & 0x7f800000u) == 0x7f800000u);
    }
    sums[lane] = sum;
    odd[lane] = has_odd;
    workgroupBarrier();
    for (var step = LANES / 2u; step > 0u; step /= 2u) {
        if lane < step {
            sums[lane] += sums[lane + step];
            odd[lane] |= odd[lane + step];
        }
        workgroupBarrier();
    }
}
