//! The pixels that a model takes. They do not remember what picture they came from.

/// u8 RGB pixels, `[height, width, 3]` laid out flat, of exactly the model's input size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedImage {
    width: u32,
    height: u32,
    pixels: Box<[u8]>,
}

impl PreparedImage {
    /// Takes `pixels` as they are.
    ///
    /// # Panics
    ///
    /// Panics if there are not `width * height * 3` of them.
    pub fn new(width: u32, height: u32, pixels: Box<[u8]>) -> Self {
        assert_eq!(pixels.len(), width as usize * height as usize * 3, "bytes of a {width}x{height} RGB picture");
        Self { width, height, pixels }
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// `[height, width, 3]` laid out flat.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }
}
