//! Logits to the most probable classes, on the host: a thousand exponentials cost microseconds.

use std::cmp::Ordering;

/// A class with its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// Index of the class.
    pub class_id: usize,
    /// Softmax probability, in 0..=1.
    pub probability: f32,
}

/// The `top_k` most probable classes, most probable first; fewer where there are fewer classes.
///
/// Softmax over all classes, with the maximum subtracted first so that no exponential overflows. Equal scores
/// keep the order of their class ids.
pub fn rank(logits: &[f32], top_k: usize) -> Vec<Ranked> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - max).exp()).sum();
    let mut order: Vec<usize> = (0..logits.len()).collect();
    let by_score = by_score(logits);
    let kept = top_k.min(order.len());
    if kept < order.len() {
        order.select_nth_unstable_by(kept, &by_score);
        order.truncate(kept);
    }
    order.sort_unstable_by(by_score);
    order.into_iter().map(|class_id| Ranked { class_id, probability: (logits[class_id] - max).exp() / sum }).collect()
}

/// The most probable class, the one that [`rank`] puts first; nothing where there are no classes.
pub fn top(logits: &[f32]) -> Option<usize> {
    (0..logits.len()).min_by(by_score(logits))
}

/// The order of classes, the most probable first.
fn by_score(logits: &[f32]) -> impl Fn(&usize, &usize) -> Ordering {
    |a, b| logits[*b].total_cmp(&logits[*a]).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_probable_come_first_and_probabilities_are_softmax() {
        let ranked = rank(&[0.0, 2.0, 1.0, 2.0], 3);
        assert_eq!(ranked.iter().map(|r| r.class_id).collect::<Vec<_>>(), [1, 3, 2]);
        let sum = 1.0 + 2.0_f32.exp() * 2.0 + 1.0_f32.exp();
        assert!((ranked[0].probability - 2.0_f32.exp() / sum).abs() < 1e-6);
        assert!((ranked[2].probability - 1.0_f32.exp() / sum).abs() < 1e-6);
    }

    #[test]
    fn the_top_class_is_the_first_of_the_ranking() {
        for logits in [&[0.0, 2.0, 1.0, 2.0][..], &[-0.0, 0.0], &[1.0, f32::NAN, 2.0], &[f32::NEG_INFINITY; 3], &[]] {
            assert_eq!(top(logits), rank(logits, 1).first().map(|best| best.class_id), "{logits:?}");
        }
        assert_eq!(top(&[0.0, 2.0, 1.0, 2.0]), Some(1));
    }

    #[test]
    fn huge_logits_do_not_overflow_and_all_classes_sum_to_one() {
        let ranked = rank(&[1e30, 1e30, -1e30], 100);
        assert_eq!(ranked.len(), 3);
        assert!((ranked.iter().map(|r| r.probability).sum::<f32>() - 1.0).abs() < 1e-6);
    }
}
