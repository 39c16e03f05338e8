//! Loss and gradient of a softmax regression that is pulled back to where it began.
//!
//! With `p = softmax(X W)`, right classes `Y` (one-hot) and `n` pictures the loss is the mean cross-entropy
//! `-sum(Y log p) / n + pull / 2 |W - W0|^2`, and its gradient `X^T (p - Y) / n + pull (W - W0)` (Bishop, Pattern Recognition
//! and Machine Learning, 4.3.4). The pull to the weights that are there, rather than to zero, keeps classes that nobody gave
//! feedback on where they are (L2-SP: Li, Grandvalet and Davoine, 2018).

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

use super::FinetuneError;
use super::set::{Set, number};

/// What is to be made small.
#[derive(Clone, Debug)]
pub(super) struct Objective<'a> {
    pub(super) set: &'a Set,
    /// The weight at the beginning, `[features + 1, classes]`.
    pub(super) start: &'a Tensor<2>,
    pub(super) pull: f32,
}

impl Objective<'_> {
    /// Its slope at `weight`, of the same shape.
    pub(super) fn gradient(&self, weight: &Tensor<2>) -> Tensor<2> {
        let Set { features, right, .. } = self.set;
        let wrong = log_softmax(features.clone().matmul(weight.clone()), 1).exp() - right.clone();
        let slope = features.clone().transpose().matmul(wrong) / self.set.len() as f32;
        slope + (weight.clone() - self.start.clone()) * self.pull
    }

    /// A bound of how fast the slope changes, whose inverse is a step that never leads uphill: the softmax adds at most 1/2
    /// (Böhning, 1992) of the features' largest second moment, which is no more than their mean square norm.
    pub(super) fn steepness(&self) -> Result<f32, FinetuneError> {
        Ok(mean_square_norm(self.set)? / 2.0 + self.pull)
    }
}

/// The mean cross-entropy of a set, in nats.
pub(super) fn cross_entropy(set: &Set, weight: &Tensor<2>) -> Result<f32, FinetuneError> {
    let log = log_softmax(set.features.clone().matmul(weight.clone()), 1);
    number((log * set.right.clone()).sum()).map(|sum| -sum / set.len() as f32)
}

/// The mean of the squared lengths of the rows.
pub(super) fn mean_square_norm(set: &Set) -> Result<f32, FinetuneError> {
    let square = set.features.clone() * set.features.clone();
    number(square.sum()).map(|sum| sum / set.len() as f32)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::Features;
    use crate::set::values;

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let device = Device::flex();
        let features = Features { width: 2, values: vec![0.5, -1.0, 2.0, 0.25, -0.75, 1.5, 1.0, 1.0] };
        let set = Set::new(&features, &[0, 2, 1, 2], &[0, 1, 2, 3], 3, &device).unwrap();
        let matrix = |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [3, 3]), &device);
        let start = matrix(vec![0.1; 9]);
        let objective = Objective { set: &set, start: &start, pull: 0.3 };
        let at: Vec<f32> = (0..9).map(|i| (i * 37 % 11) as f32 / 10.0 - 0.5).collect();
        let loss = |weight: &[f32]| {
            let pulled: f32 = weight.iter().map(|value| (value - 0.1).powi(2)).sum();
            cross_entropy(&set, &matrix(weight.to_vec())).unwrap() + 0.3 / 2.0 * pulled
        };
        let gradient = values(objective.gradient(&matrix(at.clone()))).unwrap();
        for (index, slope) in gradient.iter().enumerate() {
            const STEP: f32 = 1e-2;
            let moved = |by: f32| {
                let mut weight = at.clone();
                weight[index] += by;
                loss(&weight)
            };
            let measured = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            assert!((slope - measured).abs() < 1e-3, "{index}: {slope} and {measured}");
        }
    }
}
