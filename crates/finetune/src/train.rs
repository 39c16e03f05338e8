//! Descent to the best head: gradient steps with momentum, on all pictures at once, until those that were kept apart for it
//! say that it does not get better.

use burn::tensor::Tensor;

use super::gradient::{Objective, cross_entropy, mean_square_norm};
use super::set::Set;
use super::{FinetuneError, Plan};

/// How much of the last step is done again (Nesterov, 1983).
const MOMENTUM: f32 = 0.9;
/// Epochs without a better loss after which training ends.
const PATIENCE: usize = 20;

/// How one epoch went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// Counted from 1.
    pub number: usize,
    /// Mean cross-entropy of the pictures that it is trained on, in nats.
    pub loss: f32,
    /// The same of those that say when to stop, and which part of them is answered rightly, if there are any.
    pub stopping: Option<(f32, f32)>,
}

/// A weight that was trained.
#[derive(Clone, Debug)]
pub(super) struct Trained {
    /// `[features + 1, classes]`.
    pub(super) weight: Tensor<2>,
    /// Epochs that it took; more were tried if there were pictures to stop by.
    pub(super) epochs: usize,
}

/// Trains the weight `start`, `[features + 1, classes]`.
///
/// # Errors
///
/// It diverges, or the device fails.
pub(super) fn train(
    start: &Tensor<2>,
    training: &Set,
    stopping: Option<&Set>,
    plan: &Plan,
    mut progress: impl FnMut(Epoch),
) -> Result<Trained, FinetuneError> {
    // In units of the features, so that one value suits all networks.
    let pull = plan.pull * mean_square_norm(training)?;
    let objective = Objective { set: training, start, pull };
    let step = plan.learning_rate / objective.steepness()?;
    let (mut now, mut before) = (start.clone(), start.clone());
    let mut best = Best { loss: f32::INFINITY, weight: start.clone(), epoch: 0 };
    if let Some(set) = stopping {
        best.loss = cross_entropy(set, start)?;
    }
    for number in 1..=plan.epochs {
        let ahead = now.clone() + (now.clone() - before) * MOMENTUM;
        before = now;
        now = ahead.clone() - objective.gradient(&ahead) * step;
        let loss = cross_entropy(training, &now)?;
        if !loss.is_finite() {
            return Err(FinetuneError::Diverged { epoch: number });
        }
        let seen = stopping.map(|set| Ok::<_, FinetuneError>((cross_entropy(set, &now)?, right_part(set, &now)?)));
        let seen = seen.transpose()?;
        progress(Epoch { number, loss, stopping: seen });
        if seen.is_none_or(|(loss, _)| loss < best.loss) {
            best = Best { loss: seen.map_or(loss, |(loss, _)| loss), weight: now.clone(), epoch: number };
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

/// Which part of a set is answered rightly.
pub(super) fn right_part(set: &Set, weight: &Tensor<2>) -> Result<f32, FinetuneError> {
    let answers = set.answers(weight)?;
    let right = answers.iter().zip(&set.classes).filter(|(answer, class)| answer == class).count();
    Ok(right as f32 / set.len() as f32)
}

#[cfg(test)]
mod tests;
