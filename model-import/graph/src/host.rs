//! Values that are known when a file is read: weights, and shapes as functions of the batch size.

use std::sync::Arc;

use kiln_ops::Binary;

/// The integer `constant + batch * per_image`. Shapes and indices are computed with such numbers, so that one plan serves every
/// batch size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    /// The part that does not depend on the batch size.
    pub constant: i64,
    /// The factor of the batch size.
    pub per_image: i64,
}

impl Linear {
    /// A number that does not depend on the batch size.
    pub fn constant(constant: i64) -> Self {
        Self { constant, per_image: 0 }
    }

    /// The number, if it does not depend on the batch size.
    pub fn as_constant(self) -> Option<i64> {
        (self.per_image == 0).then_some(self.constant)
    }

    fn add(self, other: Self) -> Option<Self> {
        Some(Self {
            constant: self.constant.checked_add(other.constant)?,
            per_image: self.per_image.checked_add(other.per_image)?,
        })
    }

    pub(crate) fn scale(self, factor: i64) -> Option<Self> {
        Some(Self { constant: self.constant.checked_mul(factor)?, per_image: self.per_image.checked_mul(factor)? })
    }

    /// Whether the number is other than 0; `None` if it is 0 for some batch sizes and not for others.
    pub(crate) fn truth(self) -> Option<bool> {
        if let Some(constant) = self.as_constant() {
            return Some(constant != 0);
        }
        // It is 0 for the batch size -constant / per_image, if that is an integer from 1.
        let has_root = self.constant.checked_rem(self.per_image) == Some(0) && self.constant / self.per_image < 0;
        if has_root { None } else { Some(true) }
    }

    /// The number without its sign. `None` if the sign depends on the batch size, or if the result overflows.
    pub(crate) fn magnitude(self) -> Option<Self> {
        // Batch sizes are at least 1, and the number grows or falls with them.
        let first = self.constant.checked_add(self.per_image)?;
        if first >= 0 && self.per_image >= 0 {
            Some(self)
        } else if first <= 0 && self.per_image <= 0 {
            self.scale(-1)
        } else {
            None
        }
    }

    fn divide(self, divisor: i64) -> Option<Self> {
        if self.per_image == 0 {
            return Some(Self::constant(self.constant.checked_div(divisor)?));
        }
        let exact = |value: i64| value.checked_rem(divisor).filter(|rest| *rest == 0).map(|_| value / divisor);
        Some(Self { constant: exact(self.constant)?, per_image: exact(self.per_image)? })
    }

    /// Applies a binary operation of integers, which truncates divisions as ONNX does. `None` if the result is not linear in
    /// the batch size, overflows or divides by zero.
    pub(crate) fn binary(self, op: Binary, other: Self) -> Option<Self> {
        let both = || Some((self.as_constant()?, other.as_constant()?));
        let truth = |value: bool| Some(Self::constant(i64::from(value)));
        match op {
            Binary::Add => self.add(other),
            Binary::Sub => self.add(other.scale(-1)?),
            Binary::Mul => match (self.as_constant(), other.as_constant()) {
                (Some(factor), _) => other.scale(factor),
                (_, Some(factor)) => self.scale(factor),
                _ => None,
            },
            Binary::Div => self.divide(other.as_constant()?),
            // The sign is that of the divisor.
            Binary::Mod => both().and_then(|(a, b)| {
                let rest = a.checked_rem(b)?;
                Some(Self::constant(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }))
            }),
            Binary::Pow => both().and_then(|(a, b)| Some(Self::constant(a.checked_pow(u32::try_from(b).ok()?)?))),
            // Batch sizes are positive, so that a multiple of the batch size is larger than any number that is not positive.
            Binary::Min | Binary::Max if self == other => Some(self),
            Binary::Min => both().map(|(a, b)| Self::constant(a.min(b))),
            Binary::Max => both().map(|(a, b)| Self::constant(a.max(b))),
            Binary::Equal if self == other => truth(true),
            Binary::Equal if self.never_equals(other) => truth(false),
            Binary::Equal => both().and_then(|(a, b)| truth(a == b)),
            Binary::Less if self.is_dimension() && other.as_constant().is_some_and(|b| b <= 0) => truth(false),
            Binary::Less => both().and_then(|(a, b)| truth(a < b)),
            Binary::LessOrEqual => both().and_then(|(a, b)| truth(a <= b)),
            Binary::Greater if self.is_dimension() && other.as_constant().is_some_and(|b| b <= 0) => truth(true),
            Binary::Greater => both().and_then(|(a, b)| truth(a > b)),
            Binary::GreaterOrEqual => both().and_then(|(a, b)| truth(a >= b)),
            Binary::And => both().and_then(|(a, b)| truth(a != 0 && b != 0)),
            Binary::Or => both().and_then(|(a, b)| truth(a != 0 || b != 0)),
            Binary::Xor => both().and_then(|(a, b)| truth((a != 0) != (b != 0))),
            Binary::PRelu => None,
        }
    }

    /// Whether the number is a positive multiple of the batch size.
    fn is_dimension(self) -> bool {
        self.constant == 0 && self.per_image > 0
    }

    /// Whether no batch size makes the numbers equal. Exporters ask whether a size is -1.
    fn never_equals(self, other: Self) -> bool {
        let negative = |number: Self| number.as_constant().is_some_and(|number| number <= 0);
        self.is_dimension() && negative(other) || other.is_dimension() && negative(self)
    }
}

