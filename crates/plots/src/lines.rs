//! Line charts: amounts over steps such as batch sizes, one line a series.

use std::fmt::Write as _;

use super::axis::Axis;
use super::html::escaped;
use super::number::number;
use super::{WIDTH, is_drawable, legend, marker, svg};

const HEIGHT: f64 = 290.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = WIDTH - 22.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = HEIGHT - 50.0;
/// Between two texts below the horizontal axis.
const GAP: f64 = 30.0;

/// A line: where it goes and how it looks.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Which colour and marker.
    pub look: usize,
    /// Dashed with hollow markers, or solid.
    pub dashed: bool,
    /// Step and amount; in any order. Those that cannot be drawn are left out.
    pub points: Vec<(f64, f64)>,
}

/// How the steps lie on their axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    /// Each has its tick; logarithmic where they double and double again, as batch sizes do.
    Given,
    /// From zero on, with round ticks.
    Even,
}

/// A line chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Lines<'a> {
    /// What it shows.
    pub title: &'a str,
    /// What the steps are.
    pub x: &'a str,
    /// What the amounts are, with their unit.
    pub y: &'a str,
    /// How they lie on their axis.
    pub steps: Steps,
    /// The lines.
    pub series: Vec<Series>,
}

impl Lines<'_> {
    /// The chart with its legend; nothing where no point can be drawn.
    pub fn html(&self) -> String {
        let lines: Vec<Vec<(f64, f64)>> = self.series.iter().map(drawable).collect();
        let (xs, ys): (Vec<f64>, Vec<f64>) = lines.iter().flatten().copied().unzip();
        if xs.is_empty() {
            return String::new();
        }
        let (left, right) = (LEFT + 16.0, RIGHT - 8.0);
        let x = match self.steps {
            Steps::Given => Axis::steps(&xs, left, right, GAP),
            Steps::Even => Axis::from_zero(&xs, left, right),
        };
        let y = Axis::amounts(&ys, BOTTOM, TOP);
        let mut content = self.frame(&x, &y);
        for (series, points) in self.series.iter().zip(&lines) {
            line(&mut content, series, points, &x, &y);
        }
        legend::of_lines(&self.series) + &svg(HEIGHT, self.title, &content)
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
        let _ = writeln!(text, "<text x=\"4\" y=\"15\">{}{}</text>", escaped(self.y), scale(y));
        let (middle, foot) = ((LEFT + RIGHT) / 2.0, HEIGHT - 8.0);
        let _ =
            writeln!(text, "<text class=\"middle\" x=\"{middle}\" y=\"{foot}\">{}{}</text>", escaped(self.x), scale(x));
        text
    }
}

/// The points that can be drawn, from left to right.
fn drawable(series: &Series) -> Vec<(f64, f64)> {
    let mut points = series.points.clone();
    points.retain(|(x, y)| is_drawable(*x) && is_drawable(*y));
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

fn line(text: &mut String, series: &Series, points: &[(f64, f64)], x: &Axis, y: &Axis) {
    let class = legend::line_class(series);
    let places: Vec<String> = points.iter().map(|(a, b)| format!("{:.1},{:.1}", x.at(*a), y.at(*b))).collect();
    let _ = writeln!(text, "<g class=\"{class}\"><polyline points=\"{}\"/>", places.join(" "));
    for (a, b) in points {
        let hint = format!("{}, {a}: {}", series.name, number(*b));
        let shape = marker(series.look, x.at(*a), y.at(*b));
        let _ = writeln!(text, "<path d=\"{shape}\"><title>{}</title></path>", escaped(&hint));
    }
    text.push_str("</g>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: &[(f64, f64)]) -> String {
        let series = Series { name: "a<b".to_string(), look: 0, dashed: false, points: points.to_vec() };
        Lines { title: "T", x: "x", y: "y", steps: Steps::Given, series: vec![series] }.html()
    }

    /// The corners of the first line of the plot; the legend has lines too.
    fn corners(html: &str) -> Vec<(f64, f64)> {
        let plot = html.split("<svg class=\"plot\"").nth(1).unwrap();
        let points = plot.split("<polyline points=\"").nth(1).unwrap().split('"').next().unwrap();
        let corner = |pair: &str| pair.split_once(',').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()));
        points.split_whitespace().filter_map(corner).collect()
    }

    #[test]
    fn a_rising_line_goes_right_and_up_within_the_frame() {
        let corners = corners(&chart(&[(8.0, 70.0), (1.0, 10.0), (2.0, 20.0), (4.0, 55.0)]));
        assert_eq!(corners.len(), 4);
        assert!(corners.is_sorted_by(|a, b| a.0 < b.0 && a.1 > b.1), "{corners:?}");
        assert!(corners.iter().all(|(x, y)| (LEFT..=RIGHT).contains(x) && (TOP..=BOTTOM).contains(y)));
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
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
