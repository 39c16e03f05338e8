//! The weights of a network as a Burnpack file in memory, and the check that they fit. The check runs before any tensor is
//! created, because the loader may panic on tensors of other shapes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use burn::tensor::Bytes;
use burn_store::burn_pack::Tensor;
use burn_store::{BurnpackStore, ModuleStore};
use kiln_graph::sha256_hex;

/// A Burnpack file. Clones are cheap. The content is not examined before it is loaded.
#[derive(Clone)]
pub struct Weights(Source);

#[derive(Clone)]
enum Source {
    /// In the program's binary.
    Embedded(&'static [u8]),
    /// In memory. Clones share the memory, and the digest after its first computation.
    InMemory { file: Bytes, sha256: Arc<OnceLock<String>> },
}

impl Weights {
    /// Takes the bytes of a file.
    pub fn new(file: Vec<u8>) -> Self {
        Self(Source::InMemory { file: Bytes::from_bytes_vec(file).shared(), sha256: Arc::default() })
    }

    pub(crate) fn embedded(file: &'static [u8]) -> Self {
        Self(Source::Embedded(file))
    }

    /// Whether the weights are part of the program's binary.
    pub fn is_embedded(&self) -> bool {
        matches!(self.0, Source::Embedded(_))
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Source::Embedded(file) => file,
            Source::InMemory { file, .. } => file,
        }
    }

    /// SHA-256 of the file, in lower-case hex. Takes tens of milliseconds; weights from a file cache the result.
    pub fn sha256(&self) -> String {
        match &self.0 {
            Source::Embedded(file) => sha256_hex(file),
            Source::InMemory { file, sha256 } => sha256.get_or_init(|| sha256_hex(file)).clone(),
        }
    }

    /// The tensors by name. They share their data with the file. The reader checks the length of the file and of each tensor.
    pub(crate) fn tensors(&self) -> Result<BTreeMap<String, Tensor>, String> {
        let mut store = match &self.0 {
            Source::Embedded(file) => BurnpackStore::from_static(file),
            Source::InMemory { file, .. } => BurnpackStore::from_bytes(Some(file.clone())),
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

/// Why weights do not fit a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightsMismatch {
    /// The file is of another kind, damaged or truncated.
    #[error("it is not a complete Burnpack file: {0}")]
    Unreadable(String),
    /// The file lacks tensors of the network.
    #[error("it lacks {}", first_names(.0))]
    Missing(Vec<String>),
    /// The file has tensors that the network does not have.
    #[error("it has {}, which the network does not have", first_names(.0))]
    Unexpected(Vec<String>),
    /// A tensor has another shape or type.
    #[error("its tensor '{name}' is {found}, and the network's is {needed}")]
    Tensor {
        /// The tensor.
        name: String,
        /// Type and shape in the file.
        found: String,
        /// Type and shape in the network.
        needed: String,
    },
    /// A tensor's data is not aligned for its type.
    #[error("its tensor '{0}' is not aligned, as Burnpack requires")]
    Unaligned(String),
    /// The device or the loader rejected weights that passed the check.
    #[error("it does not load: {0}")]
    LoadFailed(String),
}

/// Allowance for longer names and metadata, in bytes.
const SLACK: usize = 16 << 20;

/// The maximum size of a file that can fit where `embedded` does, in bytes.
pub(crate) fn max_bytes(embedded: &Weights) -> usize {
    2 * embedded.bytes().len() + SLACK
}

/// Returns the tensors of `weights` if they have the names, types and shapes of those of `embedded`.
pub(crate) fn check(embedded: &Weights, weights: &Weights) -> Result<BTreeMap<String, Tensor>, WeightsMismatch> {
    let (bytes, max) = (weights.bytes().len(), max_bytes(embedded));
    if bytes > max {
        return Err(WeightsMismatch::Unreadable(format!("it has {bytes} bytes, and no more than {max} can fit")));
    }
    let needed = embedded.tensors().map_err(WeightsMismatch::LoadFailed)?;
    let found = weights.tensors().map_err(WeightsMismatch::Unreadable)?;
    let without = |all: &BTreeMap<String, Tensor>, others: &BTreeMap<String, Tensor>| {
        all.keys().filter(|name| !others.contains_key(*name)).cloned().collect::<Vec<_>>()
    };
    let (missing, unexpected) = (without(&needed, &found), without(&found, &needed));
    if !missing.is_empty() {
        return Err(WeightsMismatch::Missing(missing));
    }
    if !unexpected.is_empty() {
        return Err(WeightsMismatch::Unexpected(unexpected));
    }
    for (tensor, needed) in found.values().zip(needed.values()) {
        check_tensor(tensor, needed)?;
    }
    Ok(found)
}

fn check_tensor(found: &Tensor, needed: &Tensor) -> Result<(), WeightsMismatch> {
    let kind = |tensor: &Tensor| format!("{:?} {:?}", tensor.dtype, tensor.shape.iter().collect::<Vec<_>>());
    if (found.dtype, &found.shape) != (needed.dtype, &needed.shape) {
        return Err(WeightsMismatch::Tensor { name: truncated(&found.name), found: kind(found), needed: kind(needed) });
    }
    let bytes = found.to_bytes().map_err(|error| WeightsMismatch::Unreadable(error.to_string()))?;
    if bytes.as_ptr().addr() % found.dtype.size().max(1) == 0 {
        return Ok(());
    }
    Err(WeightsMismatch::Unaligned(truncated(&found.name)))
}

/// The first names of a list. A file may hold any number of tensors, with names of any length.
fn first_names(names: &[String]) -> String {
    let some = names.iter().take(3).map(|name| format!("'{}'", truncated(name))).collect::<Vec<_>>().join(", ");
    if names.len() > 3 { format!("{some} and {} more", names.len() - 3) } else { some }
}

fn truncated(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}