/// A tensor in row-major order. Clones share the values.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<T> {
    /// The shape.
    pub shape: Vec<usize>,
    /// The values.
    pub data: Arc<Vec<T>>,
}

/// A tensor whose values are known when a file is read.
#[derive(Clone, Debug, PartialEq)]
pub enum Host {
    /// Weights. Quantised integers of at most 16 bits are of this kind, too: `f32` holds them exactly.
    Float(Array<f32>),
    /// Shapes, indices and conditions.
    Int(Array<Linear>),
}

/// The shape that two shapes have after broadcasting; `None` if they do not fit.
pub(crate) fn broadcast_shape(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (a, b) if a == b => Some(a),
            (1, other) | (other, 1) => Some(other),
            _ => None,
        })
        .collect()
}

/// The largest number of elements of a tensor, and of one whose axes of size 0 have size 1 instead.
const MAX_ELEMENTS: usize = 1 << 40;

/// The number of elements of a shape; axes of size 0 count as 1, so that products over some of the axes do not overflow. `None`
/// if no tensor is that large.
pub(crate) fn checked_elements(shape: &[usize]) -> Option<usize> {
    let product = shape.iter().try_fold(1_usize, |product, size| product.checked_mul((*size).max(1)));
    product.filter(|elements| *elements <= MAX_ELEMENTS)
}

