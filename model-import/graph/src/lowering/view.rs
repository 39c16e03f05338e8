//! Values that are computed for each batch, and the order of their axes in memory.

use crate::host::Array;
use crate::network::{LayerKind, Value};
use crate::tensor_op::{Dim, TensorOp};

use super::budget::MAX_RANK;
use super::{Lowering, Problem};

/// A value of the network as the file sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Var {
    pub(crate) value: Value,
    /// The size of each axis, in the order of the file.
    pub(crate) dims: Vec<Dim>,
    /// Axis `i` in memory is axis `perm[i]` of the file.
    pub(crate) perm: Vec<usize>,
}

impl Var {
    /// The sizes in the order in memory.
    pub(crate) fn physical(&self) -> Vec<Dim> {
        self.perm.iter().map(|axis| self.dims[*axis]).collect()
    }

    /// The axis in memory of an axis of the file.
    pub(crate) fn position(&self, axis: usize) -> usize {
        self.perm.iter().position(|other| *other == axis).unwrap_or(axis)
    }

    pub(crate) fn rank(&self) -> usize {
        self.dims.len()
    }

    /// The same value with the axes of the file in another order: new axis `i` is `order[i]`.
    pub(crate) fn transpose(&self, order: &[usize]) -> Self {
        let dims = order.iter().map(|axis| self.dims[*axis]).collect();
        let new_axis = |old: &usize| order.iter().position(|axis| axis == old).unwrap_or(*old);
        Self { value: self.value, dims, perm: self.perm.iter().map(new_axis).collect() }
    }
}

/// The order in memory of channels-last images whose file has them first: `[0, 2, 3, 1]` for four axes.
pub(crate) fn channels_last(rank: usize) -> Vec<usize> {
    match rank {
        0 | 1 => (0..rank).collect(),
        _ => [0].into_iter().chain(2..rank).chain([1]).collect(),
    }
}

impl Lowering<'_> {
    /// The same value with its axes in another order in memory.
    pub(crate) fn in_order(&mut self, var: &Var, perm: &[usize]) -> Var {
        if var.perm == perm {
            return var.clone();
        }
        let target = Var { value: var.value, dims: var.dims.clone(), perm: perm.to_vec() };
        let without_ones =
            |perm: &[usize]| perm.iter().copied().filter(|axis| !var.dims[*axis].is_one()).collect::<Vec<_>>();
        let kind = if without_ones(&var.perm) == without_ones(perm) {
            // Nothing moves.
            TensorOp::Reshape(target.physical())
        } else {
            TensorOp::Permute(perm.iter().map(|axis| var.position(*axis)).collect())
        };
        Var { value: self.emit(LayerKind::Tensor(kind), vec![var.value]), ..target }
    }

    /// The same value in the order of the file.
    pub(crate) fn in_file_order(&mut self, var: &Var) -> Var {
        let order: Vec<usize> = (0..var.rank()).collect();
        self.in_order(var, &order)
    }

    /// The same value with one axis of the file as the last axis in memory; the others keep their order.
    pub(crate) fn with_last(&mut self, var: &Var, axis: usize) -> Var {
        let order: Vec<usize> = var.perm.iter().copied().filter(|other| *other != axis).chain([axis]).collect();
        self.in_order(var, &order)
    }

    /// A layer with one input whose result has the same axes, some with other sizes.
    pub(crate) fn same_axes(&mut self, kind: LayerKind, var: &Var, dims: Vec<Dim>) -> Var {
        self.check_dims(&dims);
        Var { value: self.emit(kind, vec![var.value]), dims, perm: var.perm.clone() }
    }

    /// Adds known values as a layer, in the order of the file.
    pub(crate) fn constant(&mut self, array: Array<f32>) -> Var {
        let dims = array.shape.iter().map(|size| Dim::fixed(*size)).collect();
        let perm = (0..array.shape.len()).collect();
        Var { value: self.emit(LayerKind::Constant(array), Vec::new()), dims, perm }
    }

    /// The same elements with other axes, in the order of the file.
    pub(crate) fn reshape(&mut self, var: &Var, dims: &[Dim]) -> Result<Var, Problem> {
        if var.dims == dims {
            return Ok(var.clone());
        }
        if dims.len() > MAX_RANK {
            return Err("its result has too many axes".into());
        }
        let groups = groups(&var.dims, dims)
            .ok_or_else(|| format!("{} elements do not fit the shape {}", show(&var.dims), show(dims)))?;
        // In a file whose fixed batch was made dynamic, a batch that is not the outermost axis of its group would be split
        // between other axes.
        if self.fixed_batch.is_some() {
            let is_outermost = |dims: &[Dim]| {
                let first = dims.iter().find(|dim| !dim.is_one());
                !dims.iter().any(|dim| dim.batched) || first.is_some_and(|dim| dim.batched)
            };
            let keeps_images =
                |group: &Group| is_outermost(&var.dims[group.old.clone()]) && is_outermost(&dims[group.new.clone()]);
            if !groups.iter().all(keeps_images) {
                return Err("it mixes the images of a batch".into());
            }
        }
        // Each group of old axes must lie side by side, in the order of the file. Groups keep the order of their first axes.
        let mut order: Vec<usize> = (0..groups.len()).collect();
        let first = |group: &Group| {
            let is_large = |axis: &usize| !var.dims[*axis].is_one();
            let positions = group.old.clone().filter(is_large).map(|axis| var.position(axis)).min();
            positions.unwrap_or(usize::MAX)
        };
        order.sort_by_key(|index| first(&groups[*index]));
        let wanted: Vec<usize> = order.iter().flat_map(|index| groups[*index].old.clone()).collect();
        let perm: Vec<usize> = order.iter().flat_map(|index| groups[*index].new.clone()).collect();
        let without_ones =
            |perm: &[usize]| perm.iter().copied().filter(|axis| !var.dims[*axis].is_one()).collect::<Vec<_>>();
        let value = if without_ones(&wanted) == without_ones(&var.perm) {
            var.value
        } else {
            self.in_order(var, &wanted).value
        };
        let target = Var { value, dims: dims.to_vec(), perm };
        let physical = target.physical();
        Ok(Var { value: self.emit(LayerKind::Tensor(TensorOp::Reshape(physical)), vec![value]), ..target })
    }

    /// Inserts axes of size 1 in front, up to a rank.
    pub(crate) fn with_rank(&mut self, var: &Var, rank: usize) -> Result<Var, Problem> {
        let missing = rank.saturating_sub(var.rank());
        let dims: Vec<Dim> = std::iter::repeat_n(Dim::fixed(1), missing).chain(var.dims.iter().copied()).collect();
        self.reshape(var, &dims)
    }
}

