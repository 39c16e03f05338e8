//! Features and right classes as tensors on the device that trains.

use burn::tensor::{Device, Tensor, TensorData};

use super::{Features, FinetuneError};
use kiln_inference::top;

/// Some pictures. The last feature is 1, so that the bias is one more row of the weight.
#[derive(Clone, Debug)]
pub(super) struct Set {
    /// f32 `[pictures, features + 1]`.
    pub(super) features: Tensor<2>,
    /// f32 `[pictures, classes]`: 1 where the right class is.
    pub(super) right: Tensor<2>,
    /// The right classes.
    pub(super) classes: Vec<usize>,
}

impl Set {
    /// The pictures `which` of all, whose right classes are `classes`; nothing if there are none.
    pub(super) fn new(
        features: &Features,
        classes: &[usize],
        which: &[usize],
        class_count: usize,
        device: &Device,
    ) -> Option<Self> {
        if which.is_empty() {
            return None;
        }
        let mut values = Vec::with_capacity(which.len() * (features.width + 1));
        let mut right = vec![0.0_f32; which.len() * class_count];
        for (row, index) in which.iter().enumerate() {
            values.extend_from_slice(features.row(*index));
            values.push(1.0);
            right[row * class_count + classes[*index]] = 1.0;
        }
        Some(Self {
            features: Tensor::from_data(TensorData::new(values, [which.len(), features.width + 1]), device),
            right: Tensor::from_data(TensorData::new(right, [which.len(), class_count]), device),
            classes: which.iter().map(|index| classes[*index]).collect(),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.classes.len()
    }

    /// The most probable class of each picture by a weight `[features + 1, classes]`.
    pub(super) fn answers(&self, weight: &Tensor<2>) -> Result<Vec<usize>, FinetuneError> {
        let logits = values(self.features.clone().matmul(weight.clone()))?;
        Ok(logits.chunks_exact(logits.len() / self.len()).filter_map(top).collect())
    }
}

/// A tensor's numbers.
pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, FinetuneError> {
    let data = tensor.try_into_data().map_err(|e| FinetuneError::Device(e.to_string()))?;
    data.as_slice::<f32>().map(<[f32]>::to_vec).map_err(|e| FinetuneError::Device(e.to_string()))
}

/// A tensor's one number.
pub(super) fn number(tensor: Tensor<1>) -> Result<f32, FinetuneError> {
    values(tensor)?.first().copied().ok_or_else(|| FinetuneError::Device("it gives no number".to_string()))
}
