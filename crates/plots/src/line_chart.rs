//! Line charts: amounts over steps such as batch sizes, one line per series.

use std::fmt::Write as _;

use crate::axis::Axis;
use crate::html::{escape_html, format_number};
use crate::svg::{WIDTH, is_drawable, line_class, line_legend, marker, svg};

const HEIGHT: f64 = 290.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = WIDTH - 22.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = HEIGHT - 50.0;
/// Minimum distance of two texts below the horizontal axis.
const TICK_GAP: f64 = 30.0;

/// One line of a line chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Index of its colour and marker.
    pub style: usize,
    /// Whether the line is dashed and has hollow markers.
    pub dashed: bool,
    /// Pairs of step and amount, in any order. A point that cannot be drawn is left out.
    pub points: Vec<(f64, f64)>,
}

/// The scale of the horizontal axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XScale {
    /// A tick per step; logarithmic if the largest step is at least four times the smallest, as with batch sizes.
    Steps,
    /// Linear from zero, with round ticks.
    FromZero,
}

/// A line chart.
#[derive(Clone, Debug, PartialEq)]
pub struct LineChart<'a> {
    /// The chart's title, which is its accessible name.
    pub title: &'a str,
    /// Label of the horizontal axis.
    pub x: &'a str,
    /// Label of the vertical axis, with its unit.
    pub y: &'a str,
    /// Scale of the horizontal axis.
    pub x_scale: XScale,
    /// The lines.
    pub series: Vec<Series>,
}

impl LineChart<'_> {
    /// Renders the chart with its legend. If no point can be drawn, returns an empty string.
    pub fn html(&self) -> String {
        let lines: Vec<Vec<(f64, f64)>> = self.series.iter().map(drawable_points).collect();
        let (xs, ys): (Vec<f64>, Vec<f64>) = lines.iter().flatten().copied().unzip();
        if xs.is_empty() {
            return String::new();
        }
        let (left, right) = (LEFT + 16.0, RIGHT - 8.0);
        let x = match self.x_scale {
            XScale::Steps => Axis::with_ticks_at(&xs, left, right, TICK_GAP),
            XScale::FromZero => Axis::from_zero(&xs, left, right),
        };
        let y = Axis::linear_or_logarithmic(&ys, BOTTOM, TOP);
        let mut content = self.frame(&x, &y);
        for (series, points) in self.series.iter().zip(&lines) {
            draw_line(&mut content, series, points, &x, &y);
        }
        let lines = self.series.iter().map(|series| (series.name.as_str(), series.style, series.dashed));
        line_legend(lines) + &svg(HEIGHT, self.title, &content)
    }

    fn frame(&self, x: &Axis, y: &Axis) -> String {
        let mut text = String::new();
        for (at, tick) in y.ticks() {
            let _ = writeln!(text, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{RIGHT}\"/>");
            let _ = writeln!(text, "<text class=\"end\" x=\"{}\" y=\"{:.1}\">{tick}</text>", LEFT - 7.0, at + 4.0);
        }
        for (at, tick) in x.ticks() {
            let _ = writeln!(text, "<path class=\"axis\" d=\"M{at:.1} {BOTTOM}v5\"/>");
            let _ = writeln!(text, "<text class=\"middle\" x=\"{at:.1}\" y=\"{}\">{tick}</text>", BOTTOM + 20.0);
        }
        let _ = writeln!(text, "<path class=\"axis\" d=\"M{LEFT} {BOTTOM}H{RIGHT}\"/>");
        let scale = |axis: &Axis| if axis.is_logarithmic() { ", logarithmic" } else { "" };
        let _ = writeln!(text, "<text x=\"4\" y=\"15\">{}{}</text>", escape_html(self.y), scale(y));
        let (middle, foot) = ((LEFT + RIGHT) / 2.0, HEIGHT - 8.0);
        let _ = writeln!(
            text,
            "<text class=\"middle\" x=\"{middle}\" y=\"{foot}\">{}{}</text>",
            escape_html(self.x),
            scale(x)
        );
        text
    }
}

/// Returns the points that can be drawn, from left to right.
fn drawable_points(series: &Series) -> Vec<(f64, f64)> {
    let mut points = series.points.clone();
    points.retain(|(x, y)| is_drawable(*x) && is_drawable(*y));
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

fn draw_line(text: &mut String, series: &Series, points: &[(f64, f64)], x: &Axis, y: &Axis) {
    let class = line_class(series.style, series.dashed);
    let corners: Vec<String> =
        points.iter().map(|(a, b)| format!("{:.1},{:.1}", x.position(*a), y.position(*b))).collect();
    let _ = writeln!(text, "<g class=\"{class}\"><polyline points=\"{}\"/>", corners.join(" "));
    for (a, b) in points {
        let hint = format!("{}, {a}: {}", series.name, format_number(*b));
        let shape = marker(series.style, x.position(*a), y.position(*b));
        let _ = writeln!(text, "<path d=\"{shape}\"><title>{}</title></path>", escape_html(&hint));
    }
    text.push_str("</g>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: &[(f64, f64)]) -> String {
        let series = Series { name: "a<b".to_string(), style: 0, dashed: false, points: points.to_vec() };
        LineChart { title: "T", x: "x", y: "y", x_scale: XScale::Steps, series: vec![series] }.html()
    }

    /// Returns the corners of the first line of the plot. The legend, which also has lines, is skipped.
    fn corners(html: &str) -> Vec<(f64, f64)> {
        let plot = html.split("<svg class=\"plot\"").nth(1).unwrap();
        let points = plot.split("<polyline points=\"").nth(1).unwrap().split('"').next().unwrap();
        let corner = |pair: &str| pair.split_once(',').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()));
        points.split_whitespace().filter_map(corner).collect()
    }

    #[test]
    fn rising_values_are_drawn_right_and_up_within_the_frame() {
        let corners = corners(&chart(&[(8.0, 70.0), (1.0, 10.0), (2.0, 20.0), (4.0, 55.0)]));
        assert_eq!(corners.len(), 4);
        assert!(corners.is_sorted_by(|a, b| a.0 < b.0 && a.1 > b.1), "{corners:?}");
        assert!(corners.iter().all(|(x, y)| (LEFT..=RIGHT).contains(x) && (TOP..=BOTTOM).contains(y)));
    }

    #[test]
    fn undrawable_points_are_left_out() {
        let html = chart(&[(1.0, f64::NAN), (2.0, f64::INFINITY), (4.0, -1.0), (8.0, 3.0)]);
        assert_eq!(corners(&html).len(), 1);
        assert!(!html.contains("NaN") && !html.contains("inf"), "{html}");
        assert_eq!(chart(&[(1.0, f64::NAN)]), "");
    }

    #[test]
    fn names_are_escaped() {
        let html = chart(&[(1.0, 2.0)]);
        assert!(html.contains("a&lt;b, 1: 2.00") && !html.contains("a<b"), "{html}");
    }
}
