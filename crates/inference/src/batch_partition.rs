//! Batch sizes and partition: the sizes that a device runs, and the split of a batch over the CPU's threads.

use std::ops::Range;

use kiln_kernels::Kernels;

/// The batch sizes that an engine runs. A smaller batch is padded up to the next size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BatchSizes {
    /// Every size up to `max`.
    Every { max: usize },
    /// These sizes, ascending.
    Listed(Vec<usize>),
}

impl BatchSizes {
    /// Returns the sizes for a kind of kernels. Stock kernels on a GPU are compiled and tuned for each shape, so they run few
    /// sizes; the other kernels run every size.
    pub(crate) fn new(kernels: Kernels, on_cpu: bool, max: usize) -> Self {
        match kernels {
            Kernels::Stock if !on_cpu => Self::powers_of_two(max),
            _ => Self::Every { max },
        }
    }

    /// Returns the powers of two below `max`, and `max` itself: at most half of a batch is padding.
    fn powers_of_two(max: usize) -> Self {
        let mut sizes: Vec<usize> = std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n < max).collect();
        sizes.push(max);
        Self::Listed(sizes)
    }

    /// Returns the size at which a batch of `rows` runs.
    pub(crate) fn padded(&self, rows: usize) -> usize {
        let Self::Listed(sizes) = self else {
            return rows;
        };
        sizes.iter().copied().find(|size| *size >= rows).unwrap_or(rows)
    }

    /// Returns the sizes to run before the first request, ascending: every size that has compiled kernels. If kernels do not
    /// depend on the size, a GPU needs the smallest size and the largest, whose buffers have to fit. A CPU, whose threads are
    /// `cpu_threads`, runs one sample on each of them: a large network takes seconds for a whole batch, and would find nothing
    /// else to prepare. The self-test that follows runs one sample on all threads together.
    pub(crate) fn to_warm_up(&self, cpu_threads: Option<usize>) -> Vec<usize> {
        match self {
            Self::Every { max } => match cpu_threads {
                Some(threads) => vec![threads.min(*max)],
                None if *max == 1 => vec![1],
                None => vec![1, *max],
            },
            Self::Listed(sizes) => sizes.clone(),
        }
    }
}

/// Maximum number of samples that a thread runs at once. They share one read of the classifier's weights. But with more
/// samples, the other threads wait longer for the last one, and memory use grows.
const MAX_PART: usize = 4;

/// Splits `0..batch` into parts that one thread runs alone, and a rest that all threads run together.
///
/// A thread with samples of its own never waits for other threads, so separate parts cost the least in total. All threads
/// together finish a sample soonest, so they share the samples that would leave some threads idle. On two cores, batches of 2
/// and 4 run 1.2 times as fast as with a synchronisation at each layer.
pub(super) fn partition(batch: usize, threads: usize) -> (Vec<Range<usize>>, Range<usize>) {
    let each = batch / threads;
    let mut separate = Vec::new();
    let mut next = 0;
    for rounds_left in (1..=each.div_ceil(MAX_PART)).rev() {
        // All threads run the same number of samples in a round.
        let done = next / threads;
        let size = (each - done) / rounds_left;
        separate.extend((0..threads).map(|thread| next + thread * size..next + (thread + 1) * size));
        next += threads * size;
    }
    (separate, next..batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_is_padded_to_the_next_listed_size() {
        let sizes = BatchSizes::powers_of_two(12);
        assert_eq!(sizes.to_warm_up(None), [1, 2, 4, 8, 12]);
        assert_eq!((1..=12).map(|n| sizes.padded(n)).collect::<Vec<_>>(), [1, 2, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12]);
    }

    #[test]
    fn every_size_runs_without_padding() {
        let sizes = BatchSizes::Every { max: 5 };
        assert!((1..=5).all(|n| sizes.padded(n) == n));
        assert_eq!(sizes.to_warm_up(None), [1, 5]);
    }

    #[test]
    fn cpu_warms_up_one_sample_a_thread() {
        let sizes = BatchSizes::Every { max: 8 };
        assert_eq!(sizes.to_warm_up(Some(2)), [2]);
        assert_eq!(sizes.to_warm_up(Some(16)), [8]);
        assert_eq!(sizes.to_warm_up(Some(1)), [1]);
        assert_eq!(BatchSizes::Every { max: 1 }.to_warm_up(None), [1]);
    }

    #[test]
    fn partition_covers_every_sample_once_and_balances_threads() {
        for threads in 1..9 {
            for batch in 1..70 {
                let (separate, together) = partition(batch, threads);
                let parts: Vec<usize> = separate.iter().cloned().flatten().chain(together.clone()).collect();
                assert_eq!(parts, (0..batch).collect::<Vec<_>>(), "{batch} on {threads}");
                let sizes_fit = separate.iter().all(|part| (1..=MAX_PART).contains(&part.len()));
                assert!(separate.len() % threads == 0 && sizes_fit);
                for round in separate.chunks(threads) {
                    assert!(
                        round.iter().all(|part| part.len() == round[0].len()),
                        "{batch} on {threads}: {separate:?}"
                    );
                }
                assert!(together.len() < threads, "{batch} on {threads}");
            }
        }
    }

    #[test]
    fn all_threads_share_a_single_sample_and_parts_are_bounded() {
        assert_eq!(partition(1, 2), (vec![], 0..1));
        assert_eq!(partition(7, 1), (vec![0..3, 3..7], 7..7));
        assert_eq!(partition(5, 2), (vec![0..2, 2..4], 4..5));
        assert_eq!(partition(12, 2), (vec![0..3, 3..6, 6..9, 9..12], 12..12));
    }
}
