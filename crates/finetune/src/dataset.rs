//! A dataset on the device that trains, and the loss of a head on it with its gradient.
//!
//! A head is a softmax regression that is pulled towards its initial weight. With `p = softmax(X W)`, true classes `Y` (one-hot)
//! and `n` images, the loss is the mean cross-entropy plus the pull, `-sum(Y log p) / n + pull / 2 |W - W0|^2`, and its gradient is
//! `X^T (p - Y) / n + pull (W - W0)` (Bishop, Pattern Recognition and Machine Learning, section 4.3.4). Because the pull is towards
//! the initial weight and not towards zero, classes without feedback stay as they are (L2-SP: Li, Grandvalet and Davoine, 2018).

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use kiln_inference::argmax;

use crate::error::FinetuneError;
use crate::features::Features;

/// Features and true classes of some images. The last feature is 1, so the bias is the last row of the weight.
#[derive(Clone, Debug)]
pub(crate) struct Dataset {
    /// f32 `[images, features + 1]`.
    features: Tensor<2>,
    /// f32 `[images, classes]`, one-hot.
    one_hot: Tensor<2>,
    /// The true classes.
    pub(crate) classes: Vec<usize>,
}

impl Dataset {
    /// Creates the dataset of the images with these `indices`; `classes` are the true classes of all images. Without indices,
    /// returns nothing.
    pub(crate) fn new(
        features: &Features,
        classes: &[usize],
        indices: &[usize],
        class_count: usize,
        device: &Device,
    ) -> Option<Self> {
        if indices.is_empty() {
            return None;
        }
        let mut values = Vec::with_capacity(indices.len() * (features.width + 1));
        let mut one_hot = vec![0.0_f32; indices.len() * class_count];
        for (row, index) in indices.iter().enumerate() {
            values.extend_from_slice(features.row(*index));
            values.push(1.0);
            one_hot[row * class_count + classes[*index]] = 1.0;
        }
        Some(Self {
            features: Tensor::from_data(TensorData::new(values, [indices.len(), features.width + 1]), device),
            one_hot: Tensor::from_data(TensorData::new(one_hot, [indices.len(), class_count]), device),
            classes: indices.iter().map(|index| classes[*index]).collect(),
        })
    }

    /// Returns the number of images.
    pub(crate) fn len(&self) -> usize {
        self.classes.len()
    }

    /// Returns the most probable class of each image for a weight `[features + 1, classes]`.
    pub(crate) fn predict(&self, weight: &Tensor<2>) -> Result<Vec<usize>, FinetuneError> {
        let logits = to_vec(self.features.clone().matmul(weight.clone()))?;
        Ok(logits.chunks_exact(logits.len() / self.len()).filter_map(argmax).collect())
    }

    /// Returns the fraction of images whose most probable class is the true one.
    pub(crate) fn accuracy(&self, weight: &Tensor<2>) -> Result<f32, FinetuneError> {
        let predicted = self.predict(weight)?;
        let right = predicted.iter().zip(&self.classes).filter(|(predicted, class)| predicted == class).count();
        Ok(right as f32 / self.len() as f32)
    }

    /// Returns the mean cross-entropy in nats.
    pub(crate) fn cross_entropy(&self, weight: &Tensor<2>) -> Result<f32, FinetuneError> {
        let log = log_softmax(self.features.clone().matmul(weight.clone()), 1);
        to_scalar((log * self.one_hot.clone()).sum()).map(|sum| -sum / self.len() as f32)
    }

    /// Returns the mean of the squared lengths of the feature rows.
    pub(crate) fn mean_square_norm(&self) -> Result<f32, FinetuneError> {
        let square = self.features.clone() * self.features.clone();
        to_scalar(square.sum()).map(|sum| sum / self.len() as f32)
    }
}

/// The loss to be minimised.
#[derive(Clone, Debug)]
pub(crate) struct Objective<'a> {
    pub(crate) dataset: &'a Dataset,
    /// The initial weight, `[features + 1, classes]`.
    pub(crate) start: &'a Tensor<2>,
    pub(crate) pull: f32,
}

impl Objective<'_> {
    /// Returns the gradient at `weight`, in the shape of `weight`.
    pub(crate) fn gradient(&self, weight: &Tensor<2>) -> Tensor<2> {
        let Dataset { features, one_hot, .. } = self.dataset;
        let error = log_softmax(features.clone().matmul(weight.clone()), 1).exp() - one_hot.clone();
        let gradient = features.clone().transpose().matmul(error) / self.dataset.len() as f32;
        gradient + (weight.clone() - self.start.clone()) * self.pull
    }

    /// Returns a Lipschitz constant of the gradient. A step of its inverse never increases the loss. The softmax contributes at
    /// most 1/2 (Böhning, 1992) of the features' largest second moment, which is at most their mean square norm.
    pub(crate) fn lipschitz_constant(&self) -> Result<f32, FinetuneError> {
        Ok(self.dataset.mean_square_norm()? / 2.0 + self.pull)
    }
}

/// Copies the numbers of a tensor from the device.
pub(crate) fn to_vec<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, FinetuneError> {
    let data = tensor.try_into_data().map_err(|e| FinetuneError::Device(e.to_string()))?;
    data.as_slice::<f32>().map(<[f32]>::to_vec).map_err(|e| FinetuneError::Device(e.to_string()))
}

fn to_scalar(tensor: Tensor<1>) -> Result<f32, FinetuneError> {
    to_vec(tensor)?.first().copied().ok_or_else(|| FinetuneError::Device("the tensor is empty".to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradient_matches_finite_differences() {
        let device = Device::flex();
        let features = Features { width: 2, values: vec![0.5, -1.0, 2.0, 0.25, -0.75, 1.5, 1.0, 1.0] };
        let dataset = Dataset::new(&features, &[0, 2, 1, 2], &[0, 1, 2, 3], 3, &device).unwrap();
        let matrix = |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [3, 3]), &device);
        let start = matrix(vec![0.1; 9]);
        let objective = Objective { dataset: &dataset, start: &start, pull: 0.3 };
        let at: Vec<f32> = (0..9).map(|i| (i * 37 % 11) as f32 / 10.0 - 0.5).collect();
        let loss = |weight: &[f32]| {
            let pulled: f32 = weight.iter().map(|value| (value - 0.1).powi(2)).sum();
            dataset.cross_entropy(&matrix(weight.to_vec())).unwrap() + 0.3 / 2.0 * pulled
        };
        let gradient = to_vec(objective.gradient(&matrix(at.clone()))).unwrap();
        for (index, partial) in gradient.iter().enumerate() {
            const STEP: f32 = 1e-2;
            let moved = |by: f32| {
                let mut weight = at.clone();
                weight[index] += by;
                loss(&weight)
            };
            let measured = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            assert!((partial - measured).abs() < 1e-3, "{index}: {partial} and {measured}");
        }
    }
}
