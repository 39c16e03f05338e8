//! Evaluates the new head against the old one on held-out images, with a confidence interval and a significance test.

use std::fmt;

use burn::tensor::Tensor;

use crate::dataset::Dataset;
use crate::error::FinetuneError;

/// The 97.5 % quantile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;
/// A difference with a p-value below this is significant.
const SIGNIFICANCE_LEVEL: f64 = 0.05;

/// The predictions of both heads on the held-out images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// Number of held-out images.
    pub images: usize,
    /// Number of images that the old head classifies correctly.
    pub before: usize,
    /// Number of images that the new head classifies correctly.
    pub after: usize,
    /// Number of images that only the new head classifies correctly.
    pub fixed: usize,
    /// Number of images that only the old head classifies correctly.
    pub broken: usize,
}

/// Evaluates two weights, `[features + 1, classes]`, on a dataset.
///
/// # Errors
///
/// The device fails.
pub(crate) fn evaluate(old: &Tensor<2>, new: &Tensor<2>, dataset: &Dataset) -> Result<Evaluation, FinetuneError> {
    Ok(Evaluation::new(&dataset.predict(old)?, &dataset.predict(new)?, &dataset.classes))
}

impl Evaluation {
    fn new(before: &[usize], after: &[usize], true_classes: &[usize]) -> Self {
        let mut evaluation = Self { images: true_classes.len(), ..Self::default() };
        for ((before, after), class) in before.iter().zip(after).zip(true_classes) {
            let (was_right, is_right) = (before == class, after == class);
            evaluation.before += usize::from(was_right);
            evaluation.after += usize::from(is_right);
            evaluation.fixed += usize::from(!was_right && is_right);
            evaluation.broken += usize::from(was_right && !is_right);
        }
        evaluation
    }

    /// Returns whether more images were fixed than broken.
    pub fn is_better(&self) -> bool {
        self.fixed > self.broken
    }

    /// Returns the p-value of McNemar's test (1947), exact and two-sided: the probability that two equally good heads differ by at
    /// least this much. Only images that exactly one head classifies correctly count. Under the null hypothesis each of them is
    /// a coin toss.
    pub fn p_value(&self) -> f64 {
        let tosses = self.fixed + self.broken;
        let fewer = self.fixed.min(self.broken);
        // Sums the binomial coefficients divided by 2^tosses, by logarithms to avoid overflow.
        let mut log = -(tosses as f64) * 2.0_f64.ln();
        let mut sum = 0.0;
        for heads in 0..=fewer {
            sum += log.exp();
            log += ((tosses - heads) as f64).ln() - ((heads + 1) as f64).ln();
        }
        (2.0 * sum).min(1.0)
    }

    /// Returns whether the difference is significant.
    pub fn is_significant(&self) -> bool {
        self.p_value() < SIGNIFICANCE_LEVEL
    }
}

/// Returns the 95 % confidence interval of the accuracy, from 0 to 1, if `right` of `all` images are right (Wilson, 1927).
fn wilson_interval(right: usize, all: usize) -> [f64; 2] {
    if all == 0 {
        return [0.0, 1.0];
    }
    let (n, p) = (all as f64, right as f64 / all as f64);
    let middle = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    [middle - half, middle + half].map(|end| (end / (1.0 + Z * Z / n)).clamp(0.0, 1.0))
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { images, before, after, fixed, broken } = *self;
        if images == 0 {
            return writeln!(f, "no image was held out, so the new head is not evaluated");
        }
        for (when, right) in [("before", before), ("after", after)] {
            let [low, high] = wilson_interval(right, images).map(|end| end * 100.0);
            let percent = right as f64 / images as f64 * 100.0;
            writeln!(
                f,
                "{when:<6} {right} of {images} right: {percent:.1} % (95 % interval {low:.1} to {high:.1}, Wilson)"
            )?;
        }
        let p_value = match self.p_value() {
            small if small < 0.001 => "less than 0.001".to_string(),
            p_value => format!("{p_value:.3}"),
        };
        writeln!(
            f,
            "fixed {fixed}, broken {broken}: p-value {p_value} (McNemar), the probability of such a difference between equally good heads"
        )?;
        if !self.is_significant() {
            writeln!(
                f,
                "warning: the difference is not significant, there are too few images; collect more feedback, or test with a canary"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_and_broken_images_are_counted() {
        let evaluation = Evaluation::new(&[0, 1, 2, 3, 9], &[0, 5, 6, 3, 4], &[0, 1, 6, 9, 4]);
        assert_eq!(evaluation, Evaluation { images: 5, before: 2, after: 3, fixed: 2, broken: 1 });
        assert!(evaluation.is_better());
    }

    #[test]
    fn intervals_match_reference_values() {
        let close = |interval: [f64; 2], expected: [f64; 2]| {
            assert!(interval.iter().zip(expected).all(|(a, b)| (a - b).abs() < 5e-5), "{interval:?}");
        };
        // Reference values from R's binom.confint(x, n, methods = "wilson").
        close(wilson_interval(8, 10), [0.4902, 0.9433]);
        close(wilson_interval(0, 10), [0.0, 0.2775]);
        close(wilson_interval(10, 10), [0.7225, 1.0]);
        close(wilson_interval(0, 0), [0.0, 1.0]);
    }

    #[test]
    fn p_values_match_the_binomial_distribution() {
        let p_value = |fixed, broken| Evaluation { fixed, broken, ..Evaluation::default() }.p_value();
        // Two-sided: 2 * (1 + 10) / 2^10, 2 / 2^6, and no difference.
        assert!((p_value(9, 1) - 22.0 / 1024.0).abs() < 1e-12);
        assert!((p_value(0, 6) - 2.0 / 64.0).abs() < 1e-12);
        assert!((p_value(0, 0) - 1.0).abs() < 1e-12);
        assert!((p_value(3, 3) - 1.0).abs() < 1e-12);
        assert!(p_value(2000, 1500) < 1e-12 && p_value(2000, 1500) > 0.0);
        assert!(Evaluation { fixed: 6, ..Evaluation::default() }.is_significant());
        assert!(!Evaluation { fixed: 5, ..Evaluation::default() }.is_significant());
    }

    #[test]
    fn insignificant_difference_is_reported() {
        let few = Evaluation { images: 4, before: 1, after: 3, fixed: 2, broken: 0 };
        let text = few.to_string();
        assert!(text.contains("before 1 of 4 right: 25.0 %") && text.contains("too few images"), "{text}");
        let many = Evaluation { images: 100, before: 50, after: 80, fixed: 33, broken: 3 };
        assert!(!many.to_string().contains("too few") && many.to_string().contains("less than 0.001"), "{many}");
        assert!(Evaluation::default().to_string().contains("no image was held out"));
    }
}
