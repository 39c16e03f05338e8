//! Trains a head: gradient descent with momentum on all training images at once, until the loss on the validation images no longer
//! decreases. Then evaluates the head on the held-out images.

use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use kiln_inference::ChosenDevice;
use model_import::Head;

use crate::dataset::{Dataset, Objective, to_vec};
use crate::error::FinetuneError;
use crate::evaluation::{Evaluation, evaluate};
use crate::features::Features;
use crate::split::Split;

/// Momentum of the descent (Nesterov, 1983).
const MOMENTUM: f32 = 0.9;
/// Number of epochs without a lower loss after which training stops.
const PATIENCE: usize = 20;

/// Options of fine-tuning.
#[derive(Clone, Debug, PartialEq)]
pub struct FinetuneOptions {
    /// The folder that `kiln feedback export` wrote.
    pub feedback: PathBuf,
    /// Maximum number of epochs.
    pub epochs: usize,
    /// Step size, as a fraction of the largest step that never increases the loss.
    pub learning_rate: f32,
    /// Strength of the pull towards the initial weights, in units of the features' mean square norm.
    pub pull: f32,
    /// Fraction of the images that is held out for the evaluation.
    pub held_out: f64,
    /// Selects which images are held out.
    pub seed: u64,
    /// Writes a version even if it is not better, or cannot be evaluated.
    pub force: bool,
}

impl FinetuneOptions {
    /// Returns the default options for the export in `feedback`.
    pub fn new(feedback: PathBuf) -> Self {
        Self { feedback, epochs: 300, learning_rate: 1.0, pull: 1e-3, held_out: 0.2, seed: 0, force: false }
    }
}

/// A trained head and its evaluation.
#[derive(Clone, Debug)]
pub struct FinetuneResult {
    /// The trained head.
    pub head: Head,
    /// Number of epochs that produced the head.
    pub epochs: usize,
    /// The evaluation on the held-out images.
    pub evaluation: Evaluation,
}

/// The progress of training after an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochReport {
    /// Number of the epoch, from 1.
    pub number: usize,
    /// Mean cross-entropy of the training images, in nats.
    pub loss: f32,
    /// Mean cross-entropy and accuracy of the validation images, if there are any.
    pub validation: Option<(f32, f32)>,
}

/// Trains `head` on `features`, whose true classes are `classes`, and evaluates it on the held-out images.
///
/// # Errors
///
/// Training diverges, or the device fails.
pub fn finetune_head(
    head: &Head,
    features: &Features,
    classes: &[usize],
    split: &Split,
    options: &FinetuneOptions,
    device: &ChosenDevice,
    progress: impl FnMut(EpochReport),
) -> Result<FinetuneResult, FinetuneError> {
    let dataset = |indices: &[usize]| Dataset::new(features, classes, indices, head.classes, &device.device);
    let start = weight_of(head, &device.device);
    let Trained { weight, epochs } = match dataset(&split.training) {
        Some(training) => train(&start, &training, dataset(&split.validation).as_ref(), options, progress)?,
        None => Trained { weight: start.clone(), epochs: 0 },
    };
    let held_out = dataset(&split.held_out);
    let evaluation = held_out.map(|held_out| evaluate(&start, &weight, &held_out)).transpose()?.unwrap_or_default();
    Ok(FinetuneResult { head: with_weight(head, weight)?, epochs, evaluation })
}

/// Returns a head as one tensor, `[features + 1, classes]`, with the bias as the last row.
fn weight_of(head: &Head, device: &Device) -> Tensor<2> {
    let values = [&head.weight[..], &head.bias].concat();
    Tensor::from_data(TensorData::new(values, [head.features + 1, head.classes]), device)
}

fn with_weight(head: &Head, weight: Tensor<2>) -> Result<Head, FinetuneError> {
    let mut values = to_vec(weight)?;
    let bias = values.split_off(head.features * head.classes);
    Ok(head.with(values, bias))
}

/// A trained weight.
#[derive(Clone, Debug)]
struct Trained {
    /// `[features + 1, classes]`.
    weight: Tensor<2>,
    /// Number of epochs that produced the weight. With validation images, more epochs may have run.
    epochs: usize,
}

