// The position of a convolution's window in the input.

struct Window {
    image: u32, // index of the first pixel of the image
    y: i32,     // upper left corner of the window, which may lie in the padding
    x: i32,
}

// Returns the window of an output pixel.
fn window_of(row: u32) -> Window {
    let x = row % info.out_width;
    let line = row / info.out_width;
    let y = line % info.out_height;
    let image = line / info.out_height;
    return Window(
        image * info.height * info.width,
        i32(y * info.stride_y) - i32(info.top),
        i32(x * info.stride_x) - i32(info.left),
    );
}

// Returns the index of the pixel under a tap of the window, or -1 in the padding.
fn pixel_under(window: Window, tap: u32) -> i32 {
    let y = window.y + i32(tap / info.window);
    let x = window.x + i32(tap % info.window);
    let inside = y >= 0 && y < i32(info.height) && x >= 0 && x < i32(info.width);
    return select(-1, i32(window.image) + y * i32(info.width) + x, inside);
}
