//! The preprocessing of a model, as plain data.

/// The input size of a model, and how to produce it: crop by `crop`, then resample to `width` x `height`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreprocessSpec {
    /// Width of the result, in pixels; positive.
    pub width: u32,
    /// Height of the result, in pixels; positive.
    pub height: u32,
    /// The resampling filter; always antialiased.
    pub filter: Filter,
    /// The part of the image that is kept.
    pub crop: Crop,
}

/// Resampling filters, as defined by Pillow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Triangle, support 1.
    Bilinear,
    /// Cubic with a = -0.5 (Catmull-Rom), support 2.
    Bicubic,
    /// Lanczos, support 3.
    Lanczos3,
}

/// The part of the image that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crop {
    /// The whole image, stretched to the shape of the result.
    None,
    /// The central square of side `floor(min(height, width) * size / (size + padding))`, where `size` is the smaller side
    /// of the result. This is the part that remains after resizing to `size + padding` and cropping the central `size`.
    /// It begins at `ceil((height - side) / 2)` and `ceil((width - side) / 2)`. This is the reference preprocessing of
    /// EfficientNet (`preprocessing.py` in tensorflow/tpu), where `padding` is 32.
    CentralPadded {
        /// In pixels at the result's scale.
        padding: u32,
    },
}

/// A rectangle of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl PreprocessSpec {
    /// Returns by how much an upright image may be reduced so that the part that is kept still has the size of the result: 1, 2, 4
    /// or 8.
    pub(super) fn reduction(&self, width: u32, height: u32) -> u32 {
        let window = self.window(width, height);
        let is_enough =
            |reduction: &u32| window.width / reduction >= self.width && window.height / reduction >= self.height;
        [8, 4, 2].into_iter().find(is_enough).unwrap_or(1)
    }

    /// Returns the part of an upright `width` x `height` image that is kept; never empty.
    pub(super) fn window(&self, width: u32, height: u32) -> Window {
        let Crop::CentralPadded { padding } = self.crop else {
            return Window { left: 0, top: 0, width, height };
        };
        let size = u64::from(self.width.min(self.height));
        let side = u64::from(width.min(height)) * size / (size + u64::from(padding)).max(1);
        let side = u32::try_from(side).expect("it is no longer than the shorter side").max(1);
        Window { left: (width - side).div_ceil(2), top: (height - side).div_ceil(2), width: side, height: side }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(crop: Crop) -> PreprocessSpec {
        PreprocessSpec { width: 224, height: 224, filter: Filter::Bicubic, crop }
    }

    #[test]
    fn central_padded_crop_keeps_the_central_square() {
        let window = spec(Crop::CentralPadded { padding: 32 }).window(640, 480);
        assert_eq!(window, Window { left: 110, top: 30, width: 420, height: 420 });
        let odd = spec(Crop::CentralPadded { padding: 32 }).window(451, 300);
        assert_eq!(odd, Window { left: 95, top: 19, width: 262, height: 262 });
    }

    #[test]
    fn reduction_leaves_the_size_of_the_result() {
        let spec = spec(Crop::CentralPadded { padding: 32 });
        // The crop is 7/8 of the shorter side.
        let reductions = [(640, 480), (640, 512), (2000, 1500), (1500, 2000), (4000, 3000), (60000, 250)];
        assert_eq!(reductions.map(|(width, height)| spec.reduction(width, height)), [1, 2, 4, 4, 8, 1]);
    }

    #[test]
    fn crop_is_never_empty() {
        assert_eq!(spec(Crop::CentralPadded { padding: 32 }).window(1, 1).width, 1);
        let none = PreprocessSpec { width: 0, height: 0, ..spec(Crop::CentralPadded { padding: 0 }) };
        assert_eq!(none.window(9, 9).width, 1);
        assert_eq!(spec(Crop::None).window(3, 2), Window { left: 0, top: 0, width: 3, height: 2 });
    }
}
