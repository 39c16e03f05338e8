//! Figures as text for people: a few digits, and never `NaN`.

/// What stands for a figure that is not known or not finite.
pub const UNKNOWN: &str = "n/a";

/// About four significant digits, never in scientific notation within what can be measured.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => UNKNOWN.to_string(),
        0.0 => "0".to_string(),
        size if !(1e-3..1e12).contains(&size) => format!("{value:.1e}"),
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Bytes in MiB.
pub fn mebibytes(bytes: Option<u64>) -> String {
    bytes.map_or(UNKNOWN.to_string(), |bytes| format!("{:.0}", bytes as f64 / f64::from(1 << 20)))
}

/// Bytes in GiB, with the unit.
pub fn gibibytes(bytes: Option<u64>) -> String {
    bytes.map_or(UNKNOWN.to_string(), |bytes| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_the_digits_that_matter() {
        let figures = [12_345.6, 251.37, 9.876, 0.1234, 0.0, -3.5, 1e-9, 1e300, f64::NAN, f64::NEG_INFINITY];
        let texts = ["12346", "251.4", "9.88", "0.123", "0", "-3.50", "1.0e-9", "1.0e300", "n/a", "n/a"];
        assert_eq!(figures.map(number), texts);
    }

    #[test]
    fn bytes_are_shown_in_powers_of_two() {
        assert_eq!(mebibytes(Some(300 << 20)), "300");
        assert_eq!(gibibytes(Some(3 << 29)), "1.5 GiB");
        assert_eq!(mebibytes(None), "n/a");
    }
}
