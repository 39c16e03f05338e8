//! The shapes of broadcast operands and of their results.

/// Returns the shape with leading axes of size 1, so that it has `rank` axes.
pub(super) fn with_rank(shape: &[usize], rank: usize) -> Vec<usize> {
    let missing = rank.saturating_sub(shape.len());
    std::iter::repeat_n(1, missing).chain(shape.iter().copied()).collect()
}

/// Returns the shape that all of `shapes` are broadcast to, and each shape with its rank.
///
/// # Panics
///
/// Panics if the shapes cannot be broadcast.
pub(super) fn broadcast<const N: usize>(shapes: [&[usize]; N]) -> (Vec<usize>, [Vec<usize>; N]) {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let aligned = shapes.map(|shape| with_rank(shape, rank));
    let size = |axis: usize| {
        let size = aligned.iter().map(|shape| shape[axis]).find(|size| *size != 1).unwrap_or(1);
        assert!(aligned.iter().all(|shape| [1, size].contains(&shape[axis])), "{shapes:?} cannot be broadcast");
        size
    };
    ((0..rank).map(size).collect(), aligned)
}

/// Returns the number of positions before, along and behind an axis.
///
/// # Panics
///
/// Panics if the axis does not exist.
pub(super) fn split_at_axis(shape: &[usize], axis: usize) -> [usize; 3] {
    assert!(axis < shape.len(), "axis {axis} of shape {shape:?}");
    [shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_ranks_get_leading_axes() {
        let (shape, operands) = broadcast([&[4, 1, 6], &[3, 1], &[]]);
        assert_eq!(shape, [4, 3, 6]);
        assert_eq!(operands, [vec![4, 1, 6], vec![1, 3, 1], vec![1, 1, 1]]);
        assert_eq!(broadcast([&[0, 3], &[1]]).0, [0, 3]);
        assert_eq!(split_at_axis(&[2, 3, 4, 5], 2), [6, 4, 5]);
    }

    #[test]
    #[should_panic(expected = "cannot be broadcast")]
    fn different_sizes_cannot_be_broadcast() {
        broadcast([&[4, 2], &[4, 3]]);
    }
}
