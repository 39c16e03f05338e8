//! Feedback by when it was given: equal stretches of time between the first and the last.

use std::time::{Duration, SystemTime};

use super::super::judged::Judged;

/// Stretches at most; there are fewer where there is little feedback.
const MOST: usize = 24;
/// Feedback in each stretch, if it were evenly spread.
const EACH: usize = 10;

/// A stretch of time in which feedback was given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stretch {
    pub(super) begins: SystemTime,
    /// From the first feedback on.
    pub(super) since: Duration,
    pub(super) judged: usize,
    pub(super) right: usize,
}

/// Those that have feedback.
pub(super) fn stretches(judged: &[Judged]) -> Vec<Stretch> {
    let times = || judged.iter().map(|one| one.time);
    let Some((first, last)) = times().min().zip(times().max()) else { return Vec::new() };
    let whole = last.duration_since(first).unwrap_or_default();
    let count = (judged.len() / EACH).clamp(1, MOST);
    let length = whole / count as u32;
    let begin = |index: usize| Stretch {
        begins: first + length * index as u32,
        since: length * index as u32,
        judged: 0,
        right: 0,
    };
    let mut all: Vec<Stretch> = (0..count).map(begin).collect();
    for one in judged {
        let since = one.time.duration_since(first).unwrap_or_default();
        let index = if length.is_zero() { 0.0 } else { since.as_secs_f64() / length.as_secs_f64() };
        let stretch = &mut all[(index as usize).min(count - 1)];
        stretch.judged += 1;
        stretch.right += usize::from(one.is_right());
    }
    all.retain(|stretch| stretch.judged > 0);
    all
}

#[cfg(test)]
mod tests {
    use super::super::super::record::Verdict;
    use super::super::super::summary::tests::judged;
    use super::*;

    #[test]
    fn all_feedback_is_in_a_stretch_and_the_last_one_too() {
        // An hour apart; the last tenth is wrong.
        let truth = |number| if number < 90 { 1 } else { 2 };
        let rows: Vec<Judged> =
            (0..100).map(|number| judged(number, 0.9, Verdict::Label, Some(truth(number)))).collect();
        let all = stretches(&rows);
        assert_eq!((all.len(), all.iter().map(|stretch| stretch.judged).sum::<usize>()), (10, 100));
        assert_eq!((all[0].since, all[0].right == all[0].judged), (Duration::ZERO, true));
        assert_eq!(all[9].right, 0);
        assert!(all.is_sorted_by(|a, b| a.since < b.since));
    }

    #[test]
    fn one_piece_of_feedback_is_one_stretch_and_none_is_none() {
        assert_eq!(stretches(&[judged(1, 0.9, Verdict::Wrong, None)]).len(), 1);
        assert!(stretches(&[]).is_empty());
    }
}
