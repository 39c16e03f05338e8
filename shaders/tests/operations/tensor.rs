//! Each tensor operation of the CPU against Burn's.

use burn::backend::DispatchTensor;
use burn::tensor::{DType, Device, Tensor, TensorData, activation};
use kiln_kernels::cpu::{Context, Isa};
use kiln_kernels::layers::tensor::{self, Binary, Reduction, SliceAxis, Unary};
use kiln_kernels::layers::{Activation, GeneralConvSpec, Geometry, PackedGeneralConv};

/// Returns numbers in -1..=1 without a pattern of any size used here.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
}

fn tensor<const D: usize>(shape: [usize; D], seed: usize) -> Tensor<D> {
    Tensor::from_data(TensorData::new(numbers(shape.iter().product(), seed), shape), (&Device::flex(), DType::F32))
}

#[track_caller]
fn assert_equal<const D: usize>(ours: DispatchTensor, expected: Tensor<D>) {
    let ours = Tensor::<D>::from_dispatch(ours);
    assert_eq!(ours.dims(), expected.dims());
    let [ours, expected]: [Vec<f32>; 2] = [ours, expected].map(|tensor| tensor.into_data().try_into_vec().unwrap());
    for (index, (ours, expected)) in ours.iter().zip(&expected).enumerate() {
        assert!((ours - expected).abs() < 1e-5, "value {index} is {ours}, not {expected}");
    }
}

#[test]
fn functions_and_operations_match_burn() {
    let (x, row) = (tensor([2, 5, 7], 1), tensor([7], 2));
    let dispatch = || x.clone().into_dispatch();
    assert_equal(tensor::unary(dispatch(), Unary::Tanh), x.clone().tanh());
    assert_equal(tensor::unary(dispatch(), Unary::Gelu), activation::gelu(x.clone()));
    let broadcast = row.clone().unsqueeze::<3>();
    assert_equal(tensor::binary(row.clone().into_dispatch(), dispatch(), Binary::Sub), broadcast.clone() - x.clone());
    assert_equal(
        tensor::select(dispatch(), row.clone().into_dispatch(), dispatch()),
        broadcast.clone() * x.clone().not_equal_elem(0.0).float() + x.clone() * x.clone().equal_elem(0.0).float(),
    );
    let values = numbers(7, 2);
    assert_equal(
        tensor::affine(dispatch(), &values, &values, Some(Unary::Sigmoid)),
        activation::sigmoid(x.clone() * broadcast.clone() + broadcast.clone()),
    );
    let mean = x.clone().mean_dim(2);
    let centred = x.clone() - mean;
    let variance = (centred.clone() * centred.clone()).mean_dim(2);
    assert_equal(
        tensor::layer_norm(dispatch(), 1e-5, &values, &values),
        centred / (variance + 1e-5).sqrt() * broadcast.clone() + broadcast,
    );
    for axis in 0..3 {
        assert_equal(tensor::softmax(dispatch(), axis, false), activation::softmax(x.clone(), axis));
        assert_equal(tensor::softmax(dispatch(), axis, true), activation::log_softmax(x.clone(), axis));
        assert_equal(tensor::reduce(dispatch(), Reduction::Mean, &[axis], true), x.clone().mean_dim(axis));
    }
    assert_equal(
        tensor::reduce(dispatch(), Reduction::Max, &[1, 2], false),
        x.clone().reshape([2, 35]).max_dim(1).reshape([2]),
    );
}

