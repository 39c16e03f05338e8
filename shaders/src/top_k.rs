//! Ranking on the GPU: softmax and the most probable classes of each row, so that the device returns a few values instead of
//! a thousand logits.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::CubeBackend;

use crate::gpu::Launch;
use crate::wgsl::{LANES, Operation};

/// The operation as a Burn backend extension.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"))]
trait TopKOps: Backend {
    /// Maps f32 or f16 `[rows, classes]` to f32 `[rows, 2 * top]`: in each row the probabilities, then the classes.
    #[fusion(dtype = DType::F32, shape = Shape::from([logits.dims::<2>()[0], 2 * *top]))]
    fn softmax_top_k(logits: FloatTensor<Self>, top: usize) -> FloatTensor<Self>;
}

impl TopKOps for CubeBackend {
    fn softmax_top_k(logits: FloatTensor<Self>, top: usize) -> FloatTensor<Self> {
        let [rows, classes] = logits.meta.shape.dims();
        Launch::new(Operation::TopK).info([rows, classes, top]).input(logits).run(
            Shape::from([rows, 2 * top]),
            DType::F32,
            rows * LANES as usize,
        )
    }
}

/// Returns the `top` most probable classes of each row of `logits`, as pairs of softmax probability and class.
///
/// `logits` are f32 or f16 `[rows, classes]` on a GPU that runs WGSL. The most probable class is first; equal scores keep the
/// order of their classes. If a row contains NaN or an infinity, all of its probabilities are NaN.
///
/// # Errors
///
/// Returns the error of the device.
///
/// # Panics
///
/// Panics if `top` is larger than the number of classes.
#[expect(clippy::cast_possible_truncation, reason = "the kernel writes indices of classes, which are whole numbers")]
pub fn top_k(logits: Tensor<2>, top: usize) -> Result<Vec<Vec<(f32, usize)>>, String> {
    assert!(top <= logits.dims()[1], "the top {top} of logits {:?}", logits.dims());
    let pairs: Tensor<2> = Tensor::from_dispatch(Dispatch::softmax_top_k(logits.into_dispatch(), top));
    let pairs = pairs.try_into_data().map_err(|error| error.to_string())?;
    let values = pairs.as_slice::<f32>().map_err(|error| format!("{error:?}"))?;
    let row = |row: &[f32]| {
        let (probabilities, classes) = row.split_at(top);
        // The kernel marks a row that is not finite by negative values, because drivers differ in how they handle NaN.
        let or_nan = |probability: f32| if probability < 0.0 { f32::NAN } else { probability };
        probabilities.iter().zip(classes).map(|(probability, class)| (or_nan(*probability), *class as usize)).collect()
    };
    Ok(values.chunks_exact(2 * top).map(row).collect())
}
