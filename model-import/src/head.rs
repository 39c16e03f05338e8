//! The head of a classifier: its last layer, which turns features into logits. It can be read from a weights file and replaced
//! there; the rest of the file does not change.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::tensor::Bytes;
use burn_store::burn_pack::{DType, Reader, Tensor, Writer};

use super::weights::Weights;

/// A linear layer: `logits = features x weight + bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// The number of features.
    pub features: usize,
    /// The number of classes.
    pub classes: usize,
    /// `[features, classes]`, one row for each feature.
    pub weight: Vec<f32>,
    /// `[classes]`.
    pub bias: Vec<f32>,
    location: Location,
}

/// The names and the layout of the head's tensors in the file.
#[derive(Clone, Debug, PartialEq)]
struct Location {
    weight: String,
    bias: String,
    layout: Layout,
}

/// The order of the weight's axes in the file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    /// `[features, classes]`, as in Burn's `Linear`.
    ByFeature,
    /// `[classes, features]`, or `[classes, features, 1, 1]`, as in a convolution.
    ByClass,
}

/// Why the head of a weights file cannot be read or replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The file is not Burnpack, or damaged.
    #[error("the weights cannot be read: {0}")]
    Unreadable(String),
    /// No layer has this number of outputs.
    #[error("no layer of the network has {classes} outputs and a bias, so there is no last linear layer to train")]
    None {
        /// The number of classes.
        classes: usize,
    },
    /// Several layers could be the head.
    #[error("{} layers of the network have as many outputs as there are classes ({}), so it is not clear which is the last", .0.len(), .0.join(", "))]
    Several(Vec<String>),
    /// The weight is square, so its axes cannot be told apart.
    #[error("the tensor '{0}' has as many features as classes, so its axes cannot be told apart")]
    Square(String),
    /// The replacement has another shape.
    #[error("the new head does not have the shape of the one in the file")]
    OtherShape,
}

impl Weights {
    /// Returns the last linear layer of a network with `classes` classes: the only weight with an axis of that size and the only
    /// bias of that size. If there are several, the pair with the same name before `.weight` and `.bias` is taken.
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
        let location = Location { weight: weight.name.clone(), bias: bias.name.clone(), layout };
        Ok(Head { features, classes, weight: weight_by_feature, bias: floats(bias)?, location })
    }

    /// Returns the file with another head. Every other tensor stays the same, bit for bit.
    ///
    /// # Errors
    ///
    /// The file does not have a head of this shape.
    pub fn with_head(&self, head: &Head) -> Result<Self, HeadError> {
        let Head { features, classes, weight, bias, location } = head;
        if weight.len() != features * classes || bias.len() != *classes {
            return Err(HeadError::OtherShape);
        }
        let stored = match location.layout {
            Layout::ByFeature => weight.clone(),
            Layout::ByClass => transposed(weight, *features, *classes),
        };
        let mut replaced = BTreeMap::from([(&location.weight, stored), (&location.bias, bias.clone())]);
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
    /// The same head with another weight, `[features, classes]`, and bias.
    pub fn with(&self, weight: Vec<f32>, bias: Vec<f32>) -> Self {
        Self { weight, bias, ..self.clone() }
    }

    /// The number of passes that return all features; each pass returns as many features as there are classes.
    pub fn passes(&self) -> usize {
        self.features.div_ceil(self.classes)
    }

    /// The features that a pass returns.
    pub fn passed(&self, pass: usize) -> Range<usize> {
        pass * self.classes..self.features.min((pass + 1) * self.classes)
    }

    /// A head that copies the features of a pass: the logits of the network with this head are the features from
    /// `pass * classes` on, followed by zeros after the last feature.
    ///
    /// The copy is exact if the features are finite: each logit is a sum of one feature times 1 and of the others times 0.
    /// Products with 0 and 1 and sums with 0 are not rounded, in any order.
    pub fn selector(&self, pass: usize) -> Self {
        let Self { features, classes, .. } = *self;
        let mut weight = vec![0.0; features * classes];
        for (class, feature) in self.passed(pass).enumerate() {
            weight[feature * classes + class] = 1.0;
        }
        self.with(weight, vec![0.0; classes])
    }
}