/// Trains the weight `start`, `[features + 1, classes]`.
///
/// # Errors
///
/// Training diverges, or the device fails.
fn train(
    start: &Tensor<2>,
    training: &Dataset,
    validation: Option<&Dataset>,
    options: &FinetuneOptions,
    mut progress: impl FnMut(EpochReport),
) -> Result<Trained, FinetuneError> {
    // The pull is relative to the features, so that one value suits all networks.
    let pull = options.pull * training.mean_square_norm()?;
    let objective = Objective { dataset: training, start, pull };
    let step = options.learning_rate / objective.lipschitz_constant()?;
    let (mut now, mut before) = (start.clone(), start.clone());
    let mut best = Best { loss: f32::INFINITY, weight: start.clone(), epoch: 0 };
    if let Some(validation) = validation {
        best.loss = validation.cross_entropy(start)?;
    }
    for number in 1..=options.epochs {
        let ahead = now.clone() + (now.clone() - before) * MOMENTUM;
        before = now;
        now = ahead.clone() - objective.gradient(&ahead) * step;
        let loss = training.cross_entropy(&now)?;
        if !loss.is_finite() {
            return Err(FinetuneError::Diverged { epoch: number });
        }
        let validate = |set: &Dataset| Ok::<_, FinetuneError>((set.cross_entropy(&now)?, set.accuracy(&now)?));
        let validation = validation.map(validate).transpose()?;
        progress(EpochReport { number, loss, validation });
        if validation.is_none_or(|(loss, _)| loss < best.loss) {
            best = Best { loss: validation.map_or(loss, |(loss, _)| loss), weight: now.clone(), epoch: number };
        } else if number >= best.epoch + PATIENCE {
            break;
        }
    }
    Ok(Trained { weight: best.weight, epochs: best.epoch })
}

/// The weight with the lowest loss so far.
struct Best {
    loss: f32,
    weight: Tensor<2>,
    epoch: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zeros(classes: usize) -> Tensor<2> {
        Tensor::from_data(TensorData::new(vec![0.0_f32; 3 * classes], [3, classes]), &Device::flex())
    }

    /// Returns points in three clusters at the corners of a triangle, from a deterministic generator.
    fn clusters(count: usize) -> (Features, Vec<usize>) {
        let mut state = 9_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
        };
        let corners = [[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]];
        let classes: Vec<usize> = (0..count).map(|index| index % 3).collect();
        let mut values = Vec::new();
        for class in &classes {
            values.extend(corners[*class].map(|side| side + noise()));
        }
        (Features { width: 2, values }, classes)
    }

    fn dataset(features: &Features, classes: &[usize], range: std::ops::Range<usize>, class_count: usize) -> Dataset {
        Dataset::new(features, classes, &range.collect::<Vec<_>>(), class_count, &Device::flex()).unwrap()
    }

    fn options() -> FinetuneOptions {
        FinetuneOptions::new("unused".into())
    }

    #[test]
    fn training_separates_separable_classes() {
        let (features, classes) = clusters(60);
        let dataset = dataset(&features, &classes, 0..60, 3);
        let mut losses = Vec::new();
        let trained = train(&zeros(3), &dataset, None, &options(), |epoch| losses.push(epoch.loss)).unwrap();
        assert!(dataset.accuracy(&zeros(3)).unwrap() < 0.4);
        assert_eq!(dataset.accuracy(&trained.weight).unwrap(), 1.0);
        assert!(losses.last().unwrap() * 2.0 < losses[0], "{losses:?}");
        assert!(losses.windows(2).all(|pair| pair[1] < pair[0] + 1e-3), "{losses:?}");
    }

    #[test]
    fn pull_limits_the_change_of_the_weights() {
        let (features, classes) = clusters(60);
        let dataset = dataset(&features, &classes, 0..60, 4);
        // The fourth class has no images.
        let moved = |pull: f32| {
            let trained = train(&zeros(4), &dataset, None, &FinetuneOptions { pull, ..options() }, |_| ()).unwrap();
            to_vec(trained.weight).unwrap().iter().skip(3).step_by(4).map(|value| value.abs()).sum::<f32>()
        };
        let (loose, tight) = (moved(0.0), moved(1.0));
        assert!(tight < loose / 4.0, "{tight} and {loose}");
    }

    #[test]
    fn training_stops_if_the_validation_loss_does_not_decrease() {
        let (features, mut classes) = clusters(60);
        // The labels of the two halves contradict each other, so the initial weight is the best.
        (30..60).for_each(|index| classes[index] = (classes[index] + 1) % 3);
        let (training, validation) = (dataset(&features, &classes, 0..30, 3), dataset(&features, &classes, 30..60, 3));
        let mut epochs = 0;
        let trained = train(&zeros(3), &training, Some(&validation), &options(), |_| epochs += 1).unwrap();
        assert_eq!((trained.epochs, epochs), (0, PATIENCE));
        assert!(to_vec(trained.weight).unwrap().iter().all(|value| *value == 0.0));
    }

    #[test]
    fn divergence_is_an_error() {
        let (features, classes) = clusters(30);
        let options = FinetuneOptions { learning_rate: 1e30, pull: 1.0, ..options() };
        let outcome = train(&zeros(3), &dataset(&features, &classes, 0..30, 3), None, &options, |_| ());
        assert!(matches!(outcome, Err(FinetuneError::Diverged { .. })), "{outcome:?}");
    }
}