/// A known tensor with the axes in the order of `perm`, after axes of size 1 in front up to the rank of `perm`.
pub(crate) fn permuted_constant(array: &Array<f32>, perm: &[usize]) -> Option<Array<f32>> {
    let missing = perm.len().checked_sub(array.shape.len())?;
    let shape: Vec<usize> = std::iter::repeat_n(1, missing).chain(array.shape.iter().copied()).collect();
    Some(array.reshape(shape)?.transpose(perm))
}

/// Neighbouring axes before and after a reshape that hold the same elements.
struct Group {
    old: std::ops::Range<usize>,
    new: std::ops::Range<usize>,
}

/// Splits two shapes into the smallest groups of axes with equal products; `None` if the products of all axes differ.
fn groups(old: &[Dim], new: &[Dim]) -> Option<Vec<Group>> {
    let mut groups = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        let (start_old, start_new) = (i, j);
        let (mut left, mut right) = (Product::ONE, Product::ONE);
        if i < old.len() {
            left = left.times(old[i])?;
            i += 1;
        }
        if j < new.len() {
            right = right.times(new[j])?;
            j += 1;
        }
        while left != right {
            if left < right {
                left = left.times(*old.get(i)?)?;
                i += 1;
            } else {
                right = right.times(*new.get(j)?)?;
                j += 1;
            }
        }
        groups.push(Group { old: start_old..i, new: start_new..j });
    }
    Some(groups)
}

/// A product of sizes, ordered by the power of the batch size first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Product {
    power: usize,
    size: usize,
}

impl Product {
    const ONE: Self = Self { power: 0, size: 1 };

    fn times(self, dim: Dim) -> Option<Self> {
        Some(Self { power: self.power + usize::from(dim.batched), size: self.size.checked_mul(dim.size)? })
    }
}

/// A shape as text; the batch is `N`.
pub(crate) fn show(dims: &[Dim]) -> String {
    let one = |dim: &Dim| match dim {
        Dim { size, batched: false } => size.to_string(),
        Dim { size: 1, batched: true } => "N".to_string(),
        Dim { size, batched: true } => format!("{size}N"),
    };
    format!("[{}]", dims.iter().map(one).collect::<Vec<_>>().join(", "))
}
