use super::*;

#[test]
fn permute_matches_definition() {
    let cases: [(&[usize], &[usize]); 18] = [
        (&[], &[]),
        (&[5], &[0]),
        (&[5, 7], &[1, 0]),
        (&[8, 16], &[1, 0]),
        (&[200, 300], &[1, 0]),
        (&[3, 2], &[1, 0]),
        (&[2, 3, 4], &[0, 2, 1]),
        (&[2, 30, 41], &[0, 2, 1]),
        (&[2, 30, 41], &[2, 1, 0]),
        (&[2, 30, 41], &[2, 0, 1]),
        (&[2, 50, 12, 32], &[0, 2, 1, 3]),
        (&[2, 50, 12, 32], &[0, 2, 3, 1]),
        (&[2, 50, 3, 12, 16], &[2, 0, 3, 1, 4]),
        (&[1, 17, 19, 23], &[0, 3, 1, 2]),
        (&[1, 17, 19, 23], &[0, 2, 3, 1]),
        (&[2, 4, 7, 4, 7, 24], &[0, 1, 3, 2, 4, 5]),
        (&[2, 4, 5, 6, 7], &[4, 2, 0, 3, 1]),
        (&[1, 58, 2, 28, 28], &[0, 2, 1, 3, 4]),
    ];
    for (shape, permutation) in cases {
        let input = values(shape.iter().product(), 1);
        let out_shape: Vec<usize> = permutation.iter().map(|axis| shape[*axis]).collect();
        let from = |i: usize| {
            let out = position(i, &out_shape);
            let mut at = vec![0; shape.len()];
            permutation.iter().zip(out).for_each(|(axis, position)| at[*axis] = position);
            input[index(&at, shape)]
        };
        let expected: Vec<f32> = (0..input.len()).map(from).collect();
        check(&format!("{shape:?} {permutation:?}"), &expected, 0.0, |context, output| {
            permute(context, &input, shape, permutation, output);
        });
    }
}

#[test]
fn slice_matches_definition() {
    let axis = |start, step, size| SliceAxis { start, step, size };
    let cases: [(&[usize], Vec<SliceAxis>); 7] = [
        (&[], vec![]),
        (&[9], vec![axis(2, 3, 3)]),
        (&[9], vec![axis(8, -1, 9)]),
        (&[9], vec![axis(9, 1, 0)]),
        (&[3, 197, 300], vec![axis(0, 1, 3), axis(1, 1, 196), axis(0, 1, 300)]),
        (&[4, 20, 30], vec![axis(3, -2, 2), axis(0, 2, 10), axis(5, 1, 7)]),
        (&[2, 60, 60, 24], vec![axis(0, 1, 2), axis(1, 2, 30), axis(0, 2, 30), axis(0, 1, 24)]),
    ];
    for (shape, axes) in cases {
        let input = values(shape.iter().product(), 1);
        let out_shape: Vec<usize> = axes.iter().map(|axis| axis.size).collect();
        let from = |i: usize| {
            let at = position(i, &out_shape).into_iter().zip(&axes);
            let at: Vec<usize> = at.map(|(p, axis)| axis.start.wrapping_add_signed(p as isize * axis.step)).collect();
            input[index(&at, shape)]
        };
        let expected: Vec<f32> = (0..out_shape.iter().product()).map(from).collect();
        check(&format!("{shape:?} {axes:?}"), &expected, 0.0, |context, output| {
            slice(context, &input, shape, &axes, output);
        });
    }
}

#[test]
#[should_panic(expected = "of an axis of 4")]
fn slice_beyond_the_axis_panics() {
    let axes = [SliceAxis { start: 1, step: 2, size: 3 }];
    slice(&Context::new(Isa::best(), 1), &[0.0; 4], &[4], &axes, &mut [0.0; 3]);
}

