//! An ONNX file as a model: what it takes and returns, and its network on a device.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Device, Tensor};
use kiln_graph::{Classifier, ClassifierError, InputInfo, LayerKind, OnnxSource, OutputInfo, ReadOptions};
use kiln_kernels::memory::LoadingMemory;
use model_import::{Network, panic_message};

use crate::profile::{StepInfo, StepTime};
use crate::program::Program;

/// An ONNX classifier. Clones share the description.
#[derive(Clone, Debug)]
pub struct OnnxModel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    options: ReadOptions,
    sha256: String,
    input: InputInfo,
    output: OutputInfo,
    metadata: BTreeMap<String, String>,
    notes: Vec<String>,
    /// The network with its weights, until the first load takes it. Later loads read the file again, so that the weights are
    /// in memory once.
    classifier: Mutex<Option<Classifier>>,
}

/// Why a file is no model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be read, or is not a classifier that Kiln runs.
    #[error("{path}: {reason}", path = path.display())]
    Classifier {
        /// The file.
        path: PathBuf,
        /// A sentence of `kiln-graph` for the user.
        reason: String,
    },
    /// Kiln's own reader failed.
    #[error("{path}: Kiln failed to read the file: {reason}. Please report this with the file.", path = path.display())]
    Panicked {
        /// The file.
        path: PathBuf,
        /// The text of the panic.
        reason: String,
    },
}

/// Why a model cannot be put on a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadFileError {
    /// The file cannot be read again.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file is not the one that was opened.
    #[error("{path} was changed after Kiln opened it. Restart Kiln, or add the new file under another version.", path = .0.display())]
    Changed(PathBuf),
    /// The device refuses the weights.
    #[error("the device does not load the network: {0}")]
    Device(String),
}

impl OnnxModel {
    /// Opens a file, and reads all of it.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not a classifier that Kiln runs.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self, OpenError> {
        let (sha256, classifier) = read(path, options)?;
        Ok(Self(Arc::new(Inner {
            path: path.to_path_buf(),
            options: options.clone(),
            sha256,
            input: classifier.input.clone(),
            output: classifier.output.clone(),
            metadata: classifier.metadata.clone(),
            notes: classifier.notes.clone(),
            classifier: Mutex::new(Some(classifier)),
        })))
    }

    /// The input.
    pub fn input(&self) -> &InputInfo {
        &self.0.input
    }

    /// The output.
    pub fn output(&self) -> &OutputInfo {
        &self.0.output
    }

    /// Free text of the file by key; `producer` is the program that wrote it.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.0.metadata
    }

    /// SHA-256 of the file, in lower-case hex.
    pub fn sha256(&self) -> &str {
        &self.0.sha256
    }

    /// What an operator should know about the file, one sentence each.
    pub fn notes(&self) -> &[String] {
        &self.0.notes
    }

    /// Puts the network on a device. Its input has the channels of [`Self::input`].
    ///
    /// # Errors
    ///
    /// The file was changed since it was opened, or the device refuses the network.
    pub fn load(&self, device: &Device) -> Result<Box<dyn Network>, LoadFileError> {
        Ok(Box::new(program(self.classifier()?, device)?))
    }

    /// Times each step of the network on the CPU, in the context that this thread has entered: the best of `runs` runs. `images`
    /// are `[count, height, width, channels]`; a network that runs one image at a time takes one.
    ///
    /// # Errors
    ///
    /// As [`Self::load`].
    pub fn profile(&self, images: Tensor<4>, runs: usize) -> Result<Vec<StepTime>, LoadFileError> {
        let classifier = self.classifier()?;
        let layers = classifier.network.layers.iter().map(|layer| &layer.kind);
        let steps: Vec<_> = layers.filter(|kind| !matches!(kind, LayerKind::Constant(_))).map(StepInfo::new).collect();
        let program = program(classifier, &images.device())?;
        let count = images.dims()[0];
        Ok(program.profile(&steps, images.into_dispatch(), count, runs))
    }

    /// Returns the network that [`Self::open`] read, or reads the file again.
    fn classifier(&self) -> Result<Classifier, LoadFileError> {
        let inner = &*self.0;
        if let Some(classifier) = inner.classifier.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Ok(classifier);
        }
        let (sha256, classifier) = read(&inner.path, &inner.options)?;
        if sha256 != inner.sha256 {
            return Err(LoadFileError::Changed(inner.path.clone()));
        }
        Ok(classifier)
    }
}

/// Puts a network on a device.
fn program(classifier: Classifier, device: &Device) -> Result<Program, LoadFileError> {
    let is_single = classifier.is_single;
    let _loading = LoadingMemory::new();
    let program = catch_unwind(AssertUnwindSafe(|| Program::new(classifier.network, is_single, device)));
    program.map_err(|panic| LoadFileError::Device(panic_message(&*panic)))
}

/// Digest and network of a file, each read on a thread of its own: of a large file, either takes a second.
fn read(path: &Path, options: &ReadOptions) -> Result<(String, Classifier), OpenError> {
    let _loading = LoadingMemory::new();
    let failed = |error: ClassifierError| OpenError::Classifier { path: path.to_path_buf(), reason: error.to_string() };
    let result = catch_unwind(AssertUnwindSafe(|| {
        let source = OnnxSource::open(path)?;
        std::thread::scope(|scope| {
            let digest = std::thread::Builder::new().name("kiln-digest".to_string());
            let digest = digest.spawn_scoped(scope, || source.sha256()).ok();
            let classifier = Classifier::read(&source, options)?;
            // Without a second thread, one after the other.
            let sha256 = match digest.map(|thread| thread.join()) {
                Some(Ok(sha256)) => sha256?,
                Some(Err(panic)) => std::panic::resume_unwind(panic),
                None => source.sha256()?,
            };
            Ok::<_, ClassifierError>((sha256, classifier))
        })
    }));
    result
        .map_err(|panic| OpenError::Panicked { path: path.to_path_buf(), reason: panic_message(&*panic) })?
        .map_err(failed)
}
