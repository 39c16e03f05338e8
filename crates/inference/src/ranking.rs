//! Ranks classes by logits on the host. A thousand exponentials take microseconds.

use std::cmp::Ordering;

/// A class and its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoredClass {
    /// Index of the class.
    pub class_id: usize,
    /// Softmax or sigmoid probability, in 0..=1.
    pub probability: f32,
}

/// Returns the `top_k` most probable classes, most probable first; fewer if there are fewer classes.
///
/// The softmax is over all classes. It subtracts the maximum first, so that no exponential overflows. Equal scores keep the
/// order of class ids.
pub fn softmax_top_k(logits: &[f32], top_k: usize) -> Vec<ScoredClass> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - max).exp()).sum();
    let scored = |class_id| ScoredClass { class_id, probability: (logits[class_id] - max).exp() / sum };
    top_classes(logits, top_k).into_iter().map(scored).collect()
}

/// Returns the `top_k` most probable classes of a multi-label model, most probable first. The probability of each class is the
/// sigmoid of its logit, independent of the other classes. Equal scores keep the order of class ids.
pub fn sigmoid_top_k(logits: &[f32], top_k: usize) -> Vec<ScoredClass> {
    let scored = |class_id| ScoredClass { class_id, probability: 1.0 / (1.0 + (-logits[class_id]).exp()) };
    top_classes(logits, top_k).into_iter().map(scored).collect()
}

/// Returns the classes with the `top_k` highest logits, the highest first.
fn top_classes(logits: &[f32], top_k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    let by_score = by_score(logits);
    let count = top_k.min(order.len());
    if count < order.len() {
        order.select_nth_unstable_by(count, &by_score);
        order.truncate(count);
    }
    order.sort_unstable_by(by_score);
    order
}

/// Returns the most probable class, the first result of [`softmax_top_k`]; `None` if there are no classes.
pub fn argmax(logits: &[f32]) -> Option<usize> {
    (0..logits.len()).min_by(by_score(logits))
}

/// Orders classes by descending logits.
fn by_score(logits: &[f32]) -> impl Fn(&usize, &usize) -> Ordering {
    |a, b| logits[*b].total_cmp(&logits[*a]).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_k_is_sorted_and_probabilities_are_softmax() {
        let ranked = softmax_top_k(&[0.0, 2.0, 1.0, 2.0], 3);
        assert_eq!(ranked.iter().map(|r| r.class_id).collect::<Vec<_>>(), [1, 3, 2]);
        let sum = 1.0 + 2.0_f32.exp() * 2.0 + 1.0_f32.exp();
        assert!((ranked[0].probability - 2.0_f32.exp() / sum).abs() < 1e-6);
        assert!((ranked[2].probability - 1.0_f32.exp() / sum).abs() < 1e-6);
    }

    #[test]
    fn argmax_is_the_first_of_top_k() {
        for logits in [&[0.0, 2.0, 1.0, 2.0][..], &[-0.0, 0.0], &[1.0, f32::NAN, 2.0], &[f32::NEG_INFINITY; 3], &[]] {
            assert_eq!(argmax(logits), softmax_top_k(logits, 1).first().map(|best| best.class_id), "{logits:?}");
        }
        assert_eq!(argmax(&[0.0, 2.0, 1.0, 2.0]), Some(1));
    }

    #[test]
    fn sigmoid_probabilities_are_independent_and_sorted() {
        let ranked = sigmoid_top_k(&[0.0, 2.0, -1e30, 1e30], 3);
        assert_eq!(ranked.iter().map(|r| r.class_id).collect::<Vec<_>>(), [3, 1, 0]);
        assert_eq!((ranked[0].probability, ranked[2].probability), (1.0, 0.5));
        assert!((ranked[1].probability - 0.880_797).abs() < 1e-6, "{ranked:?}");
        assert_eq!(sigmoid_top_k(&[-1e30], 1)[0].probability, 0.0);
    }

    #[test]
    fn huge_logits_do_not_overflow_and_probabilities_sum_to_one() {
        let ranked = softmax_top_k(&[1e30, 1e30, -1e30], 100);
        assert_eq!(ranked.len(), 3);
        assert!((ranked.iter().map(|r| r.probability).sum::<f32>() - 1.0).abs() < 1e-6);
    }
}
