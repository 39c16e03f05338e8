//! The GPU implementation: loads `normalize.wgsl` and launches it.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl::prelude::{CubeCount, CubeDim, KernelId};
use burn_cubecl::cubecl::server::KernelArguments;
use burn_cubecl::template::{KernelSource, SourceKernel, SourceTemplate};
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};

use super::ops::NormalizeOps;

/// Invocations a workgroup: the width that every WebGPU device must offer.
const WORKGROUP: u32 = 256;
/// Workgroups in the first grid dimension, below WebGPU's limit of 65,535.
const GROUPS_X: u32 = 32_768;

/// The kernel for pictures of `plane` pixels.
#[derive(Debug)]
struct NormalizeKernel {
    plane: u32,
}

impl KernelSource for NormalizeKernel {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(include_str!("../../normalize.wgsl"))
            .register("plane", self.plane.to_string())
            .register("workgroup", WORKGROUP.to_string())
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info(self.plane)
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

impl NormalizeOps for CubeBackend {
    fn normalize(
        packed: IntTensor<Self>,
        affine: FloatTensor<Self>,
        batch: usize,
        height: usize,
        width: usize,
    ) -> FloatTensor<Self> {
        let packed = into_contiguous(packed);
        let affine = into_contiguous(affine);
        let shape = Shape::from([batch, 3, height, width]);
        let client = packed.client.clone();
        let buffer = client.empty(shape.num_elements() * size_of::<f32>());
        let output = CubeTensor::new_contiguous(client.clone(), packed.device.clone(), shape, buffer, DType::F32);
        let plane = (height * width) as u32;
        let groups = (batch as u32 * plane).div_ceil(WORKGROUP);
        client.launch(
            Box::new(SourceKernel::new(NormalizeKernel { plane }, CubeDim::new_1d(WORKGROUP))),
            CubeCount::Static(groups.min(GROUPS_X), groups.div_ceil(GROUPS_X), 1),
            KernelArguments::new().with_buffers(vec![
                packed.handle.binding(),
                affine.handle.binding(),
                output.handle.clone().binding(),
            ]),
        );
        output
    }
}
