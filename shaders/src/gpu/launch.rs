//! Sends a program to the device that holds its tensors. It knows nothing of what the program computes.

use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl::prelude::{CubeCount, CubeDim, ExecutionMode, KernelId};
use burn_cubecl::cubecl::server::{KernelArguments, MetadataBindingInfo};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::template::{KernelSource, SourceKernel, SourceTemplate};
use burn_cubecl::tensor::CubeTensor;

use super::source::{LANES, Operation, Program};

/// Workgroups in the first grid dimension, below WebGPU's limit of 65,535.
const GROUPS_X: usize = 32_768;

/// One run of a program.
#[derive(Debug)]
pub(crate) struct Launch {
    operation: Operation,
    tensors: Vec<CubeTensor>,
    numbers: Vec<u32>,
}

impl Launch {
    /// The program's tensors are bound in the order in which they are given, its numbers after the last of them.
    pub(crate) fn new(operation: Operation) -> Self {
        Self { operation, tensors: Vec::new(), numbers: Vec::new() }
    }

    /// Binds a tensor that is read.
    pub(crate) fn tensor(mut self, tensor: CubeTensor) -> Self {
        self.tensors.push(into_contiguous(tensor));
        self
    }

    /// Adds to the numbers that the program reads, as its `Info` has them.
    pub(crate) fn numbers(mut self, numbers: impl IntoIterator<Item = usize>) -> Self {
        self.numbers.extend(numbers.into_iter().map(|number| number as u32));
        self
    }

    /// The same for numbers that are no integers.
    pub(crate) fn floats(mut self, numbers: impl IntoIterator<Item = f32>) -> Self {
        self.numbers.extend(numbers.into_iter().map(f32::to_bits));
        self
    }

    /// Runs it on `lanes` lanes or a few more, which fill a new tensor of that shape and type. The type of what the program
    /// works on is that of its first tensor, or where that holds no floats the output's.
    pub(crate) fn fill(mut self, shape: Shape, dtype: DType, lanes: usize) -> CubeTensor {
        let first = &self.tensors[0];
        let half = [first.dtype, dtype].into_iter().find(DType::is_float) == Some(DType::F16);
        let (client, device) = (first.client.clone(), first.device.clone());
        let buffer = client.empty(shape.num_elements() * dtype.size());
        let output = CubeTensor::new_contiguous(client.clone(), device, shape, buffer, dtype);
        self.tensors.push(output.clone());
        let groups = lanes.div_ceil(LANES as usize);
        let count = CubeCount::Static(groups.min(GROUPS_X) as u32, groups.div_ceil(GROUPS_X) as u32, 1);
        let program = Program { operation: self.operation, half };
        let kernel = SourceKernel::new(program, CubeDim::new_1d(LANES));
        let buffers = self.tensors.into_iter().map(|tensor| tensor.handle.binding()).collect();
        // Words of eight bytes, the first number in the lower half.
        let words = self.numbers.chunks(2).map(|pair| {
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
        // The programs check their own bounds, and their loops end.
        KernelId::new::<Self>().info(*self).mode(ExecutionMode::Unchecked)
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}
