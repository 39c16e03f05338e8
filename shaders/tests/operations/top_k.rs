//! Ranking on a GPU against softmax and a sort.

use burn::tensor::{DType, Tensor, TensorData};

use crate::vulkan;

/// Computes softmax with the maximum subtracted, sorted by score and then by class.
fn expected_top_k(row: &[f32], top: usize) -> Vec<(f32, usize)> {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = row.iter().map(|score| (score - largest).exp()).sum();
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|a, b| row[*b].total_cmp(&row[*a]).then(a.cmp(b)));
    order.truncate(top);
    order.into_iter().map(|class| ((row[class] - largest).exp() / sum, class)).collect()
}

#[test]
fn top_k_matches_a_sort() {
    let Some(device) = vulkan::device() else { return };
    for (rows, classes, top) in [(1, 1000, 5), (3, 1000, 100), (2, 7, 7), (5, 64, 1), (1, 5000, 3)] {
        // Multiples of 1/8 are exact in f16, and produce many ties.
        let scores: Vec<f32> = (0..rows * classes).map(|i| ((i * 7919) % 193) as f32 / 8.0 - 12.0).collect();
        for dtype in [DType::F32, DType::F16].into_iter().filter(|dtype| device.supports_dtype(*dtype)) {
            let data = TensorData::new(scores.clone(), [rows, classes]);
            let ours = kiln_kernels::top_k(Tensor::from_data(data, (&device, dtype)), top).unwrap();
            assert_eq!(ours.len(), rows);
            for (ours, row) in ours.iter().zip(scores.chunks(classes)) {
                let expected = expected_top_k(row, top);
                let classes = |pairs: &[(f32, usize)]| pairs.iter().map(|pair| pair.1).collect::<Vec<_>>();
                assert_eq!(classes(ours), classes(&expected), "{rows} x {classes:?}, {top}", classes = row.len());
                for (ours, expected) in ours.iter().zip(expected) {
                    assert!((ours.0 - expected.0).abs() < 1e-5, "{ours:?}, not {expected:?}");
                }
            }
        }
    }
}

#[test]
fn row_that_is_not_finite_has_nan_probabilities() {
    let Some(device) = vulkan::device() else { return };
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut scores = vec![1.0; 20];
        scores[13] = bad;
        let data = TensorData::new(scores, [2, 10]);
        let ours = kiln_kernels::top_k(Tensor::from_data(data, (&device, DType::F32)), 2).unwrap();
        assert!(ours[0].iter().all(|pair| pair.0.is_finite()), "{ours:?}");
        assert!(ours[1].iter().all(|pair| !pair.0.is_finite()), "{bad}: {ours:?}");
    }
}
