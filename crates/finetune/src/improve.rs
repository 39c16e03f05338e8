//! One head becomes another, and both are judged.

use burn::tensor::{Device, Tensor, TensorData};
use model_import::Head;

use super::judge::{Verdict, judge};
use super::set::{Set, values};
use super::train::{Epoch, Trained, train};
use super::{Features, FinetuneError, Plan, Split};
use kiln_inference::ChosenDevice;

/// A head that was trained.
#[derive(Clone, Debug)]
pub struct Improved {
    /// The head.
    pub head: Head,
    /// Epochs that it took.
    pub epochs: usize,
    /// What it does to pictures that it has not seen.
    pub verdict: Verdict,
}

/// Trains `head` on `features`, whose right classes are `classes`, and judges it by those that were held out.
///
/// # Errors
///
/// It diverges, or the device fails.
pub fn improve(
    head: &Head,
    features: &Features,
    classes: &[usize],
    split: &Split,
    plan: &Plan,
    device: &ChosenDevice,
    progress: impl FnMut(Epoch),
) -> Result<Improved, FinetuneError> {
    let set = |which: &[usize]| Set::new(features, classes, which, head.classes, &device.device);
    let start = weight(head, &device.device);
    let Trained { weight, epochs } = match set(&split.training) {
        Some(training) => train(&start, &training, set(&split.stopping).as_ref(), plan, progress)?,
        None => Trained { weight: start.clone(), epochs: 0 },
    };
    let verdict = set(&split.held_out).map(|set| judge(&start, &weight, &set)).transpose()?.unwrap_or_default();
    Ok(Improved { head: replaced(head, weight)?, epochs, verdict })
}

/// A head as one tensor, its bias as the last row.
fn weight(head: &Head, device: &Device) -> Tensor<2> {
    let values = [&head.weight[..], &head.bias].concat();
    Tensor::from_data(TensorData::new(values, [head.features + 1, head.classes]), device)
}

fn replaced(head: &Head, weight: Tensor<2>) -> Result<Head, FinetuneError> {
    let mut values = values(weight)?;
    let bias = values.split_off(head.features * head.classes);
    Ok(head.with(values, bias))
}
