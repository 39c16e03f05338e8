//! How a picture becomes the model's input, as plain data.

/// The model's input size, and how to get there: cut out what `crop` keeps, then resample it to `width` x `height`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Width of the result, in pixels; positive.
    pub width: u32,
    /// Height of the result, in pixels; positive.
    pub height: u32,
    /// How it is resampled, always antialiased.
    pub filter: Filter,
    /// Which part of the picture is kept.
    pub crop: Crop,
}

/// Resampling filters, as Pillow has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Triangle, support 1.
    Bilinear,
    /// Cubic with a = -0.5 (Catmull-Rom), support 2.
    Bicubic,
    /// Lanczos, support 3.
    Lanczos3,
}

/// Which part of the picture is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crop {
    /// All of it, stretched to the result's shape.
    None,
    /// The central square of side `floor(min(height, width) * size / (size + padding))`, where `size` is the
    /// smaller side of the result: what resizing to `size + padding` and cutting `size` out of the middle would keep.
    /// It begins at `ceil((height - side) / 2)` and `ceil((width - side) / 2)`. This is the reference preprocessing of
    /// EfficientNet (`preprocessing.py` in tensorflow/tpu), where `padding` is 32.
    CentralPadded {
        /// In pixels at the result's scale.
        padding: u32,
    },
}

/// A part of a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Recipe {
    /// The part of a `width` x `height` picture that is kept; never empty.
    pub(super) fn window(&self, width: u32, height: u32) -> Window {
        let Crop::CentralPadded { padding } = self.crop else {
            return Window { left: 0, top: 0, width, height };
        };
        let size = u64::from(self.width.min(self.height));
        let side = u64::from(width.min(height)) * size / (size + u64::from(padding)).max(1);
        let side = (side as u32).max(1);
        Window { left: (width - side).div_ceil(2), top: (height - side).div_ceil(2), width: side, height: side }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(crop: Crop) -> Recipe {
        Recipe { width: 224, height: 224, filter: Filter::Bicubic, crop }
    }

    #[test]
    fn the_central_square_is_kept_with_its_margin_cut_off() {
        let window = recipe(Crop::CentralPadded { padding: 32 }).window(640, 480);
        assert_eq!(window, Window { left: 110, top: 30, width: 420, height: 420 });
        let odd = recipe(Crop::CentralPadded { padding: 32 }).window(451, 300);
        assert_eq!(odd, Window { left: 95, top: 19, width: 262, height: 262 });
    }

    #[test]
    fn even_a_single_pixel_leaves_something() {
        assert_eq!(recipe(Crop::CentralPadded { padding: 32 }).window(1, 1).width, 1);
        let none = Recipe { width: 0, height: 0, ..recipe(Crop::CentralPadded { padding: 0 }) };
        assert_eq!(none.window(9, 9).width, 1);
        assert_eq!(recipe(Crop::None).window(3, 2), Window { left: 0, top: 0, width: 3, height: 2 });
    }
}
