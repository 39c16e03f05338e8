// Where a window lies in the input, for convolutions with a window.

struct Place {
    picture: u32, // number of the first pixel of the picture
    y: i32,       // of the window's upper left corner, which may be outside
    x: i32,
}

fn place(row: u32) -> Place {
    let x = row % info.out_width;
    let line = row / info.out_width;
    let y = line % info.out_height;
    let picture = line / info.out_height;
    return Place(
        picture * info.height * info.width,
        i32(y * info.stride_y) - i32(info.top),
        i32(x * info.stride_x) - i32(info.left),
    );
}

// Number of the pixel under a tap of the window, or -1 outside of the picture.
fn pixel_under(window: Place, tap: u32) -> i32 {
    let y = window.y + i32(tap / info.window);
    let x = window.x + i32(tap % info.window);
    let inside = y >= 0 && y < i32(info.height) && x >= 0 && x < i32(info.width);
    return select(-1, i32(window.picture) + y * i32(info.width) + x, inside);
}