/// Finds the head's weight and bias among all tensors.
fn pair(tensors: &BTreeMap<String, Tensor>, classes: usize) -> Result<(&Tensor, &Tensor), HeadError> {
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

/// Whether a shape is a matrix with an axis of `classes`, or a 1x1 convolution with `classes` outputs.
fn is_matrix(shape: &[usize], classes: usize) -> bool {
    match *shape {
        [rows, columns] => rows == classes || columns == classes,
        [outputs, _, 1, 1] => outputs == classes,
        _ => false,
    }
}

/// The number of features of a weight and the order of its axes; `None` if the order is ambiguous.
fn axes(weight: &Tensor, classes: usize) -> Option<(usize, Layout)> {
    match weight.shape.iter().copied().collect::<Vec<usize>>()[..] {
        [_, features, _, _] => Some((features, Layout::ByClass)),
        [rows, columns] if rows == columns => None,
        [features, columns] if columns == classes => Some((features, Layout::ByFeature)),
        [_, features] => Some((features, Layout::ByClass)),
        _ => None,
    }
}

/// The values of a tensor of float32.
fn floats(tensor: &Tensor) -> Result<Vec<f32>, HeadError> {
    let bytes = tensor.to_bytes().map_err(|e| HeadError::Unreadable(e.to_string()))?;
    Ok(bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect())
}

/// Transposes a matrix of `rows` x `columns`.
fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|index| values[index % rows * columns + index / rows]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with these tensors; the values of each are 0, 1, 2 and so on.
    fn file(tensors: &[(&str, &[usize])]) -> Weights {
        let tensor = |(name, shape): &(&str, &[usize])| {
            let count: usize = shape.iter().product();
            let bytes = (0..count).flat_map(|value| (value as f32).to_le_bytes()).collect();
            Tensor::new((*name).to_string(), DType::F32, shape.to_vec(), Some(7), Bytes::from_bytes_vec(bytes))
        };
        let writer = Writer::new(tensors.iter().map(tensor).collect()).with_metadata("producer", "a test");
        Weights::new(writer.into_bytes().unwrap().to_vec())
    }

    #[test]
    fn head_is_found_in_both_layouts() {
        // weight[feature, class] = class * 2 + feature, as a convolution stores it, and as Burn's Linear does.
        let by_class =
            file(&[("a.weight", &[4, 2, 3, 3]), ("b.weight", &[3, 2, 1, 1]), ("b.bias", &[3])]).head(3).unwrap();
        assert_eq!((by_class.features, by_class.classes), (2, 3));
        assert_eq!(by_class.weight, [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
        let by_feature = file(&[("linear.weight", &[2, 3]), ("linear.bias", &[3])]).head(3).unwrap();
        assert_eq!(by_feature.weight, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(by_feature.bias, [0.0, 1.0, 2.0]);
    }

    #[test]
    fn ambiguous_or_missing_head_is_an_error() {
        let error = |tensors: &[(&str, &[usize])]| file(tensors).head(3).unwrap_err();
        assert_eq!(error(&[("a.weight", &[2, 4]), ("a.bias", &[4])]), HeadError::None { classes: 3 });
        let twice =
            error(&[("a.weight", &[3, 5, 1, 1]), ("a.bias", &[3]), ("b.weight", &[3, 5, 1, 1]), ("b.bias", &[3])]);
        assert_eq!(twice, HeadError::Several(vec!["a".to_string(), "b".to_string()]));
        assert_eq!(error(&[("a.weight", &[3, 3]), ("a.bias", &[3])]), HeadError::Square("a.weight".to_string()));
        assert!(matches!(Weights::new(vec![1, 2, 3]).head(3), Err(HeadError::Unreadable(_))));
    }

    #[test]
    fn weight_and_bias_of_the_same_layer_are_preferred() {
        // A convolution with three input channels, and the bias of another one with three output channels.
        let head =
            file(&[("a.weight", &[5, 3]), ("b.bias", &[3]), ("c.weight", &[4, 3]), ("c.bias", &[3])]).head(3).unwrap();
        assert_eq!(head.features, 4);
    }

    #[test]
    fn replacing_the_head_keeps_every_other_tensor() {
        let model = crate::MODELS.iter().find(|model| model.spec.name == "efficientnet-lite0").unwrap();
        let weights = model.embedded();
        let mut head = weights.head(model.spec.labels.len()).unwrap();
        assert_eq!((head.features, head.classes), (1280, 1000));
        head.weight.iter_mut().for_each(|value| *value += 1.0);
        head.bias[3] = 42.0;
        let changed = weights.with_head(&head).unwrap();
        assert_eq!(changed.head(1000).unwrap(), head);
        let (before, after) = (weights.tensors().unwrap(), changed.tensors().unwrap());
        assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        let mut different = Vec::new();
        for (name, tensor) in &before {
            let other = &after[name];
            assert_eq!(
                (tensor.dtype, &tensor.shape, tensor.param_id),
                (other.dtype, &other.shape, other.param_id),
                "{name}"
            );
            if tensor.to_bytes().unwrap()[..] != other.to_bytes().unwrap()[..] {
                different.push(name.clone());
            }
        }
        different.sort();
        let mut expected = vec![head.location.bias.clone(), head.location.weight.clone()];
        expected.sort();
        assert_eq!(different, expected);
        // The same head gives the same tensors, and a file that loads.
        let same = weights.with_head(&weights.head(1000).unwrap()).unwrap();
        assert_eq!(same.head(1000).unwrap(), weights.head(1000).unwrap());
        model.load_with(&burn::tensor::Device::flex(), &same).unwrap();
    }

    #[test]
    fn selectors_copy_each_feature_once() {
        let head = file(&[("b.weight", &[3, 7, 1, 1]), ("b.bias", &[3])]).head(3).unwrap();
        let features: Vec<f32> = (0..7).map(|feature| 0.1 + feature as f32).collect();
        let mut seen = Vec::new();
        for selector in (0..head.passes()).map(|pass| head.selector(pass)) {
            for class in 0..3 {
                let products = features.iter().enumerate().map(|(f, value)| value * selector.weight[f * 3 + class]);
                seen.push(products.sum::<f32>() + selector.bias[class]);
            }
        }
        assert_eq!(seen[..7], features);
        assert_eq!(seen[7..], [0.0, 0.0]);
    }
}
