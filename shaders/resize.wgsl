// Crops, resizes (antialiased), orients and normalises decoded images in one pass. Each lane computes one pixel of the input
// of the model. It resamples along one axis and then along the other, and rounds to round_level levels in between, as Pillow and
// the CPU path do (Pillow 13, src/libImaging/Resample.c), so that the results differ by at most one level.

struct Info {
    pixels: u32, // output pixels of the round_level batch
    height: u32, // of the input of the model, upright
    width: u32,
}

// The header of an image.
struct Image {
    first: u32,       // index of the word where its pixels begin: u8, [height, width, 3], first byte lowest
    size: vec2<u32>,  // width and height
    start: vec2<u32>, // upper left corner of the window to resample
    length: vec2<u32>, // width and height of the window
    target_size: vec2<u32>, // width and height after resampling, before orientation
    orientation: u32, // bits: 1 transposed, 2 mirrored left to right, 4 mirrored top to bottom
    rows_first: bool,
    filter_kind: u32, // 0: triangle; 1: cubic, a = -1/2; 2: Lanczos of three lobes
}

// The range and the filter parameters of the taps of one output pixel along one axis.
struct Taps {
    first: u32,
    end: u32,
    centre: f32,
    scale: f32, // of the filter
    sum: f32,
}

@group(0) @binding(0) var<storage, read_write> words: array<u32>; // HEADER words for each image, then all pixels
@group(0) @binding(1) var<storage, read_write> affine: array<f32>; // mean r, g, b, inv_std r, g, b
@group(0) @binding(2) var<storage, read_write> output: array<scalar>; // NHWC
@group(0) @binding(3) var<storage, read> info: Info;

const HEADER = 10u;
const PI = 3.14159265;

fn run(group: u32, lane: u32) {
    let pixel = group * LANES + lane;
    if pixel >= info.pixels {
        return;
    }
    let image = read_header(pixel / (info.height * info.width) * HEADER);
    let x = pixel % info.width;
    let y = pixel / info.width % info.height;
    let position = stored_position(image, vec2<u32>(x, y));
    let across = taps(image, 0u, position.x);
    let down = taps(image, 1u, position.y);
    var level: vec3<f32>;
    if image.rows_first {
        for (var row = down.first; row < down.end; row++) {
            level += weight(image, down, row) * along_row(image, across, row);
        }
    } else {
        for (var column = across.first; column < across.end; column++) {
            level += weight(image, across, column) * along_column(image, down, column);
        }
    }
    level = round_level(level);
    for (var channel = 0u; channel < 3u; channel++) {
        output[pixel * 3u + channel] = scalar((level[channel] - affine[channel]) * affine[3u + channel]);
    }
}

fn read_header(at: u32) -> Image {
    return Image(
        words[at],
        vec2<u32>(words[at + 1u], words[at + 2u]),
        vec2<u32>(words[at + 3u], words[at + 4u]),
        vec2<u32>(words[at + 5u], words[at + 6u]),
        // The stored image is transposed: its width is the height of the upright one.
        select(vec2<u32>(info.width, info.height), vec2<u32>(info.height, info.width), (words[at + 7u] & 1u) != 0u),
        words[at + 7u],
        words[at + 8u] != 0u,
        words[at + 9u],
    );
}

// Returns the position in the stored image of a pixel of the upright one.
fn stored_position(image: Image, upright: vec2<u32>) -> vec2<u32> {
    let stored = select(upright, upright.yx, (image.orientation & 1u) != 0u);
    let mirrored = image.target_size - vec2<u32>(1u) - stored;
    return select(stored, mirrored, vec2<bool>((image.orientation & 2u) != 0u, (image.orientation & 4u) != 0u));
}

fn taps(image: Image, axis: u32, position: u32) -> Taps {
    let step = f32(image.length[axis]) / f32(image.target_size[axis]);
    let scale = max(step, 1.0);
    let reach = scale * f32(image.filter_kind + 1u);
    let centre = f32(image.start[axis]) + (f32(position) + 0.5) * step;
    let first = u32(max(floor(centre - reach), 0.0));
    let end = min(u32(ceil(centre + reach)), image.size[axis]);
    var range = Taps(first, end, centre, scale, 1.0);
    var sum = 0.0;
    for (var i = first; i < end; i++) {
        sum += weight(image, range, i);
    }
    range.sum = sum;
    return range;
}

// Returns the weight of a tap. The weights of all taps sum to one.
fn weight(image: Image, range: Taps, i: u32) -> f32 {
    let x = abs((f32(i) + 0.5 - range.centre) / range.scale);
    var value = 0.0;
    switch image.filter_kind {
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
    return value / range.sum;
}

fn sinc(x: f32) -> f32 {
    return select(sin(PI * x) / (PI * x), 1.0, x < 1e-6);
}

fn along_row(image: Image, range: Taps, row: u32) -> vec3<f32> {
    var sum: vec3<f32>;
    for (var i = range.first; i < range.end; i++) {
        sum += weight(image, range, i) * level_at(image, i, row);
    }
    return round_level(sum);
}

fn along_column(image: Image, range: Taps, column: u32) -> vec3<f32> {
    var sum: vec3<f32>;
    for (var i = range.first; i < range.end; i++) {
        sum += weight(image, range, i) * level_at(image, column, i);
    }
    return round_level(sum);
}

fn round_level(level: vec3<f32>) -> vec3<f32> {
    return clamp(floor(level + 0.5), vec3<f32>(0.0), vec3<f32>(255.0));
}

fn level_at(image: Image, x: u32, y: u32) -> vec3<f32> {
    let first = image.first * 4u + (y * image.size.x + x) * 3u;
    return vec3<f32>(byte_at(first), byte_at(first + 1u), byte_at(first + 2u));
}

fn byte_at(index: u32) -> f32 {
    return f32((words[index / 4u] >> (index % 4u * 8u)) & 255u);
}
