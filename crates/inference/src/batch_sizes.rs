//! Which batch sizes a device is given. A GPU compiles and tunes kernels for each shape, so it sees few of them.

/// The sizes of batches that an engine runs; smaller batches are padded up to the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BatchSizes {
    /// Any size up to a largest one.
    Every { max: usize },
    /// These, ascending.
    Listed(Vec<usize>),
}

impl BatchSizes {
    /// Every size up to `max`: for devices that do not care.
    pub(crate) fn every(max: usize) -> Self {
        Self::Every { max }
    }

    /// Powers of two below `max`, and `max` itself: at most half of a batch is padding.
    pub(crate) fn powers_of_two(max: usize) -> Self {
        let mut sizes: Vec<usize> = std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n < max).collect();
        sizes.push(max);
        Self::Listed(sizes)
    }

    /// The size that a batch of `pictures` runs at.
    pub(crate) fn padded(&self, pictures: usize) -> usize {
        let Self::Listed(sizes) = self else {
            return pictures;
        };
        sizes.iter().copied().find(|size| *size >= pictures).unwrap_or(pictures)
    }

    /// The sizes to run before the first request: all that are compiled for, smallest first. A device that does not
    /// care only needs its buffers and threads, so the smallest and the largest will do.
    pub(crate) fn to_warm_up(&self) -> Vec<usize> {
        match self {
            Self::Every { max: 1 } => vec![1],
            Self::Every { max } => vec![1, *max],
            Self::Listed(sizes) => sizes.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_padded_to_the_next_warmed_size() {
        let sizes = BatchSizes::powers_of_two(12);
        assert_eq!(sizes.to_warm_up(), [1, 2, 4, 8, 12]);
        assert_eq!((1..=12).map(|n| sizes.padded(n)).collect::<Vec<_>>(), [1, 2, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12]);
    }

    #[test]
    fn a_device_that_does_not_care_is_never_padded() {
        let sizes = BatchSizes::every(5);
        assert!((1..=5).all(|n| sizes.padded(n) == n));
        assert_eq!(sizes.to_warm_up(), [1, 5]);
    }
}
