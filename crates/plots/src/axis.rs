//! Maps values to positions along one axis, and places the ticks. Nothing here draws.

use crate::svg::is_drawable;

/// If the largest value is at least this many times the smallest one, the axis is logarithmic.
const LOGARITHMIC_RATIO: f64 = 100.0;
/// Maximum number of decades on a logarithmic axis; smaller values are drawn at its end.
const MAX_DECADES: i32 = 6;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Scale {
    Linear,
    Logarithmic,
}

impl Scale {
    fn transform(self, value: f64) -> f64 {
        if self == Self::Linear { value } else { value.log2() }
    }
}

/// Maps values from `low` to `high` to positions between `from` and `to`.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    ticks: Vec<f64>,
}

impl Axis {
    /// Creates a linear axis from zero to a round number that is not below any of `values`.
    pub fn from_zero(values: &[f64], from: f64, to: f64) -> Self {
        let max = drawable(values).fold(0.0, f64::max);
        let max = if max > 0.0 { max } else { 1.0 };
        let step = round_step(max / 5.0);
        let count = (max / step - 1e-9).ceil().max(1.0) as usize;
        let ticks: Vec<f64> = (0..=count).map(|i| i as f64 * step).collect();
        Self { scale: Scale::Linear, low: 0.0, high: ticks[count], from, to, ticks }
    }

    /// Creates an axis from zero, or a logarithmic one over whole decades if `values` differ by a factor of 100 or more.
    pub fn linear_or_logarithmic(values: &[f64], from: f64, to: f64) -> Self {
        let min = drawable(values).fold(f64::INFINITY, f64::min);
        let max = drawable(values).fold(0.0, f64::max);
        if min <= 0.0 || max / min < LOGARITHMIC_RATIO {
            return Self::from_zero(values, from, to);
        }
        let last = max.log10().ceil() as i32;
        let first = (min.log10().floor() as i32).max(last - MAX_DECADES);
        let ticks: Vec<f64> = (first..=last).map(|power| 10_f64.powi(power)).collect();
        Self { scale: Scale::Logarithmic, low: ticks[0], high: ticks[ticks.len() - 1], from, to, ticks }
    }

    /// Creates an axis from the smallest of `values` to the largest, with ticks at the values. A tick closer than `gap` to
    /// the previous one is left out. The axis is logarithmic if the largest value is at least four times the smallest.
    pub fn with_ticks_at(values: &[f64], from: f64, to: f64, gap: f64) -> Self {
        let mut ticks: Vec<f64> = drawable(values).collect();
        ticks.sort_unstable_by(f64::total_cmp);
        ticks.dedup();
        let (low, high) = (ticks.first().copied().unwrap_or(0.0), ticks.last().copied().unwrap_or(0.0));
        let scale = if low > 0.0 && high / low >= 4.0 { Scale::Logarithmic } else { Scale::Linear };
        let mut axis = Self { scale, low, high, from, to, ticks: Vec::new() };
        let mut last = f64::NEG_INFINITY;
        ticks.retain(|tick| {
            let position = axis.position(*tick);
            let far = position - last >= gap;
            last = if far { position } else { last };
            far
        });
        axis.ticks = ticks;
        axis
    }

    /// Returns the position of `value`. A value beyond an end of the axis is placed at that end. If the axis has only one
    /// value, the position is the middle.
    pub fn position(&self, value: f64) -> f64 {
        let (low, high) = (self.scale.transform(self.low), self.scale.transform(self.high));
        let share = if high > low { (self.scale.transform(value) - low) / (high - low) } else { 0.5 };
        let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
        self.from + share * (self.to - self.from)
    }

    /// Returns the position and the text of each tick.
    pub fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        self.ticks.iter().map(|tick| (self.position(*tick), format_tick(*tick)))
    }

    /// Returns whether equal distances mean equal ratios.
    pub fn is_logarithmic(&self) -> bool {
        self.scale == Scale::Logarithmic
    }
}

fn drawable(values: &[f64]) -> impl Iterator<Item = f64> {
    values.iter().copied().filter(|value| is_drawable(*value))
}

/// Returns the smallest of 1, 2 and 5 times a power of ten that is not below `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// Formats a tick with few characters, because the space beside an axis is narrow.
fn format_tick(tick: f64) -> String {
    // Multiples of steps such as 0.1 are not exact.
    let plain = |value: f64| ((value * 1e9).round() / 1e9).to_string();
    match tick {
        0.0 => plain(tick),
        _ if tick < 1e-6 => format!("{tick:.0e}"),
        _ if tick >= 1e10 => format!("{tick:.0e}"),
        _ if tick >= 1e7 => plain(tick / 1e6) + "M",
        _ if tick >= 1e4 => plain(tick / 1e3) + "k",
        _ => plain(tick),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<String> {
        axis.ticks().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        assert_eq!(texts(&Axis::from_zero(&[251.4, 10.0], 0.0, 1.0)), ["0", "100", "200", "300"]);
        assert_eq!(texts(&Axis::from_zero(&[0.47], 0.0, 1.0)), ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(texts(&Axis::from_zero(&[0.0, f64::NAN], 0.0, 1.0)).last().unwrap(), "1");
        assert_eq!(texts(&Axis::linear_or_logarithmic(&[3.0, 6400.0], 0.0, 1.0)), ["1", "10", "100", "1000", "10k"]);
    }

    #[test]
    fn positions_increase_with_values() {
        let values = [0.5, 1.0, 3.0, 60.0, 900.0];
        for axis in [
            Axis::from_zero(&values, 10.0, 90.0),
            Axis::linear_or_logarithmic(&values, 10.0, 90.0),
            Axis::with_ticks_at(&values, 10.0, 90.0, 0.0),
        ] {
            let positions = values.map(|value| axis.position(value));
            assert!(positions.is_sorted_by(|a, b| a < b), "{positions:?}");
            assert!(positions[0] >= 10.0 && positions[4] <= 90.0);
        }
    }

    #[test]
    fn powers_of_two_are_evenly_spaced_and_crowded_ticks_are_left_out() {
        let axis = Axis::with_ticks_at(&[1.0, 2.0, 4.0, 8.0], 0.0, 90.0, 10.0);
        assert_eq!([1.0, 2.0, 4.0, 8.0].map(|value| axis.position(value).round()), [0.0, 30.0, 60.0, 90.0]);
        assert_eq!(texts(&Axis::with_ticks_at(&[1.0, 63.0, 64.0], 0.0, 90.0, 10.0)), ["1", "63"]);
    }

    #[test]
    fn values_off_the_axis_are_placed_at_an_end_and_a_single_value_in_the_middle() {
        let axis = Axis::linear_or_logarithmic(&[1.0, 1000.0], 0.0, 90.0);
        assert_eq!([f64::NAN, f64::INFINITY, 0.0, -1.0].map(|value| axis.position(value)), [0.0, 90.0, 0.0, 0.0]);
        assert_eq!(Axis::with_ticks_at(&[4.0], 0.0, 90.0, 10.0).position(4.0), 45.0);
        assert_eq!(Axis::with_ticks_at(&[], 0.0, 90.0, 10.0).position(4.0), 45.0);
    }
}
