//! Ranking on the GPU: softmax and the most probable classes of each row, so that a thousand logits need not be sent back.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::CubeBackend;

use crate::gpu::{LANES, Launch, Operation};

/// Ranking on a device.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"))]
trait TopKOps: Backend {
    /// f32 or f16 `[rows, classes]` to f32 `[rows, 2 * top]`: in each row the probabilities, then the classes.
    #[fusion(dtype = DType::F32, shape = Shape::from([logits.dims::<2>()[0], 2 * *top]))]
    fn softmax_top_k(logits: FloatTensor<Self>, top: usize) -> FloatTensor<Self>;
}

impl TopKOps for CubeBackend {
    fn softmax_top_k(logits: FloatTensor<Self>, top: usize) -> FloatTensor<Self> {
        let [rows, classes] = logits.meta.shape.dims();
        Launch::new(Operation::TopK).numbers([rows, classes, top]).tensor(logits).fill(
            Shape::from([rows, 2 * top]),
            DType::F32,
            rows * LANES as usize,
        )
    }
}

/// The `top` most probable classes of each row of `logits`, f32 or f16 `[rows, classes]` on a GPU that runs WGSL: softmax
/// probability and class, most probable first, equal scores in the order of their classes. All probabilities of a row that
/// holds NaN or an infinity are NaN.
///
/// # Errors
///
/// What the device says.
///
/// # Panics
///
/// `top` is above the number of classes.
pub fn top_k(logits: Tensor<2>, top: usize) -> Result<Vec<Vec<(f32, usize)>>, String> {
    assert!(top <= logits.dims()[1], "the {top} most probable of {:?}", logits.dims());
    let pairs: Tensor<2> = Tensor::from_dispatch(Dispatch::softmax_top_k(logits.into_dispatch(), top));
    let pairs = pairs.try_into_data().map_err(|error| error.to_string())?;
    let values = pairs.as_slice::<f32>().map_err(|error| format!("{error:?}"))?;
    let row = |row: &[f32]| {
        let (probabilities, classes) = row.split_at(top);
        // What is below zero is no probability but a mark.
        let told = |probability: f32| if probability < 0.0 { f32::NAN } else { probability };
        probabilities.iter().zip(classes).map(|(probability, class)| (told(*probability), *class as usize)).collect()
    };
    Ok(values.chunks_exact(2 * top).map(row).collect())
}
