//! Whether a file of weights fits a network. All is judged before a tensor is made: what loads tensors may panic on others.

use std::collections::BTreeMap;

use burn_store::burn_pack::Tensor;

use super::weights::Weights;

/// Why weights do not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// It is another kind of file, a damaged one or a part of one.
    #[error("it is no whole Burnpack file: {0}")]
    Unreadable(String),
    /// Tensors that the network has.
    #[error("it lacks {}", few(.0))]
    Missing(Vec<String>),
    /// Tensors that the network has not.
    #[error("it has {} and the network has not", few(.0))]
    Unused(Vec<String>),
    /// A tensor is of another shape or type.
    #[error("its tensor '{name}' is {found}, and the network's is {needed}")]
    Other {
        /// The tensor.
        name: String,
        /// Type and shape in the file.
        found: String,
        /// Type and shape in the network.
        needed: String,
    },
    /// A tensor does not lie where a number of its type can be read.
    #[error("its tensor '{0}' is not aligned, as Burnpack has it")]
    Unaligned(String),
    /// The device or the loader refused what looked right.
    #[error("it does not load: {0}")]
    Refused(String),
}

/// A file of weights may be so much larger than the program's own, for longer names and metadata.
const SLACK: usize = 16 << 20;

/// The most bytes that a file may have that fits where `embedded` does.
pub(crate) fn most_bytes(embedded: &Weights) -> usize {
    2 * embedded.bytes().len() + SLACK
}

/// The tensors of `weights`, which are those of `embedded` by name, type and shape.
pub(crate) fn check(embedded: &Weights, weights: &Weights) -> Result<BTreeMap<String, Tensor>, Misfit> {
    let (bytes, most) = (weights.bytes().len(), most_bytes(embedded));
    if bytes > most {
        return Err(Misfit::Unreadable(format!("it has {bytes} bytes, and no more than {most} can fit")));
    }
    let needed = embedded.tensors().map_err(Misfit::Refused)?;
    let found = weights.tensors().map_err(Misfit::Unreadable)?;
    let without = |all: &BTreeMap<String, Tensor>, others: &BTreeMap<String, Tensor>| {
        all.keys().filter(|name| !others.contains_key(*name)).cloned().collect::<Vec<_>>()
    };
    let (missing, unused) = (without(&needed, &found), without(&found, &needed));
    if !missing.is_empty() {
        return Err(Misfit::Missing(missing));
    }
    if !unused.is_empty() {
        return Err(Misfit::Unused(unused));
    }
    for (tensor, needed) in found.values().zip(needed.values()) {
        alike(tensor, needed)?;
    }
    Ok(found)
}

fn alike(found: &Tensor, needed: &Tensor) -> Result<(), Misfit> {
    let kind = |tensor: &Tensor| format!("{:?} {:?}", tensor.dtype, tensor.shape.iter().collect::<Vec<_>>());
    if (found.dtype, &found.shape) != (needed.dtype, &needed.shape) {
        return Err(Misfit::Other { name: short(&found.name), found: kind(found), needed: kind(needed) });
    }
    let bytes = found.to_bytes().map_err(|error| Misfit::Unreadable(error.to_string()))?;
    if bytes.as_ptr().addr() % found.dtype.size().max(1) == 0 {
        return Ok(());
    }
    Err(Misfit::Unaligned(short(&found.name)))
}

/// Some of the names: whoever wrote the file chose them, and how many.
fn few(names: &[String]) -> String {
    let some = names.iter().take(3).map(|name| format!("'{}'", short(name))).collect::<Vec<_>>().join(", ");
    if names.len() > 3 { format!("{some} and {} more", names.len() - 3) } else { some }
}

fn short(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}
