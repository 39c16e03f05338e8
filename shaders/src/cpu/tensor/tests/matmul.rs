use super::*;

#[test]
fn matmul_matches_definition() {
    let cases: [(&[usize], &[usize], [usize; 3]); 12] = [
        (&[], &[], [1, 1, 1]),
        (&[], &[], [5, 7, 3]),
        (&[], &[], [3, 0, 4]),
        (&[], &[], [197, 64, 200]),
        (&[], &[], [2, 300, 1000]),
        (&[3], &[3], [7, 9, 17]),
        (&[12], &[12], [50, 32, 50]),
        (&[12], &[12], [49, 49, 32]),
        (&[6], &[1], [10, 20, 33]),
        (&[1], &[6], [10, 20, 33]),
        (&[2, 1, 3], &[1, 4, 3], [9, 8, 25]),
        (&[5, 1], &[1, 2], [1, 40, 41]),
    ];
    for (a_batch, b_batch, [m, k, n]) in cases {
        let batch: Vec<usize> = a_batch.iter().zip(b_batch).map(|(a, b)| *a.max(b)).collect();
        let items = |batch: &[usize]| batch.iter().product::<usize>();
        let (a, b) = (values(items(a_batch) * m * k, 1), values(items(b_batch) * k * n, 2));
        for transposed in [false, true] {
            let mut expected = Vec::new();
            for item in 0..items(&batch) {
                let at = position(item, &batch);
                let (a, b) = (&a[index(&at, a_batch) * m * k..], &b[index(&at, b_batch) * k * n..]);
                for (row, column) in (0..m).flat_map(|row| (0..n).map(move |column| (row, column))) {
                    let b_at = |depth: usize| if transposed { column * k + depth } else { depth * n + column };
                    let products = (0..k).map(|depth| f64::from(a[row * k + depth]) * f64::from(b[b_at(depth)]));
                    expected.push(products.sum::<f64>() as f32);
                }
            }
            check(&format!("{a_batch:?} {b_batch:?} {m} {k} {n} {transposed}"), &expected, 1e-5, |context, output| {
                matmul(context, &a, a_batch, &b, b_batch, MatmulSize { m, k, n }, transposed, output);
            });
        }
    }
}
