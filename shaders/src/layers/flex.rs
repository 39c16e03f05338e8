//! The layers on Flex: tensors become slices for the CPU kernels, and their results tensors again.

use burn::backend::Flex;
use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{AllocationProperty, Bytes, DType, Shape};

use super::ops::LayerOps;
use crate::cpu::{self, Buffer, Chain, Geometry, PackedConv, Pictures, Pooling};

impl LayerOps for Flex {
    fn conv(input: FlexTensor, conv: &PackedConv) -> FlexTensor {
        run_conv(input, None, conv)
    }

    fn conv_add(input: FlexTensor, residual: FlexTensor, conv: &PackedConv) -> FlexTensor {
        run_conv(input, Some(residual), conv)
    }

    fn chain(input: FlexTensor, chain: Chain<'_>) -> FlexTensor {
        run_chain(input, None, chain)
    }

    fn chain_add(input: FlexTensor, residual: FlexTensor, chain: Chain<'_>) -> FlexTensor {
        run_chain(input, Some(residual), chain)
    }

    fn pool(input: FlexTensor, pooling: Pooling, geometry: Geometry) -> FlexTensor {
        let input = input.to_contiguous();
        let [count, height, width, channels] = shape_of(&input);
        let [height, width] = geometry.output_size([height, width]);
        filled([count, height, width, channels], |output| cpu::pool(pooling, &geometry, pictures(&input), output))
    }

    fn scale(input: FlexTensor, gate: FlexTensor) -> FlexTensor {
        let (input, gate) = (input.to_contiguous(), gate.to_contiguous());
        let shape = shape_of(&input);
        filled(shape, |output| cpu::scale(pictures(&input), values(&gate), output))
    }
}

fn run_conv(input: FlexTensor, residual: Option<FlexTensor>, conv: &PackedConv) -> FlexTensor {
    let (input, residual) = (input.to_contiguous(), residual.map(|tensor| tensor.to_contiguous()));
    let shape = conv.output_shape(shape_of(&input));
    filled(shape, |output| conv.run(pictures(&input), residual.as_ref().map(values), output))
}

fn run_chain(input: FlexTensor, residual: Option<FlexTensor>, chain: Chain<'_>) -> FlexTensor {
    let (input, residual) = (input.to_contiguous(), residual.map(|tensor| tensor.to_contiguous()));
    let shape = chain.output_shape(shape_of(&input));
    filled(shape, |output| chain.run(pictures(&input), residual.as_ref().map(values), output))
}

/// A tensor whose values `fill` writes.
pub(crate) fn filled(shape: [usize; 4], fill: impl FnOnce(&mut [f32])) -> FlexTensor {
    let mut output = Buffer::take(shape.iter().product());
    fill(&mut output);
    let bytes = Bytes::from_shared(bytes::Bytes::from_owner(output), AllocationProperty::Native);
    FlexTensor::new(bytes, Layout::contiguous(Shape::from(shape)), DType::F32)
}

fn shape_of(tensor: &FlexTensor) -> [usize; 4] {
    tensor.layout().shape().dims()
}

/// The values of a contiguous tensor, which may lie within a larger buffer.
fn values(tensor: &FlexTensor) -> &[f32] {
    let layout = tensor.layout();
    &tensor.storage::<f32>()[layout.start_offset()..][..layout.num_elements()]
}

fn pictures(tensor: &FlexTensor) -> Pictures<'_> {
    Pictures::new(values(tensor), shape_of(tensor))
}
