//! The GPU implementation: launches `normalize.wgsl`.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::DType;
use burn_cubecl::CubeBackend;

use super::ops::NormalizeOps;
use super::shape_in;
use crate::Layout;
use crate::gpu::{Launch, Operation};

impl NormalizeOps for CubeBackend {
    fn normalize(
        packed: IntTensor<Self>,
        affine: FloatTensor<Self>,
        pictures: [usize; 3],
        layout: Layout,
        dtype: DType,
    ) -> FloatTensor<Self> {
        let shape = shape_in(layout, pictures);
        let values = shape.num_elements();
        let plane = match layout {
            Layout::ChannelsFirst => pictures[1] * pictures[2],
            Layout::ChannelsLast => 0,
        };
        Launch::new(Operation::Normalize).numbers([values, plane]).tensor(packed).tensor(affine).fill(
            shape,
            dtype,
            values.div_ceil(4),
        )
    }
}
