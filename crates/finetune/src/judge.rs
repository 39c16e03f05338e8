//! Is the new head better than the old one, and can that be told from so many pictures?

use std::fmt;

use burn::tensor::Tensor;

use super::FinetuneError;
use super::set::Set;

/// 97.5 % of a normal distribution lie below so many deviations.
const Z: f64 = 1.959_963_984_540_054;
/// From this probability on, what was seen may well be luck.
const SIGNIFICANT: f64 = 0.05;

/// What became of the pictures that were held out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How many there are.
    pub pictures: usize,
    /// Answered rightly by the old head.
    pub before: usize,
    /// Answered rightly by the new head.
    pub after: usize,
    /// Wrong before and right now.
    pub fixed: usize,
    /// Right before and wrong now.
    pub broken: usize,
}

/// Asks both weights, `[features + 1, classes]`, about a set.
///
/// # Errors
///
/// The device fails.
pub(super) fn judge(old: &Tensor<2>, new: &Tensor<2>, set: &Set) -> Result<Verdict, FinetuneError> {
    Ok(Verdict::count(&set.answers(old)?, &set.answers(new)?, &set.classes))
}

impl Verdict {
    fn count(before: &[usize], after: &[usize], right: &[usize]) -> Self {
        let mut verdict = Self { pictures: right.len(), ..Self::default() };
        for ((before, after), right) in before.iter().zip(after).zip(right) {
            let (was, is) = (before == right, after == right);
            verdict.before += usize::from(was);
            verdict.after += usize::from(is);
            verdict.fixed += usize::from(!was && is);
            verdict.broken += usize::from(was && !is);
        }
        verdict
    }

    /// Whether more pictures were fixed than broken.
    pub fn is_better(&self) -> bool {
        self.fixed > self.broken
    }

    /// The probability that two heads that are equally good differ by so much or more: McNemar's test (1947), exact, two-sided. Only
    /// pictures that one of them has right and the other has not tell anything, and each such is a toss of a coin.
    pub fn chance(&self) -> f64 {
        let tosses = self.fixed + self.broken;
        let fewer = self.fixed.min(self.broken);
        // Sums of binomial coefficients over 2^tosses, by logarithms, which do not overflow.
        let mut log = -(tosses as f64) * 2.0_f64.ln();
        let mut sum = 0.0;
        for heads in 0..=fewer {
            sum += log.exp();
            log += ((tosses - heads) as f64).ln() - ((heads + 1) as f64).ln();
        }
        (2.0 * sum).min(1.0)
    }

    /// Whether the difference is more than luck.
    pub fn is_certain(&self) -> bool {
        self.chance() < SIGNIFICANT
    }
}

/// Where the true part of right answers lies with 95 % confidence, from 0 to 1, if `right` of `all` were seen to be right
/// (Wilson, 1927).
fn wilson(right: usize, all: usize) -> [f64; 2] {
    if all == 0 {
        return [0.0, 1.0];
    }
    let (n, p) = (all as f64, right as f64 / all as f64);
    let middle = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    [middle - half, middle + half].map(|end| (end / (1.0 + Z * Z / n)).clamp(0.0, 1.0))
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pictures, before, after, fixed, broken } = *self;
        if pictures == 0 {
            return writeln!(f, "no picture was held out, so it cannot be told whether this is better");
        }
        for (when, right) in [("before", before), ("after", after)] {
            let [low, high] = wilson(right, pictures).map(|end| end * 100.0);
            let part = right as f64 / pictures as f64 * 100.0;
            writeln!(
                f,
                "{when:<6} {right} of {pictures} right: {part:.1} % (95 % interval {low:.1} to {high:.1}, Wilson)"
            )?;
        }
        let chance = match self.chance() {
            small if small < 0.001 => "less than 0.001".to_string(),
            chance => format!("{chance:.3}"),
        };
        writeln!(
            f,
            "fixed {fixed}, broken {broken}: of two equally good heads, the probability of so much is {chance} (McNemar)"
        )?;
        if !self.is_certain() {
            writeln!(f, "warning: these are too few pictures to tell; collect more feedback, or let a canary decide")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_and_broken_pictures_are_counted() {
        let verdict = Verdict::count(&[0, 1, 2, 3, 9], &[0, 5, 6, 3, 4], &[0, 1, 6, 9, 4]);
        assert_eq!(verdict, Verdict { pictures: 5, before: 2, after: 3, fixed: 2, broken: 1 });
        assert!(verdict.is_better());
    }

    #[test]
    fn intervals_are_wilsons() {
        let close = |interval: [f64; 2], expected: [f64; 2]| {
            assert!(interval.iter().zip(expected).all(|(a, b)| (a - b).abs() < 5e-5), "{interval:?}");
        };
        // By R's binom.confint(x, n, methods = "wilson").
        close(wilson(8, 10), [0.4902, 0.9433]);
        close(wilson(0, 10), [0.0, 0.2775]);
        close(wilson(10, 10), [0.7225, 1.0]);
        close(wilson(0, 0), [0.0, 1.0]);
    }

    #[test]
    fn chances_are_those_of_a_coin() {
        let chance = |fixed, broken| Verdict { fixed, broken, ..Verdict::default() }.chance();
        // Two-sided: 2 * (1 + 10) / 2^10, 2 / 2^6, and nothing that differs.
        assert!((chance(9, 1) - 22.0 / 1024.0).abs() < 1e-12);
        assert!((chance(0, 6) - 2.0 / 64.0).abs() < 1e-12);
        assert!((chance(0, 0) - 1.0).abs() < 1e-12);
        assert!((chance(3, 3) - 1.0).abs() < 1e-12);
        assert!(chance(2000, 1500) < 1e-12 && chance(2000, 1500) > 0.0);
        assert!(Verdict { fixed: 6, ..Verdict::default() }.is_certain());
        assert!(!Verdict { fixed: 5, ..Verdict::default() }.is_certain());
    }

    #[test]
    fn few_pictures_are_told_to_be_few() {
        let few = Verdict { pictures: 4, before: 1, after: 3, fixed: 2, broken: 0 };
        let told = few.to_string();
        assert!(told.contains("before 1 of 4 right: 25.0 %") && told.contains("too few pictures"), "{told}");
        let many = Verdict { pictures: 100, before: 50, after: 80, fixed: 33, broken: 3 };
        assert!(!many.to_string().contains("too few") && many.to_string().contains("less than 0.001"), "{many}");
        assert!(Verdict::default().to_string().contains("no picture was held out"));
    }
}
