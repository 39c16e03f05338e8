//! What a manifest says of its model: plain data, fixed when the program was built.

/// A model's description.
#[derive(Clone, Copy, Debug)]
pub struct ModelSpec {
    /// The name that requests use.
    pub name: &'static str,
    /// The version that requests use.
    pub version: &'static str,
    /// One sentence for a person.
    pub description: &'static str,
    /// Where the weights come from.
    pub source: &'static str,
    /// SPDX name of the weights' licence.
    pub licence: &'static str,
    /// SHA-256 of the ONNX file, in lower-case hex.
    pub sha256: &'static str,
    /// Width of the network's input, in pixels.
    pub width: u32,
    /// Height of the network's input, in pixels.
    pub height: u32,
    /// Filter of the resize to that size.
    pub filter: Filter,
    /// Which part of the picture is kept.
    pub crop: Crop,
    /// Mean of red, green and blue, in units of 0..=255.
    pub mean: [f32; 3],
    /// Deviation of red, green and blue, in units of 0..=255.
    pub std: [f32; 3],
    /// Class names in index order; as many as the network has outputs.
    pub labels: &'static [&'static str],
    /// The right logits of the synthetic picture, where the manifest has them: as many as there are labels.
    pub canary: Option<&'static [f32]>,
}

/// Filter of the antialiased resize, as Pillow names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Triangle.
    Bilinear,
    /// Catmull-Rom (a = -0.5).
    Bicubic,
    /// Lanczos, three lobes.
    Lanczos,
}

/// Which part of the picture is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crop {
    /// The whole picture, stretched to the input's size.
    None,
    /// The central square of side `min(h, w) * size / (size + padding)`.
    CentralPadded {
        /// In pixels at the network's scale.
        padding: u32,
    },
}
