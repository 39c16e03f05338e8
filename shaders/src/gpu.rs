//! Launches a WGSL program on the device of its tensors, and packs convolution weights for the programs.
//!
//! Each WGSL file documents what it computes. The callers are in `layers`, `normalize`, `resize` and `top_k`.

use burn::tensor::{DType, Device, Shape, Tensor, TensorData};
use burn_cubecl::cubecl::prelude::{CubeCount, CubeDim, ExecutionMode, KernelId};
use burn_cubecl::cubecl::server::{KernelArguments, MetadataBindingInfo};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::template::{KernelSource, SourceKernel, SourceTemplate};
use burn_cubecl::tensor::CubeTensor;

use crate::cpu::ConvSpec;
use crate::wgsl::{LANES, Operation, Program};

/// Workgroups in the first grid dimension, below WebGPU's limit of 65,535.
const GROUPS_X: usize = 32_768;

/// One launch of a program. Its inputs are bound in the order of the calls, then its output, then its `Info`.
#[derive(Debug)]
pub(crate) struct Launch {
    operation: Operation,
    tensors: Vec<CubeTensor>,
    info: Vec<u32>,
}

impl Launch {
    pub(crate) fn new(operation: Operation) -> Self {
        Self { operation, tensors: Vec::new(), info: Vec::new() }
    }

    /// Binds an input tensor.
    pub(crate) fn input(mut self, tensor: CubeTensor) -> Self {
        self.tensors.push(into_contiguous(tensor));
        self
    }

    /// Appends integer fields to the program's `Info`. WGSL has integers of 32 bits; a tensor on a GPU has fewer elements.
    #[expect(clippy::cast_possible_truncation, reason = "a device allocates no buffer with more elements")]
    pub(crate) fn info(mut self, fields: impl IntoIterator<Item = usize>) -> Self {
        self.info.extend(fields.into_iter().map(|field| field as u32));
        self
    }

    /// Appends f32 fields to the program's `Info`.
    pub(crate) fn info_f32(mut self, fields: impl IntoIterator<Item = f32>) -> Self {
        self.info.extend(fields.into_iter().map(f32::to_bits));
        self
    }

    /// Runs the program with at least `lanes` invocations, and returns its output, a new tensor of this shape and type.
    ///
    /// The program computes with the type of its first tensor, or with that of the output if the first tensor holds no
    /// floats.
    pub(crate) fn run(mut self, shape: Shape, dtype: DType, lanes: usize) -> CubeTensor {
        let first = &self.tensors[0];
        let half = [first.dtype, dtype].into_iter().find(DType::is_float) == Some(DType::F16);
        let (client, device) = (first.client.clone(), first.device.clone());
        let buffer = client.empty(shape.num_elements() * dtype.size());
        let output = CubeTensor::new_contiguous(client.clone(), device, shape, buffer, dtype);
        self.tensors.push(output.clone());
        let groups = lanes.div_ceil(LANES as usize);
        let size = |groups: usize| u32::try_from(groups).expect("a tensor has fewer than 2^32 elements");
        let count = CubeCount::Static(size(groups.min(GROUPS_X)), size(groups.div_ceil(GROUPS_X)), 1);
        let program = Program { operation: self.operation, half };
        let kernel = SourceKernel::new(program, CubeDim::new_1d(LANES));
        let buffers = self.tensors.into_iter().map(|tensor| tensor.handle.binding()).collect();
        // CubeCL takes words of eight bytes. The first field goes to the lower half.
        let words = self.info.chunks(2).map(|pair| {
            let high = pair.get(1).copied().unwrap_or(0);
            u64::from(pair[0]) | u64::from(high) << 32
        });
        let info = MetadataBindingInfo::custom(words.collect());
        client.launch(Box::new(kernel), count, KernelArguments::new().with_buffers(buffers).with_info(info));
        output
    }
}

impl KernelSource for Program {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(self.text())
    }

    fn id(&self) -> KernelId {
        // The programs check their bounds themselves, and all of their loops end.
        KernelId::new::<Self>().info(*self).mode(ExecutionMode::Unchecked)
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

/// The weights and bias of a convolution on a device, padded with zeros to multiples of four channels.
#[derive(Clone, Debug)]
pub(crate) struct GpuWeights {
    /// Dense: `[4 * taps * input quads, 4 * output quads]`. Depthwise: `[taps, 4 * output quads]`.
    pub(crate) weight: Tensor<2>,
    /// f32 `[4 * output quads]`.
    pub(crate) bias: Tensor<1>,
}

impl GpuWeights {
    /// Packs `weight`, `[outputs, inputs / groups, height, width]`, and `bias`, `[outputs]`, for tensors of `dtype`.
    pub(crate) fn pack(spec: &ConvSpec, weight: &[f32], bias: &[f32], dtype: DType, device: &Device) -> Self {
        let [height, width] = spec.geometry.kernel;
        let (taps, inputs) = (height * width, if spec.depthwise { 1 } else { spec.inputs });
        let columns = spec.outputs.next_multiple_of(4);
        let depth = if spec.depthwise { 1 } else { inputs.next_multiple_of(4) };
        let mut rows = vec![0.0; taps * depth * columns];
        for (output, weights) in weight.chunks_exact(inputs * taps).enumerate() {
            for (index, value) in weights.iter().enumerate() {
                let (channel, tap) = (index / taps, index % taps);
                rows[(tap * depth + channel) * columns + output] = *value;
            }
        }
        let mut padded = bias.to_vec();
        padded.resize(columns, 0.0);
        Self {
            weight: Tensor::from_data(TensorData::new(rows, [taps * depth, columns]), (device, dtype)),
            bias: Tensor::from_data(TensorData::new(padded, [columns]), (device, DType::F32)),
        }
    }
}
