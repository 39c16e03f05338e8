//! An ONNX classifier that is read at run time, as this crate uses it.
//!
//! [`OnnxSource`] is what the engine needs of `kiln_executor::OnnxModel`; tests put other networks in its place.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use model_import::Network;

pub use kiln_executor::{InputInfo, LoadFileError, OnnxModel, OpenError, OutputInfo, OutputKind, ReadOptions, Takes};

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

impl OnnxSource for OnnxModel {
    fn input(&self) -> &InputInfo {
        self.input()
    }

    fn output(&self) -> &OutputInfo {
        self.output()
    }

    fn metadata(&self) -> &BTreeMap<String, String> {
        self.metadata()
    }

    fn sha256(&self) -> &str {
        self.sha256()
    }

    fn notes(&self) -> &[String] {
        self.notes()
    }

    fn load(&self, device: &Device) -> Result<Box<dyn Network>, LoadFileError> {
        self.load(device)
    }
}

/// Opens an ONNX file.
///
/// # Errors
///
/// The file cannot be read, or it is not a classifier that Kiln can run.
pub fn open(path: &Path, options: &ReadOptions) -> Result<Arc<dyn OnnxSource>, OpenError> {
    Ok(Arc::new(OnnxModel::open(path, options)?))
}
