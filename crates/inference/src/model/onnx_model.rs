//! An ONNX classifier that is read at run time, as this crate uses it.
//!
//! `kiln-executor` implements [`OnnxSource`]; [`open`] is the only function that names it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use model_import::Network;

/// What to read from an ONNX file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// The output to serve. `None` selects the only output that can be logits.
    pub output: Option<String>,
    /// Height and width, for files that leave them open.
    pub image_size: Option<[usize; 2]>,
}

/// The input of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputInfo {
    /// Name of the tensor.
    pub name: String,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Number of channels: 1 (grayscale), 3 (RGB) or 4 (RGB and alpha).
    pub channels: usize,
    /// The values that the network takes.
    pub takes: Takes,
}

/// The values that a network takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Values from which the mean was subtracted, divided by the standard deviation.
    Normalised,
    /// Pixels, 0..=255: the input is u8, or the graph normalises it.
    Pixels,
    /// Pixels divided by 255, 0..=1.
    UnitRange,
}

/// The output of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputInfo {
    /// Name of the tensor.
    pub name: String,
    /// Number of values of one image.
    pub width: usize,
    /// The meaning of the values.
    pub kind: OutputKind,
}

/// The meaning of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputKind {
    /// Logits of classes of which one applies: a softmax follows.
    Logits,
    /// Logits of independent classes: a sigmoid follows.
    MultiLabel,
    /// One logit of two classes: a sigmoid follows.
    Binary,
    /// The features of the image.
    Embedding,
}

/// Why an ONNX file is not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(String);

/// Why an opened network is not loaded on a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LoadFileError(String);

/// An ONNX classifier that is read at run time.
pub trait OnnxSource: Debug + Send + Sync {
    /// Returns the input.
    fn input(&self) -> &InputInfo;
    /// Returns the output.
    fn output(&self) -> &OutputInfo;
    /// Returns the file's metadata, plus `producer`.
    fn metadata(&self) -> &BTreeMap<String, String>;
    /// Returns the SHA-256 of the file, in lower-case hex.
    fn sha256(&self) -> &str;
    /// Returns sentences about what was changed or assumed.
    fn notes(&self) -> &[String];
    /// Puts the network on a device.
    ///
    /// # Errors
    ///
    /// The device cannot hold or run the network.
    fn load(&self, device: &Device) -> Result<Box<dyn Network>, LoadFileError>;
}

/// Opens an ONNX file.
///
/// # Errors
///
/// The file cannot be read, or it is not a classifier that Kiln can run.
pub fn open(path: &Path, _options: &OpenOptions) -> Result<Arc<dyn OnnxSource>, OpenError> {
    // kiln-executor: `kiln_executor::OnnxModel::open(path, options)`.
    Err(OpenError(format!(
        "{} is not opened: this build of Kiln runs built-in models only. Add the model with 'kiln import', and build again.",
        path.display()
    )))
}
