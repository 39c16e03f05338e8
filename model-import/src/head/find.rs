//! Which tensors of a file are the head, and how they have its numbers.

use std::collections::BTreeMap;

use burn_store::burn_pack::{DType, Tensor};

use super::{HeadError, Layout};

/// The head's weight and bias among all tensors.
pub(super) fn pair(tensors: &BTreeMap<String, Tensor>, classes: usize) -> Result<(&Tensor, &Tensor), HeadError> {
    let is_float = |tensor: &&Tensor| tensor.dtype == DType::F32;
    let shape = |tensor: &Tensor| tensor.shape.iter().copied().collect::<Vec<usize>>();
    let biases: Vec<&Tensor> = tensors.values().filter(is_float).filter(|tensor| shape(tensor) == [classes]).collect();
    let weights: Vec<&Tensor> =
        tensors.values().filter(is_float).filter(|tensor| is_matrix(&shape(tensor), classes)).collect();
    if let ([weight], [bias]) = (&weights[..], &biases[..]) {
        return Ok((weight, bias));
    }
    let owner = |tensor: &Tensor| tensor.name.rsplit_once('.').map_or("", |(owner, _)| owner).to_string();
    let pairs: Vec<(&Tensor, &Tensor)> = weights
        .iter()
        .filter_map(|weight| Some((*weight, *biases.iter().find(|bias| owner(bias) == owner(weight))?)))
        .collect();
    match &pairs[..] {
        [] => Err(HeadError::None { classes }),
        [pair] => Ok(*pair),
        several => Err(HeadError::Several(several.iter().map(|(weight, _)| owner(weight)).collect())),
    }
}

/// Whether a shape is that of a matrix that gives or takes `classes` numbers, a 1x1 convolution among them.
fn is_matrix(shape: &[usize], classes: usize) -> bool {
    match *shape {
        [rows, columns] => rows == classes || columns == classes,
        [outputs, _, 1, 1] => outputs == classes,
        _ => false,
    }
}

/// How many features a weight takes and how it has them, unless it cannot be told.
pub(super) fn axes(weight: &Tensor, classes: usize) -> Option<(usize, Layout)> {
    match weight.shape.iter().copied().collect::<Vec<usize>>()[..] {
        [_, features, _, _] => Some((features, Layout::ByClass)),
        [rows, columns] if rows == columns => None,
        [features, columns] if columns == classes => Some((features, Layout::ByFeature)),
        [_, features] => Some((features, Layout::ByClass)),
        _ => None,
    }
}

pub(super) fn floats(tensor: &Tensor) -> Result<Vec<f32>, HeadError> {
    let bytes = tensor.to_bytes().map_err(|e| HeadError::Unreadable(e.to_string()))?;
    Ok(bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect())
}

/// A matrix of so many rows and columns, its rows made columns.
pub(super) fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|index| values[index % rows * columns + index / rows]).collect()
}