#[test]
fn expand_matches_definition() {
    let cases: [(&[usize], &[usize]); 5] = [
        (&[1], &[9]),
        (&[1, 1, 384], &[2, 100, 384]),
        (&[5, 1], &[5, 3]),
        (&[2, 1, 3, 1], &[2, 4, 3, 5]),
        (&[3, 4], &[3, 4]),
    ];
    for (shape, out_shape) in cases {
        let input = values(shape.iter().product(), 1);
        let count = out_shape.iter().product();
        let expected: Vec<f32> = (0..count).map(|i| input[index(&position(i, out_shape), shape)]).collect();
        check(&format!("{shape:?} {out_shape:?}"), &expected, 0.0, |context, output| {
            expand(context, &input, shape, output, out_shape);
        });
    }
}

#[test]
fn concat_matches_definition() {
    for (outer, inner, sizes) in
        [(1, 1, vec![3, 4]), (5, 3, vec![1, 2, 4]), (200, 1, vec![64, 0, 129]), (2, 7, vec![3])]
    {
        let parts: Vec<Vec<f32>> =
            sizes.iter().zip(1..).map(|(size, seed)| values(outer * size * inner, seed)).collect();
        let mut expected = Vec::new();
        for o in 0..outer {
            for (part, size) in parts.iter().zip(&sizes) {
                expected.extend(&part[o * size * inner..][..size * inner]);
            }
        }
        let parts: Vec<(&[f32], usize)> = parts.iter().map(Vec::as_slice).zip(sizes.iter().copied()).collect();
        check(&format!("{outer} {inner} {sizes:?}"), &expected, 0.0, |context, output| {
            concat(context, &parts, outer, inner, output);
        });
    }
}

#[test]
fn select_indices_matches_definition() {
    for [outer, size, inner] in [[1, 5, 1], [3, 7, 1], [2, 9, 40], [300, 4, 100]] {
        let input = values(outer * size * inner, 1);
        for indices in [vec![], vec![0], vec![3, 0, 3, 2]] {
            let mut expected = Vec::new();
            for (o, index) in (0..outer).flat_map(|o| indices.iter().map(move |index| (o, index))) {
                expected.extend(&input[(o * size + index) * inner..][..inner]);
            }
            check(&format!("{outer} {size} {inner} {indices:?}"), &expected, 0.0, |context, output| {
                select_indices(context, &input, [outer, size, inner], &indices, output);
            });
        }
    }
}

#[test]
fn pad_matches_definition() {
    let cases: [(&[usize], &[usize], &[usize]); 8] = [
        (&[], &[], &[]),
        (&[4], &[2], &[1]),
        (&[3, 4], &[0, 0], &[0, 0]),
        (&[3, 4], &[1, 0], &[0, 2]),
        (&[2, 5, 6, 3], &[0, 1, 2, 0], &[0, 3, 0, 0]),
        (&[2, 5, 6, 3], &[1, 0, 0, 2], &[0, 0, 1, 1]),
        (&[1, 40, 40, 30], &[0, 3, 3, 0], &[0, 3, 4, 0]),
        (&[2, 0, 3], &[0, 1, 0], &[0, 1, 0]),
    ];
    for (shape, before, after) in cases {
        let input = values(shape.iter().product(), 1);
        let out_shape: Vec<usize> =
            shape.iter().zip(before).zip(after).map(|((size, before), after)| size + before + after).collect();
        let from = |i: usize| {
            let at: Vec<usize> =
                position(i, &out_shape).iter().zip(before).map(|(p, before)| p.wrapping_sub(*before)).collect();
            let inside = at.iter().zip(shape).all(|(p, size)| p < size);
            if inside { input[at.iter().zip(shape).fold(0, |index, (p, size)| index * size + p)] } else { -1.5 }
        };
        let expected: Vec<f32> = (0..out_shape.iter().product()).map(from).collect();
        check(&format!("{shape:?} {before:?} {after:?}"), &expected, 0.0, |context, output| {
            pad(context, &input, shape, before, after, -1.5, output);
        });
    }
}