/// The distance between neighbours along each axis.
pub(crate) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Calls `visit` with the position in the source of each element of a tensor of `shape`, in row-major order; `strides` are those
/// in the source.
pub(crate) fn for_each_position(shape: &[usize], strides: &[usize], mut visit: impl FnMut(usize)) {
    let count: usize = shape.iter().product();
    let (mut index, mut position) = (vec![0; shape.len()], 0);
    for _ in 0..count {
        visit(position);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            position += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            position -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
}

impl<T: Clone> Array<T> {
    pub(crate) fn new(shape: Vec<usize>, data: Vec<T>) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), data.len());
        Self { shape, data: Arc::new(data) }
    }

    /// The values alone; they are copied only if somebody else holds them.
    pub(crate) fn into_values(self) -> Vec<T> {
        Arc::try_unwrap(self.data).unwrap_or_else(|shared| shared.to_vec())
    }

    /// The values in another order of the axes.
    pub(crate) fn transpose(&self, perm: &[usize]) -> Self {
        if perm.iter().enumerate().all(|(axis, from)| axis == *from) {
            return self.clone();
        }
        if let (&[rows, columns], [1, 0]) = (self.shape.as_slice(), perm) {
            return self.transposed_matrix(rows, columns);
        }
        let own = strides(&self.shape);
        let shape: Vec<usize> = perm.iter().map(|axis| self.shape[*axis]).collect();
        let strides: Vec<usize> = perm.iter().map(|axis| own[*axis]).collect();
        self.gathered(shape, &strides, 0)
    }

    /// The transpose of a matrix, in blocks that fit the cache.
    fn transposed_matrix(&self, rows: usize, columns: usize) -> Self {
        const BLOCK: usize = 16;
        let Some(first) = self.data.first() else { return Self::new(vec![columns, rows], Vec::new()) };
        let mut data = vec![first.clone(); self.data.len()];
        for top in (0..rows).step_by(BLOCK) {
            for left in (0..columns).step_by(BLOCK) {
                for column in left..(left + BLOCK).min(columns) {
                    for row in top..(top + BLOCK).min(rows) {
                        data[column * rows + row].clone_from(&self.data[row * columns + column]);
                    }
                }
            }
        }
        Self::new(vec![columns, rows], data)
    }

    /// The same values with another shape of the same size.
    pub(crate) fn reshape(&self, shape: Vec<usize>) -> Option<Self> {
        (shape.iter().product::<usize>() == self.data.len()).then(|| Self { shape, data: Arc::clone(&self.data) })
    }

    /// Repeats axes of size 1, and adds axes in front.
    pub(crate) fn expand(&self, shape: &[usize]) -> Option<Self> {
        if self.shape == shape {
            return Some(self.clone());
        }
        let strides = self.expanded_strides(shape)?;
        Some(self.gathered(shape.to_vec(), &strides, 0))
    }

    /// The distances between neighbours of the expanded tensor, in the values of this one. `None` if the shape does not fit.
    fn expanded_strides(&self, shape: &[usize]) -> Option<Vec<usize>> {
        if broadcast_shape(&self.shape, shape)? != shape {
            return None;
        }
        let own = strides(&self.shape);
        let missing = shape.len() - self.shape.len();
        let stride = |axis: usize| if self.shape[axis] == 1 { 0 } else { own[axis] };
        Some((0..shape.len()).map(|axis| axis.checked_sub(missing).map_or(0, stride)).collect())
    }

    fn gathered(&self, shape: Vec<usize>, strides: &[usize], start: usize) -> Self {
        let mut data = Vec::with_capacity(shape.iter().product());
        for_each_position(&shape, strides, |position| data.push(self.data[start + position].clone()));
        Self::new(shape, data)
    }

    /// Some positions of an axis, in any order and any number. `None` if one is outside.
    pub(crate) fn select(&self, axis: usize, indices: &[usize]) -> Option<Self> {
        let size = *self.shape.get(axis)?;
        if indices.iter().any(|index| *index >= size) {
            return None;
        }
        let inner: usize = self.shape[axis + 1..].iter().product();
        let outer: usize = self.shape[..axis].iter().product();
        let mut shape = self.shape.clone();
        shape[axis] = indices.len();
        let mut data = Vec::with_capacity(shape.iter().product());
        for block in 0..outer {
            for index in indices {
                let start = (block * size + index) * inner;
                data.extend_from_slice(&self.data[start..start + inner]);
            }
        }
        Some(Self::new(shape, data))
    }

    /// Joins tensors along an axis. `None` if their other axes differ.
    pub(crate) fn concat(parts: &[Self], axis: usize) -> Option<Self> {
        let first = parts.first()?;
        let mut shape = first.shape.clone();
        shape.get(axis)?;
        let others = |shape: &[usize]| [&shape[..axis], &shape[axis + 1..]].concat();
        if parts.iter().any(|part| part.shape.len() != shape.len() || others(&part.shape) != others(&shape)) {
            return None;
        }
        shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
        let outer: usize = shape[..axis].iter().product();
        let mut data = Vec::with_capacity(shape.iter().product());
        for block in 0..outer {
            for part in parts {
                let size: usize = part.shape[axis..].iter().product();
                data.extend_from_slice(&part.data[block * size..(block + 1) * size]);
            }
        }
        Some(Self::new(shape, data))
    }

    /// Applies `f` to the elements of two tensors, which are broadcast. `None` if the shapes do not fit or `f` has no result.
    pub(crate) fn zip(&self, other: &Self, f: impl Fn(&T, &T) -> Option<T>) -> Option<Self> {
        let shape = broadcast_shape(&self.shape, &other.shape)?;
        let (left, strides) = (self.expand(&shape)?, other.expanded_strides(&shape)?);
        let (mut data, mut values) = (Vec::with_capacity(left.data.len()), left.data.iter());
        for_each_position(&shape, &strides, |position| {
            data.extend(values.next().and_then(|value| f(value, &other.data[position])));
        });
        (data.len() == left.data.len()).then(|| Self::new(shape, data))
    }

    /// Applies `f` to all elements; `None` if it has no result for one.
    pub(crate) fn try_map<U: Clone>(&self, f: impl Fn(&T) -> Option<U>) -> Option<Array<U>> {
        Some(Array::new(self.shape.clone(), self.data.iter().map(f).collect::<Option<_>>()?))
    }

    pub(crate) fn map(&self, f: impl Fn(&T) -> T) -> Self {
        Self::new(self.shape.clone(), self.data.iter().map(f).collect())
    }
}