#[test]
fn movements_match_burn() {
    let x = tensor([2, 5, 7], 1);
    let dispatch = || x.clone().into_dispatch();
    assert_equal(tensor::permute(dispatch(), &[2, 0, 1]), x.clone().permute([2, 0, 1]));
    // A tensor with strides of its own is copied first.
    assert_equal(
        tensor::unary(x.clone().permute([2, 0, 1]).into_dispatch(), Unary::Neg),
        x.clone().permute([2, 0, 1]).neg(),
    );
    let parts = vec![dispatch(), tensor([2, 3, 7], 2).into_dispatch(), dispatch()];
    assert_equal(tensor::concat(parts, 1), Tensor::cat(vec![x.clone(), tensor([2, 3, 7], 2), x.clone()], 1));
    let axis = |start, size| SliceAxis { start, step: 1, size };
    assert_equal(tensor::slice(dispatch(), &[axis(0, 2), axis(1, 3), axis(2, 5)]), x.clone().slice([0..2, 1..4, 2..7]));
    assert_equal(
        tensor::select_indices(dispatch(), 1, &[4, 0]),
        Tensor::cat(vec![x.clone().narrow(1, 4, 1), x.clone().narrow(1, 0, 1)], 1),
    );
    let zeros = Tensor::<3>::zeros([2, 2, 7], &x.device());
    assert_equal(tensor::pad(dispatch(), &[0, 0, 0], &[0, 2, 0], 0.0), Tensor::cat(vec![x.clone(), zeros], 1));
    let row = tensor([7], 2);
    assert_equal(tensor::expand(row.clone().into_dispatch(), &[2, 5, 7]), row.unsqueeze::<3>().expand([2, 5, 7]));
}

#[test]
fn products_match_burn() {
    let (a, b) = (tensor([2, 3, 9, 8], 1), tensor([1, 3, 8, 11], 2));
    let expected = a.clone().matmul(b.clone());
    assert_equal(tensor::matmul(a.clone().into_dispatch(), b.clone().into_dispatch(), false), expected.clone());
    let transposed = tensor::permute(b.into_dispatch(), &[0, 1, 3, 2]);
    assert_equal(tensor::matmul(a.clone().into_dispatch(), transposed, true), expected);
    let (matrix, vector) = (tensor([8, 11], 3), tensor([8], 4));
    assert_equal(
        tensor::matmul(a.clone().into_dispatch(), matrix.clone().into_dispatch(), false),
        a.clone().matmul(matrix.clone().unsqueeze::<4>()),
    );
    assert_equal(
        tensor::matmul(vector.clone().into_dispatch(), matrix.clone().into_dispatch(), false),
        vector.clone().unsqueeze::<2>().matmul(matrix).reshape([11]),
    );
    assert_equal(
        tensor::matmul(a.clone().into_dispatch(), vector.clone().into_dispatch(), false),
        a.matmul(vector.reshape([1, 1, 8, 1])).reshape([2, 3, 9]),
    );
}

#[test]
fn general_convolution_takes_the_context_of_its_thread() {
    let geometry = Geometry { kernel: [3, 3], stride: [1, 1], before: [2, 2], after: [2, 2] };
    let spec = GeneralConvSpec {
        inputs: 8,
        outputs: 12,
        groups: 2,
        geometry,
        dilation: [2, 2],
        activation: Activation::Swish,
    };
    let (weight, bias) = (tensor([12, 4, 3, 3], 1), tensor([12], 2));
    let (x, residual) = (tensor([2, 6, 7, 8], 3), tensor([2, 6, 7, 12], 4));
    let options = burn::tensor::ops::ConvOptions::new([1, 1], [2, 2], [2, 2], 2);
    let nchw = burn::tensor::module::conv2d(x.clone().permute([0, 3, 1, 2]), weight, Some(bias), options);
    let sums = nchw.permute([0, 2, 3, 1]);
    Context::new(Isa::best(), 2).enter(|| {
        let packed = PackedGeneralConv::pack(Isa::best(), spec, &numbers(12 * 4 * 9, 1), &numbers(12, 2));
        assert_equal(tensor::general_conv(x.clone().into_dispatch(), None, &packed), activation::silu(sums.clone()));
        assert_equal(
            tensor::general_conv(x.clone().into_dispatch(), Some(residual.clone().into_dispatch()), &packed),
            activation::silu(sums.clone() + residual.clone()),
        );
    });
}
