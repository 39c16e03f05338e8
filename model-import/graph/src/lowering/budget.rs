//! Limits on memory and time: a small file may describe tensors of any size.
//!
//! What stays in memory (the weights of layers, and known values with a name) and what is computed on the way are counted in
//! elements. An operator asks for a tensor before it creates it.

use std::sync::Arc;

use crate::host::{Host, checked_elements};
use crate::network::LayerKind;
use crate::onnx::{ElementType, OnnxSource, TensorProto};
use crate::tensor_op::{Dim, TensorOp};

use super::{Lowering, Problem};

/// The maximum number of elements that may stay in memory, beyond those that the file stores.
const HELD_ELEMENTS: usize = 1 << 26;
/// The maximum number of elements that may be read and computed, beyond a multiple of those that the file stores.
const COMPUTED_ELEMENTS: usize = 1 << 29;
/// How often each element of the file may be read or computed.
const PASSES: usize = 32;
/// The maximum number of elements of a value for one image.
const MAX_ELEMENTS: usize = 1 << 28;
/// The maximum number of known integers in one tensor. They are shapes and indices, and take more memory than floats.
pub(super) const MAX_INTEGERS: usize = 1 << 24;
/// The maximum number of axes.
pub(crate) const MAX_RANK: usize = 16;
/// The maximum number of layers. A node becomes a few.
const MAX_LAYERS: usize = 200_000;
/// What reading a tensor costs beyond its elements.
const READ_COST: usize = 1024;

const TOO_LARGE: &str = "the constants of the file become too large";
const TOO_LONG: &str = "the constants of the file take too long to compute";

/// What may still be held and computed.
pub(super) struct Budget {
    held: usize,
    computed: usize,
    /// Why a layer that has been added already is not possible.
    excess: Option<&'static str>,
}

impl Budget {
    /// The budget of a file.
    pub(super) fn new(source: &OnnxSource, tensors: &[TensorProto]) -> Self {
        let mut stored = 0_usize;
        let (mut external, mut external_bytes) = (0_usize, 0_usize);
        for tensor in tensors {
            let Some((elements, bytes)) = stored_size(tensor) else { continue };
            if tensor.data_location == 1 {
                external = external.saturating_add(elements);
                external_bytes = external_bytes.saturating_add(bytes);
            } else if bytes as u64 <= source.bytes() {
                stored = stored.saturating_add(elements);
            }
        }
        // Tensors inside the file may overlap only by mistake, those in other files as often as they like.
        stored = stored.min(usize::try_from(source.bytes()).unwrap_or(usize::MAX).saturating_mul(2));
        if external > 0 && external_bytes as u64 <= source.external_bytes() {
            stored = stored.saturating_add(external);
        }
        // A quantised weight is held as the file has it and as the layer has it.
        let held = stored.saturating_mul(2).saturating_add(HELD_ELEMENTS);
        let computed = stored.saturating_mul(PASSES).saturating_add(COMPUTED_ELEMENTS);
        Self { held, computed, excess: None }
    }

    fn hold(&mut self, elements: usize) {
        match self.held.checked_sub(elements) {
            Some(left) => self.held = left,
            None => {
                self.held = 0;
                self.excess = Some(TOO_LARGE);
            }
        }
    }

    fn compute(&mut self, elements: usize) -> Result<(), Problem> {
        match self.computed.checked_sub(elements) {
            Some(left) => self.computed = left,
            None => {
                self.computed = 0;
                self.excess = Some(TOO_LONG);
                return Err(TOO_LONG.into());
            }
        }
        Ok(())
    }
}

/// The elements of a tensor, and its values in bytes.
fn stored_size(tensor: &TensorProto) -> Option<(usize, usize)> {
    let element = ElementType::from_onnx(tensor.data_type)?;
    let elements =
        tensor.dims.iter().try_fold(1_usize, |product, dim| product.checked_mul(usize::try_from(*dim).ok()?))?;
    Some((elements, elements.checked_mul(element.bits())?.div_ceil(8)))
}

