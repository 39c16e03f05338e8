//! One axis: values to positions, and the ticks along it. Nothing here draws.

use super::is_drawable;

/// Largest value over smallest from which on amounts need a logarithmic axis.
const WIDE: f64 = 100.0;
/// Decades that a logarithmic axis shows at most; what lies below is drawn at its end.
const DECADES: i32 = 6;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Scale {
    Linear,
    Logarithmic,
}

impl Scale {
    fn of(self, value: f64) -> f64 {
        if self == Self::Linear { value } else { value.log2() }
    }
}

/// Values from `low` to `high` between the positions `from` and `to`.
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
    /// From zero to a round number that is no smaller than `values`.
    pub fn from_zero(values: &[f64], from: f64, to: f64) -> Self {
        let max = drawable(values).fold(0.0, f64::max);
        let max = if max > 0.0 { max } else { 1.0 };
        let step = round_step(max / 5.0);
        let count = (max / step - 1e-9).ceil().max(1.0) as usize;
        let ticks: Vec<f64> = (0..=count).map(|i| i as f64 * step).collect();
        Self { scale: Scale::Linear, low: 0.0, high: ticks[count], from, to, ticks }
    }

    /// From zero, or over whole decades where `values` lie too far apart for that.
    pub fn amounts(values: &[f64], from: f64, to: f64) -> Self {
        let min = drawable(values).fold(f64::INFINITY, f64::min);
        let max = drawable(values).fold(0.0, f64::max);
        if min <= 0.0 || max / min < WIDE {
            return Self::from_zero(values, from, to);
        }
        let last = max.log10().ceil() as i32;
        let first = (min.log10().floor() as i32).max(last - DECADES);
        let ticks: Vec<f64> = (first..=last).map(|power| 10_f64.powi(power)).collect();
        Self { scale: Scale::Logarithmic, low: ticks[0], high: ticks[ticks.len() - 1], from, to, ticks }
    }

    /// From the smallest of `values` to the largest, ticks at the values themselves, but none nearer than `gap` to the
    /// one before. Logarithmic where they double and double again, as batch sizes do.
    pub fn steps(values: &[f64], from: f64, to: f64, gap: f64) -> Self {
        let mut ticks: Vec<f64> = drawable(values).collect();
        ticks.sort_unstable_by(f64::total_cmp);
        ticks.dedup();
        let (low, high) = (ticks.first().copied().unwrap_or(0.0), ticks.last().copied().unwrap_or(0.0));
        let scale = if low > 0.0 && high / low >= 4.0 { Scale::Logarithmic } else { Scale::Linear };
        let mut axis = Self { scale, low, high, from, to, ticks: Vec::new() };
        let mut last = f64::NEG_INFINITY;
        ticks.retain(|tick| {
            let at = axis.at(*tick);
            let far = at - last >= gap;
            last = if far { at } else { last };
            far
        });
        axis.ticks = ticks;
        axis
    }

    /// Where `value` lies; at an end of the axis what is beyond, in the middle where the axis has but one value.
    pub fn at(&self, value: f64) -> f64 {
        let (low, high) = (self.scale.of(self.low), self.scale.of(self.high));
        let share = if high > low { (self.scale.of(value) - low) / (high - low) } else { 0.5 };
        let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
        self.from + share * (self.to - self.from)
    }

    /// Each tick's position and text.
    pub fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        self.ticks.iter().map(|tick| (self.at(*tick), tick_text(*tick)))
    }

    /// Whether equal distances are equal ratios.
    pub fn is_logarithmic(&self) -> bool {
        self.scale == Scale::Logarithmic
    }
}

fn drawable(values: &[f64]) -> impl Iterator<Item = f64> {
    values.iter().copied().filter(|value| is_drawable(*value))
}

/// The smallest of 1, 2, 5 times a power of ten that is no smaller than `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// As few characters as there is room for beside an axis.
fn tick_text(tick: f64) -> String {
    // Steps such as 0.1 do not add up exactly.
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
    fn ticks_are_round_and_reach_over_the_values() {
        assert_eq!(texts(&Axis::from_zero(&[251.4, 10.0], 0.0, 1.0)), ["0", "100", "200", "300"]);
        assert_eq!(texts(&Axis::from_zero(&[0.47], 0.0, 1.0)), ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(texts(&Axis::from_zero(&[0.0, f64::NAN], 0.0, 1.0)).last().unwrap(), "1");
        assert_eq!(texts(&Axis::amounts(&[3.0, 6400.0], 0.0, 1.0)), ["1", "10", "100", "1000", "10k"]);
    }

    #[test]
    fn positions_rise_with_values() {
        let values = [0.5, 1.0, 3.0, 60.0, 900.0];
        for axis in [
            Axis::from_zero(&values, 10.0, 90.0),
            Axis::amounts(&values, 10.0, 90.0),
            Axis::steps(&values, 10.0, 90.0, 0.0),
        ] {
            let places = values.map(|value| axis.at(value));
            assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
            assert!(places[0] >= 10.0 && places[4] <= 90.0);
        }
    }

    #[test]
    fn powers_of_two_are_evenly_spread_and_crowded_ticks_are_left_out() {
        let axis = Axis::steps(&[1.0, 2.0, 4.0, 8.0], 0.0, 90.0, 10.0);
        assert_eq!([1.0, 2.0, 4.0, 8.0].map(|value| axis.at(value).round()), [0.0, 30.0, 60.0, 90.0]);
        assert_eq!(texts(&Axis::steps(&[1.0, 63.0, 64.0], 0.0, 90.0, 10.0)), ["1", "63"]);
    }

    #[test]
    fn what_has_no_place_is_put_at_an_end_and_a_single_value_in_the_middle() {
        let axis = Axis::amounts(&[1.0, 1000.0], 0.0, 90.0);
        assert_eq!([f64::NAN, f64::INFINITY, 0.0, -1.0].map(|value| axis.at(value)), [0.0, 90.0, 0.0, 0.0]);
        assert_eq!(Axis::steps(&[4.0], 0.0, 90.0, 10.0).at(4.0), 45.0);
        assert_eq!(Axis::steps(&[], 0.0, 90.0, 10.0).at(4.0), 45.0);
    }
}
