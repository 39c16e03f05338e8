//! Stacked horizontal bars: what a whole is made of, one bar a row.

use std::fmt::Write as _;

use super::axis::Axis;
use super::html::escaped;
use super::number::number;
use super::{WIDTH, is_drawable, legend, svg};

/// Room for the names: so much, and for each of their characters so much more.
const MARGIN: f64 = 14.0;
const CHARACTER: f64 = 7.0;
/// Leaves room for the sum behind the longest bar.
const RIGHT: f64 = WIDTH - 72.0;
const TOP: f64 = 6.0;
const ROW: f64 = 30.0;
const THICK: f64 = 20.0;

/// A part that every bar has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    /// Its name in the legend.
    pub name: &'static str,
    /// Which colour.
    pub look: usize,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Its name before the bar.
    pub name: String,
    /// An amount for each segment; those that cannot be drawn are left out.
    pub amounts: Vec<f64>,
}

/// A chart of stacked bars.
#[derive(Clone, Debug, PartialEq)]
pub struct Bars<'a> {
    /// What it shows.
    pub title: &'a str,
    /// What the amounts are.
    pub x: &'a str,
    /// Their unit, if they have one.
    pub unit: &'a str,
    /// The parts, in the order in which they are stacked.
    pub segments: &'a [Segment],
    /// Whether they are whole numbers.
    pub counts: bool,
    /// How many characters of a row's name stand before its bar.
    pub names: usize,
    /// The rows, from top to bottom.
    pub bars: Vec<Bar>,
}

impl Bars<'_> {
    /// The chart with its legend; nothing where there are no bars.
    pub fn html(&self) -> String {
        if self.bars.is_empty() {
            return String::new();
        }
        let foot = TOP + ROW * self.bars.len() as f64;
        let sums: Vec<f64> = self.bars.iter().map(|bar| drawable(bar).sum()).collect();
        let left = self.left();
        let axis = Axis::from_zero(&sums, left, RIGHT);
        let mut content = String::new();
        for (at, tick) in axis.ticks() {
            let _ = writeln!(content, "<path class=\"grid\" d=\"M{at:.1} {TOP}V{foot}\"/>");
            let _ = writeln!(content, "<text class=\"middle\" x=\"{at:.1}\" y=\"{}\">{tick}</text>", foot + 16.0);
        }
        for (index, (bar, sum)) in self.bars.iter().zip(&sums).enumerate() {
            self.row(&mut content, bar, *sum, TOP + ROW * index as f64 + (ROW - THICK) / 2.0, &axis);
        }
        let _ = writeln!(content, "<path class=\"axis\" d=\"M{left} {TOP}V{foot}\"/>");
        let (middle, below) = ((left + RIGHT) / 2.0, foot + 36.0);
        let label = if self.unit.is_empty() { self.x.to_string() } else { format!("{}, {}", self.x, self.unit) };
        let _ = writeln!(content, "<text class=\"middle\" x=\"{middle}\" y=\"{below}\">{}</text>", escaped(&label));
        legend::of_segments(self.segments) + &svg(foot + 44.0, self.title, &content)
    }

    /// Where the bars begin.
    fn left(&self) -> f64 {
        MARGIN + CHARACTER * self.names as f64
    }

    /// An amount with its unit.
    fn figure(&self, amount: f64) -> String {
        let figure = if self.counts { format!("{amount:.0}") } else { number(amount) };
        if self.unit.is_empty() { figure } else { format!("{figure} {}", self.unit) }
    }

    fn row(&self, text: &mut String, bar: &Bar, sum: f64, top: f64, axis: &Axis) {
        let line = top + THICK / 2.0 + 4.0;
        let _ = writeln!(
            text,
            "<text class=\"end\" x=\"{}\" y=\"{line}\">{}</text>",
            self.left() - 7.0,
            escaped(&short(&bar.name, self.names))
        );
        let mut from = 0.0;
        for (segment, amount) in self.segments.iter().zip(drawable(bar)) {
            let (left, right) = (axis.at(from), axis.at(from + amount));
            from += amount;
            let hint = escaped(&format!("{}, {}: {}", bar.name, segment.name, self.figure(amount)));
            let _ = writeln!(
                text,
                "<rect class=\"{}\" x=\"{left:.2}\" y=\"{top}\" width=\"{:.2}\" height=\"{THICK}\">\
                 <title>{hint}</title></rect>",
                legend::segment_class(*segment),
                right - left,
            );
        }
        let (behind, figure) = (axis.at(sum) + 6.0, escaped(&self.figure(sum)));
        let _ = writeln!(text, "<text x=\"{behind:.1}\" y=\"{line}\">{figure}</text>");
    }
}

/// The amounts of a bar, zero in place of what cannot be drawn.
fn drawable(bar: &Bar) -> impl Iterator<Item = f64> {
    bar.amounts.iter().map(|amount| if is_drawable(*amount) { *amount } else { 0.0 })
}

/// A name that fits before its bar.
fn short(name: &str, most: usize) -> String {
    if name.chars().count() <= most { name.to_string() } else { name.chars().take(most - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(amounts: &[f64]) -> String {
        let segments = [Segment { name: "one", look: 0 }, Segment { name: "two", look: 1 }];
        let bars = vec![Bar { name: "vulkan:0 <long>".to_string(), amounts: amounts.to_vec() }];
        Bars { title: "T", x: "time", unit: "ms", segments: &segments, counts: false, names: 10, bars }.html()
    }

    /// An attribute of every bar's segments; the legend has rectangles too.
    fn values(html: &str, name: &str) -> Vec<f64> {
        let rects = html.split("<svg class=\"plot\"").nth(1).unwrap().split("<rect ").skip(1);
        let value = |rect: &str| rect.split(&format!(" {name}=\"")).nth(1)?.split('"').next()?.parse().ok();
        rects.filter_map(value).collect()
    }

    #[test]
    fn segments_follow_each_other_and_are_as_long_as_their_amounts() {
        let html = chart(&[30.0, 10.0]);
        let (starts, widths) = (values(&html, "x"), values(&html, "width"));
        assert_eq!(starts[0], 84.0);
        assert!((starts[0] + widths[0] - starts[1]).abs() < 0.02, "{starts:?} {widths:?}");
        assert!((widths[0] / widths[1] - 3.0).abs() < 0.01);
        assert!(html.contains(">40.0 ms</text>"), "{html}");
    }

    #[test]
    fn counts_are_whole_and_may_be_of_nothing_in_particular() {
        let segments = [Segment { name: "one", look: 0 }];
        let html = |unit| {
            let bars = vec![Bar { name: "pair".to_string(), amounts: vec![4.0] }];
            Bars { title: "T", x: "how often", unit, segments: &segments, counts: true, names: 10, bars }.html()
        };
        assert!(html("times").contains(">4 times</text>"), "{}", html("times"));
        assert!(html("").contains(">4</text>") && html("").contains("pair, one: 4<"), "{}", html(""));
    }

    #[test]
    fn amounts_that_cannot_be_drawn_take_no_room() {
        let html = chart(&[f64::NAN, -1.0]);
        assert_eq!(values(&html, "width"), [0.0, 0.0]);
        assert!(!html.contains("NaN"), "{html}");
    }

    #[test]
    fn long_names_are_cut_and_escaped() {
        let html = chart(&[1.0, 1.0]);
        assert!(html.contains(">vulkan:0 …</text>") && html.contains("&lt;long&gt;, one: 1.00 ms"), "{html}");
    }
}
