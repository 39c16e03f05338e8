//! Whether probabilities are what they say: of the answers given with 80 %, are 80 % right?

/// Bins of equal width over probabilities from 0 to 1.
const BINS: usize = 10;

/// Answers whose probability lies within a tenth.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bin {
    /// Lower bound, not included but in the first bin.
    pub low: f64,
    /// Upper bound, included.
    pub high: f64,
    /// How many.
    pub count: usize,
    /// Their mean probability; 0 where there are none.
    pub confidence: f64,
    /// The part of them that was right; 0 where there are none.
    pub accuracy: f64,
}

/// The reliability diagram's numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// From the lowest to the highest.
    pub bins: Vec<Bin>,
    /// Expected calibration error: the mean over all answers of the distance between their bin's accuracy and its
    /// confidence; absent where there are no answers. Equation 3 of C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On
    /// Calibration of Modern Neural Networks", ICML 2017.
    pub error: Option<f64>,
}

impl Calibration {
    /// Of probabilities and whether the answers were right.
    pub fn of(answers: impl Iterator<Item = (f32, bool)>) -> Self {
        let mut sums = [(0_usize, 0.0_f64, 0_usize); BINS];
        for (probability, is_right) in answers {
            // As in the paper a bin includes its upper bound: in f32, where a tenth of ten is one.
            let place = (probability * BINS as f32).ceil() as usize;
            let (count, confidence, right) = &mut sums[place.clamp(1, BINS) - 1];
            *count += 1;
            *confidence += f64::from(probability);
            *right += usize::from(is_right);
        }
        let all: usize = sums.iter().map(|sum| sum.0).sum();
        let bin = |(index, (count, confidence, right)): (usize, (usize, f64, usize))| {
            let mean = |sum: f64| if count == 0 { 0.0 } else { sum / count as f64 };
            let (low, high) = (index as f64 / BINS as f64, (index + 1) as f64 / BINS as f64);
            Bin { low, high, count, confidence: mean(confidence), accuracy: mean(right as f64) }
        };
        let bins: Vec<Bin> = sums.into_iter().enumerate().map(bin).collect();
        let weighed = |bin: &Bin| bin.count as f64 / all as f64 * (bin.accuracy - bin.confidence).abs();
        let error = (all > 0).then(|| bins.iter().filter(|bin| bin.count > 0).map(weighed).sum());
        Self { bins, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_what_the_formula_says() {
        // Two at 0.95, one right: |0.5 - 0.95| of half of all; two at 0.55, both right: |1 - 0.55| of the other half.
        let answers = [(0.95, true), (0.95, false), (0.55, true), (0.55, true)];
        let calibration = Calibration::of(answers.into_iter());
        assert!((calibration.error.unwrap() - 0.45).abs() < 1e-6, "{calibration:?}");
        let full: Vec<(f64, usize)> =
            calibration.bins.iter().filter(|bin| bin.count > 0).map(|bin| (bin.high, bin.count)).collect();
        assert_eq!(full, [(0.6, 2), (1.0, 2)]);
    }

    #[test]
    fn bounds_belong_to_the_bin_below_and_nothing_has_no_error() {
        let calibration = Calibration::of([(0.0, false), (0.1, true), (1.0, true), (0.1001, true)].into_iter());
        let counts: Vec<usize> = calibration.bins.iter().map(|bin| bin.count).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        let none = Calibration::of(std::iter::empty());
        assert_eq!((none.error, none.bins.len()), (None, 10));
    }
}
