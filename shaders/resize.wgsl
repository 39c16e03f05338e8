// Decoded pictures -> antialiased resize, crop, orientation and normalisation in one pass: each lane makes one pixel of the
// model's input. It resamples along one axis and then along the other, and rounds to whole levels in between, as Pillow and
// the CPU path do (Pillow 13, src/libImaging/Resample.c), so that both come to the same picture within one level.

struct Info {
    pixels: u32, // output pixels of the whole batch
    height: u32, // of the model's input, upright
    width: u32,
}

// What the words in front of the pixels tell of a picture.
struct Picture {
    first: u32,       // the word where its pixels begin: u8, [height, width, 3], first byte lowest
    size: vec2<u32>,  // width and height
    start: vec2<u32>, // of the window that is resampled
    length: vec2<u32>,
    target_size: vec2<u32>, // that the window is resampled to, as the picture lies in its file
    turn: u32,        // 1: sides are swapped; 2: mirrored left to right; 4: mirrored top to bottom
    rows_first: bool,
    filter_kind: u32, // 0: triangle; 1: cubic, a = -1/2; 2: Lanczos of three lobes
}

// The taps of one output pixel along one axis.
struct Taps {
    first: u32,
    end: u32,
    centre: f32,
    scale: f32, // of the filter
    sum: f32,
}

@group(0) @binding(0) var<storage, read_write> words: array<u32>; // HEAD words for each picture, then all pixels
@group(0) @binding(1) var<storage, read_write> affine: array<f32>; // mean r, g, b, inv_std r, g, b
@group(0) @binding(2) var<storage, read_write> output: array<scalar>; // NHWC
@group(0) @binding(3) var<storage, read> info: Info;

const HEAD = 10u;
const PI = 3.14159265;

fn run(group: u32, lane: u32) {
    let pixel = group * LANES + lane;
    if pixel >= info.pixels {
        return;
    }
    let picture = read_head(pixel / (info.height * info.width) * HEAD);
    let x = pixel % info.width;
    let y = pixel / info.width % info.height;
    let place = in_file(picture, vec2<u32>(x, y));
    let across = taps(picture, 0u, place.x);
    let down = taps(picture, 1u, place.y);
    var level: vec3<f32>;
    if picture.rows_first {
        for (var row = down.first; row < down.end; row++) {
            level += weight(picture, down, row) * along_row(picture, across, row);
        }
    } else {
        for (var column = across.first; column < across.end; column++) {
            level += weight(picture, across, column) * along_column(picture, down, column);
        }
    }
    level = whole(level);
    for (var channel = 0u; channel < 3u; channel++) {
        output[pixel * 3u + channel] = scalar((level[channel] - affine[channel]) * affine[3u + channel]);
    }
}

fn read_head(at: u32) -> Picture {
    return Picture(
        words[at],
        vec2<u32>(words[at + 1u], words[at + 2u]),
        vec2<u32>(words[at + 3u], words[at + 4u]),
        vec2<u32>(words[at + 5u], words[at + 6u]),
        // What is upright for the model lies on its side in a file whose sides are swapped.
        select(vec2<u32>(info.width, info.height), vec2<u32>(info.height, info.width), (words[at + 7u] & 1u) != 0u),
        words[at + 7u],
        words[at + 8u] != 0u,
        words[at + 9u],
    );
}

// Where a pixel of the upright picture lies in the file.
fn in_file(picture: Picture, upright: vec2<u32>) -> vec2<u32> {
    let lying = select(upright, upright.yx, (picture.turn & 1u) != 0u);
    let mirrored = picture.target_size - vec2<u32>(1u) - lying;
    return select(lying, mirrored, vec2<bool>((picture.turn & 2u) != 0u, (picture.turn & 4u) != 0u));
}

fn taps(picture: Picture, axis: u32, place: u32) -> Taps {
    let step = f32(picture.length[axis]) / f32(picture.target_size[axis]);
    let scale = max(step, 1.0);
    let reach = scale * f32(picture.filter_kind + 1u);
    let centre = f32(picture.start[axis]) + (f32(place) + 0.5) * step;
    let first = u32(max(floor(centre - reach), 0.0));
    let end = min(u32(ceil(centre + reach)), picture.size[axis]);
    var those = Taps(first, end, centre, scale, 1.0);
    var sum = 0.0;
    for (var i = first; i < end; i++) {
        sum += weight(picture, those, i);
    }
    those.sum = sum;
    return those;
}

// A tap's part of the sum; all of them make one.
fn weight(picture: Picture, those: Taps, i: u32) -> f32 {
    let x = abs((f32(i) + 0.5 - those.centre) / those.scale);
    var value = 0.0;
    switch picture.filter_kind {
        case 0u: {
            value = max(1.0 - x, 0.0);
        }
        case 1u: {
            if x < 1.0 {
                value = (1.5 * x - 2.5) * x * x + 1.0;
            } else if x < 2.0 {
                value = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0;
            }
        }
        default: {
            if x < 3.0 {
                value = sinc(x) * sinc(x / 3.0);
            }
        }
    }
    return value / those.sum;
}

fn sinc(x: f32) -> f32 {
    return select(sin(PI * x) / (PI * x), 1.0, x < 1e-6);
}

fn along_row(picture: Picture, those: Taps, row: u32) -> vec3<f32> {
    var sum: vec3<f32>;
    for (var i = those.first; i < those.end; i++) {
        sum += weight(picture, those, i) * level_at(picture, i, row);
    }
    return whole(sum);
}

fn along_column(picture: Picture, those: Taps, column: u32) -> vec3<f32> {
    var sum: vec3<f32>;
    for (var i = those.first; i < those.end; i++) {
        sum += weight(picture, those, i) * level_at(picture, column, i);
    }
    return whole(sum);
}

fn whole(level: vec3<f32>) -> vec3<f32> {
    return clamp(floor(level + 0.5), vec3<f32>(0.0), vec3<f32>(255.0));
}

fn level_at(picture: Picture, x: u32, y: u32) -> vec3<f32> {
    let first = picture.first * 4u + (y * picture.size.x + x) * 3u;
    return vec3<f32>(byte_at(first), byte_at(first + 1u), byte_at(first + 2u));
}

fn byte_at(index: u32) -> f32 {
    return f32((words[index / 4u] >> (index % 4u * 8u)) & 255u);
}