/// The number of floats that take as much memory as a known value; 0 if the values are held by somebody else, too.
fn own_elements(host: &Host) -> usize {
    match host {
        Host::Float(array) if Arc::strong_count(&array.data) == 1 => array.data.len(),
        Host::Int(array) if Arc::strong_count(&array.data) == 1 => array.data.len().saturating_mul(4),
        _ => 0,
    }
}

/// The number of floats that take as much memory as the parameters of a layer.
fn parameters(kind: &LayerKind) -> usize {
    match kind {
        LayerKind::Conv(conv) => conv.weight.len() + conv.bias.len(),
        LayerKind::Affine { factor, summand } => factor.len() + summand.len(),
        LayerKind::Constant(array) => array.data.len(),
        LayerKind::Tensor(TensorOp::Select { indices, .. }) => indices.len().saturating_mul(2),
        LayerKind::Tensor(TensorOp::LayerNorm { scale, bias, .. }) => scale.len() + bias.len(),
        LayerKind::Tensor(TensorOp::ConvTranspose(conv)) => conv.weight.len() + conv.bias.len(),
        _ => 0,
    }
}

impl Lowering<'_> {
    /// Checks that floats of a shape are within the budget, before they are created.
    pub(crate) fn reserve(&mut self, shape: &[usize]) -> Result<(), Problem> {
        let elements = checked_elements(shape).filter(|elements| *elements <= self.budget.held).ok_or(TOO_LARGE)?;
        self.budget.compute(elements)
    }

    /// Checks that integers of a shape are within the budget, before they are created.
    pub(crate) fn reserve_integers(&mut self, shape: &[usize]) -> Result<(), Problem> {
        let elements = checked_elements(shape).filter(|elements| *elements <= MAX_INTEGERS);
        let elements = elements.ok_or_else(|| format!("it computes more than {MAX_INTEGERS} integers"))?;
        self.reserve(&[elements, 4])
    }

    /// Checks that values of a shape are within the budget, before they are computed from known ones.
    pub(crate) fn reserve_like(&mut self, host: &Host, shape: &[usize]) -> Result<(), Problem> {
        match host {
            Host::Float(_) => self.reserve(shape),
            Host::Int(_) => self.reserve_integers(shape),
        }
    }

    /// Checks that positions of an axis are within the budget, before they are listed.
    pub(crate) fn reserve_positions(&mut self, count: usize) -> Result<(), Problem> {
        self.reserve(&[count, 2])
    }

    /// Counts that a tensor of the file is read, beyond its elements.
    pub(super) fn count_read(&mut self) -> Result<(), Problem> {
        self.budget.compute(READ_COST)
    }

    /// Counts the work of an operator that visits known values.
    pub(super) fn count_visit(&mut self, elements: usize) -> Result<(), Problem> {
        self.budget.compute(elements)
    }

    /// Counts a known value that gets a name.
    pub(super) fn hold_value(&mut self, host: &Host) {
        self.budget.hold(own_elements(host));
    }

    /// Counts a layer that is added.
    pub(super) fn hold_layer(&mut self, kind: &LayerKind) {
        self.budget.hold(parameters(kind));
        if self.layers.len() >= MAX_LAYERS {
            self.budget.excess = Some("the file becomes more layers than any network has");
        }
    }

    /// Checks the size of a value that is computed for each batch.
    pub(super) fn check_dims(&mut self, dims: &[Dim]) {
        let elements = dims.iter().try_fold(1_usize, |product, dim| product.checked_mul(dim.size));
        if dims.len() > MAX_RANK {
            self.budget.excess = Some("its result has too many axes");
        } else if elements.is_none_or(|elements| elements > MAX_ELEMENTS) {
            self.budget.excess = Some("its result has more than 2^28 elements for one image");
        }
    }

    /// Notes that something that has been added already is not possible.
    pub(super) fn refuse(&mut self, reason: &'static str) {
        self.budget.excess = Some(reason);
    }

    /// Checks the layers that have been added so far.
    pub(crate) fn check_excess(&self) -> Result<(), Problem> {
        self.budget.excess.map_or(Ok(()), |reason| Err(reason.into()))
    }
}
