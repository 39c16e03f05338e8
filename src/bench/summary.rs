//! Many latencies to percentiles and a mean.

use std::time::Duration;

use super::Latency;

impl Latency {
    /// Summarises `times`; all zero where there are none.
    pub fn from_durations(times: &[Duration]) -> Self {
        Self::from_ms(times.iter().map(|time| time.as_secs_f64() * 1e3).collect())
    }

    /// Summarises `times` in milliseconds; all zero where there are none. Those that are not finite do not count.
    pub fn from_ms(mut times: Vec<f64>) -> Self {
        times.retain(|time| time.is_finite());
        if times.is_empty() {
            return Self::default();
        }
        times.sort_unstable_by(f64::total_cmp);
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        let percentile = |percent| times[nearest_rank(percent, times.len())];
        Self { p50: percentile(50), p90: percentile(90), p99: percentile(99), mean }
    }
}

/// Index of the smallest of `count` sorted values that at least `percent` % of them do not exceed.
fn nearest_rank(percent: usize, count: usize) -> usize {
    (count * percent).div_ceil(100).max(1) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values_by_nearest_rank() {
        let times = (1..=100).rev().map(f64::from).collect();
        assert_eq!(Latency::from_ms(times), Latency { p50: 50.0, p90: 90.0, p99: 99.0, mean: 50.5 });
        let few = Latency::from_ms(vec![50.0, 15.0, 35.0, 20.0, 40.0]);
        assert_eq!(few, Latency { p50: 35.0, p90: 50.0, p99: 50.0, mean: 32.0 });
    }

    #[test]
    fn one_time_is_every_percentile_and_none_are_zero() {
        let one = Latency::from_durations(&[Duration::from_micros(2500)]);
        assert_eq!(one, Latency { p50: 2.5, p90: 2.5, p99: 2.5, mean: 2.5 });
        assert_eq!(Latency::from_durations(&[]), Latency::default());
        assert_eq!(Latency::from_ms(vec![f64::NAN, f64::INFINITY, 4.0]).mean, 4.0);
    }
}
