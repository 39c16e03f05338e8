//! The head of a classifier: its last layer, which turns features into logits. It is found in a file of weights and replaced
//! there; nothing else of the file changes.

mod find;

use std::collections::BTreeMap;
use std::ops::Range;

use burn::tensor::Bytes;
use burn_store::burn_pack::{DType, Reader, Tensor, Writer};

use super::weights::Weights;
use find::{axes, floats, pair, transposed};

/// A linear layer: `logits = features x weight + bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// How many features there are.
    pub features: usize,
    /// How many classes there are.
    pub classes: usize,
    /// `[features, classes]`, one row a feature.
    pub weight: Vec<f32>,
    /// `[classes]`.
    pub bias: Vec<f32>,
    place: Place,
}

/// Which tensors of the file it is.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    weight: String,
    bias: String,
    layout: Layout,
}

/// How the file has the weight.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    /// `[features, classes]`, as Burn's `Linear` has it.
    ByFeature,
    /// `[classes, features]`, or `[classes, features, 1, 1]`, as a convolution has it.
    ByClass,
}

/// Why a file has no head that can be trained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// It is no Burnpack file, or a damaged one.
    #[error("the weights cannot be read: {0}")]
    Unreadable(String),
    /// No layer gives so many numbers.
    #[error("no layer of the network has {classes} outputs and a bias, so there is no last linear layer to train")]
    None {
        /// How many were looked for.
        classes: usize,
    },
    /// Several layers could be the head.
    #[error("{} layers of the network have as many outputs as there are classes ({}), so it is not clear which is the last", .0.len(), .0.join(", "))]
    Several(Vec<String>),
    /// It does not say which axis is which.
    #[error("the tensor '{0}' has as many features as classes and does not tell which axis is which")]
    Square(String),
    /// The replacement is of another shape.
    #[error("the new head does not have the shape of the one in the file")]
    OtherShape,
}

impl Weights {
    /// The last linear layer of a network of `classes` classes: the one weight with an axis of so many and the one bias of so
    /// many numbers, or of several such pairs the one whose names belong together.
    ///
    /// # Errors
    ///
    /// See [`HeadError`].
    pub fn head(&self, classes: usize) -> Result<Head, HeadError> {
        let tensors = self.tensors().map_err(HeadError::Unreadable)?;
        let (weight, bias) = pair(&tensors, classes)?;
        let (features, layout) = axes(weight, classes).ok_or_else(|| HeadError::Square(weight.name.clone()))?;
        let stored = floats(weight)?;
        let weight_by_feature = match layout {
            Layout::ByFeature => stored,
            Layout::ByClass => transposed(&stored, classes, features),
        };
        let place = Place { weight: weight.name.clone(), bias: bias.name.clone(), layout };
        Ok(Head { features, classes, weight: weight_by_feature, bias: floats(bias)?, place })
    }

    /// The same file with another head; every other tensor is the same, bit for bit.
    ///
    /// # Errors
    ///
    /// The file has no such head.
    pub fn with_head(&self, head: &Head) -> Result<Self, HeadError> {
        let Head { features, classes, weight, bias, place } = head;
        if weight.len() != features * classes || bias.len() != *classes {
            return Err(HeadError::OtherShape);
        }
        let stored = match place.layout {
            Layout::ByFeature => weight.clone(),
            Layout::ByClass => transposed(weight, *features, *classes),
        };
        let mut replaced = BTreeMap::from([(&place.weight, stored), (&place.bias, bias.clone())]);
        let unreadable = |e: burn_store::burn_pack::Error| HeadError::Unreadable(e.to_string());
        let reader = Reader::from_bytes(Bytes::from_bytes_vec(self.bytes().to_vec())).map_err(unreadable)?;
        let (metadata, scalars) = (reader.metadata().clone(), reader.scalars().clone());
        let mut tensors = Vec::new();
        for tensor in reader.into_tensors().map_err(unreadable)? {
            let Some(values) = replaced.remove(&tensor.name) else {
                tensors.push(tensor);
                continue;
            };
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            if tensor.dtype != DType::F32 || tensor.byte_len() != bytes.len() {
                return Err(HeadError::OtherShape);
            }
            let Tensor { name, dtype, shape, param_id, .. } = tensor;
            tensors.push(Tensor::new(name, dtype, shape, param_id, Bytes::from_bytes_vec(bytes)));
        }
        if !replaced.is_empty() {
            return Err(HeadError::OtherShape);
        }
        let mut writer = Writer::new(tensors);
        for (key, value) in &metadata {
            writer = writer.with_metadata(key, value);
        }
        for (key, value) in scalars {
            writer = writer.with_scalar(&key, value);
        }
        Ok(Self::new(writer.into_bytes().map_err(unreadable)?.to_vec()))
    }
}

impl Head {
    /// Another weight, `[features, classes]`, and bias in its place.
    pub fn with(&self, weight: Vec<f32>, bias: Vec<f32>) -> Self {
        Self { weight, bias, ..self.clone() }
    }

    /// How many passes let all features through, as many at a time as there are classes.
    pub fn passes(&self) -> usize {
        self.features.div_ceil(self.classes)
    }

    /// The features that a pass lets through.
    pub fn passed(&self, pass: usize) -> Range<usize> {
        pass * self.classes..self.features.min((pass + 1) * self.classes)
    }

    /// The head that lets the features of a pass through unchanged: the logits of the network with it are the features from
    /// `pass * classes` on, and zeros behind the last one.
    ///
    /// It is exact: each logit is a sum of one feature times 1 and of the others times 0, and products with 0 and 1 and sums
    /// with 0 are not rounded, in whatever order they are done, as long as the features are finite.
    pub fn selector(&self, pass: usize) -> Self {
        let Self { features, classes, .. } = *self;
        let mut weight = vec![0.0; features * classes];
        for (class, feature) in self.passed(pass).enumerate() {
            weight[feature * classes + class] = 1.0;
        }
        self.with(weight, vec![0.0; classes])
    }
}

#[cfg(test)]
mod tests;