impl Array<f32> {
    /// A tensor without axes.
    pub(crate) fn scalar(value: f32) -> Self {
        Self::new(Vec::new(), vec![value])
    }

    /// The value, if all elements are equal.
    pub(crate) fn uniform(&self) -> Option<f32> {
        let first = *self.data.first()?;
        self.data.iter().all(|value| *value == first).then_some(first)
    }

    /// Reduces axes, which keep size 1.
    pub(crate) fn reduce(&self, axes: &[usize], start: f32, f: impl Fn(f32, f32) -> f32) -> Self {
        let mut shape = self.shape.clone();
        axes.iter().for_each(|axis| shape[*axis] = 1);
        let mut target = strides(&shape);
        axes.iter().for_each(|axis| target[*axis] = 0);
        let mut data = vec![start; shape.iter().product()];
        let mut values = self.data.iter();
        for_each_position(&self.shape, &target, |position| {
            if let Some(value) = values.next() {
                data[position] = f(data[position], *value);
            }
        });
        Self::new(shape, data)
    }
}

impl Host {
    pub(crate) fn float(shape: Vec<usize>, data: Vec<f32>) -> Self {
        Self::Float(Array::new(shape, data))
    }

    pub(crate) fn int(shape: Vec<usize>, data: Vec<Linear>) -> Self {
        Self::Int(Array::new(shape, data))
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Float(array) => &array.shape,
            Self::Int(array) => &array.shape,
        }
    }

    /// The values as floats. `None` if one depends on the batch size.
    pub(crate) fn to_float(&self) -> Option<Array<f32>> {
        match self {
            Self::Float(array) => Some(array.clone()),
            Self::Int(array) => {
                let data: Option<Vec<f32>> =
                    array.data.iter().map(|value| value.as_constant().map(|value| value as f32)).collect();
                Some(Array::new(array.shape.clone(), data?))
            }
        }
    }

    /// The values as integers; floats are truncated.
    pub(crate) fn to_int(&self) -> Array<Linear> {
        match self {
            Self::Int(array) => array.clone(),
            Self::Float(array) => {
                let data = array.data.iter().map(|value| Linear::constant(*value as i64)).collect();
                Array::new(array.shape.clone(), data)
            }
        }
    }

    /// Applies a function that only moves elements.
    pub(crate) fn moved<E>(
        &self,
        floats: impl FnOnce(&Array<f32>) -> Result<Array<f32>, E>,
        ints: impl FnOnce(&Array<Linear>) -> Result<Array<Linear>, E>,
    ) -> Result<Self, E> {
        Ok(match self {
            Self::Float(array) => Self::Float(floats(array)?),
            Self::Int(array) => Self::Int(ints(array)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truth_and_magnitude_are_those_of_every_batch_size() {
        let values = [-6, -3, -2, -1, 0, 1, 2, 3, 6];
        for (constant, per_image) in values.iter().flat_map(|c| values.map(|p| (*c, p))) {
            let number = Linear { constant, per_image };
            let at = |number: Linear, batch: i64| number.constant + batch * number.per_image;
            let is_set: Vec<bool> = (1..=8).map(|batch| at(number, batch) != 0).collect();
            let truth = is_set.iter().all(|other| *other == is_set[0]).then(|| is_set[0]);
            assert_eq!(number.truth(), truth, "{number:?}");
            let has_one_sign =
                (1..=8).all(|batch| at(number, batch) >= 0) || (1..=8).all(|batch| at(number, batch) <= 0);
            assert_eq!(number.magnitude().is_some(), has_one_sign, "{number:?}");
            for batch in 1..=8 {
                assert!(number.magnitude().is_none_or(|size| at(size, batch) == at(number, batch).abs()), "{number:?}");
            }
        }
        assert_eq!(Linear { constant: i64::MIN, per_image: -1 }.truth(), Some(true));
        assert_eq!(Linear::constant(i64::MIN).magnitude(), None);
        assert_eq!(Linear { constant: i64::MAX, per_image: 1 }.magnitude(), None);
    }
}
