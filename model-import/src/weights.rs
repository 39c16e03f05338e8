//! The numbers of a network, apart from its graph: a Burnpack file in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use burn::tensor::Bytes;
use burn_store::burn_pack::Tensor;
use burn_store::{BurnpackStore, ModuleStore};
use sha2::{Digest, Sha256};

/// A Burnpack file. Cheap to clone. What is in it is not looked at before it is loaded.
#[derive(Clone)]
pub struct Weights(Source);

#[derive(Clone)]
enum Source {
    /// Part of the program.
    Embedded(&'static [u8]),
    /// From elsewhere. Clones share the memory, and the digest once it is made.
    Given { file: Bytes, sha256: Arc<OnceLock<String>> },
}

impl Weights {
    /// A file's bytes.
    pub fn new(file: Vec<u8>) -> Self {
        Self(Source::Given { file: Bytes::from_bytes_vec(file).shared(), sha256: Arc::default() })
    }

    pub(crate) fn embedded(file: &'static [u8]) -> Self {
        Self(Source::Embedded(file))
    }

    /// Whether they are part of the program.
    pub fn is_embedded(&self) -> bool {
        matches!(self.0, Source::Embedded(_))
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Source::Embedded(file) => file,
            Source::Given { file, .. } => file,
        }
    }

    /// SHA-256 of the file, in lower-case hex. Takes tens of milliseconds, for weights from elsewhere the first time only.
    pub fn sha256(&self) -> String {
        match &self.0 {
            Source::Embedded(file) => hex(file),
            Source::Given { file, sha256 } => sha256.get_or_init(|| hex(file)).clone(),
        }
    }

    /// The tensors by name; their data is shared with the file, not copied. The reader checks that the file is as long as it
    /// says, and each tensor as its shape says.
    pub(crate) fn tensors(&self) -> Result<BTreeMap<String, Tensor>, String> {
        let mut store = match &self.0 {
            Source::Embedded(file) => BurnpackStore::from_static(file),
            Source::Given { file, .. } => BurnpackStore::from_bytes(Some(file.clone())),
        };
        store.get_all_tensors().cloned().map_err(|error| error.to_string())
    }
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes().len();
        f.debug_struct("Weights").field("embedded", &self.is_embedded()).field("bytes", &bytes).finish()
    }
}

/// SHA-256 in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
