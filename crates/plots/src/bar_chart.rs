//! Bar charts: stacked horizontal bars, one per row, that show the parts of a total.

use std::fmt::Write as _;

use crate::axis::Axis;
use crate::html::{escape_html, format_number};
use crate::svg::{WIDTH, bar_class, bar_legend, is_drawable, svg};

/// The names of the rows take `MARGIN + CHARACTER * name_width` units.
const MARGIN: f64 = 14.0;
const CHARACTER: f64 = 7.0;
/// Leaves space for the sum after the longest bar.
const RIGHT: f64 = WIDTH - 72.0;
const TOP: f64 = 6.0;
const ROW: f64 = 30.0;
const THICKNESS: f64 = 20.0;

/// A part of every bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    /// Its name in the legend.
    pub name: &'static str,
    /// Index of its colour.
    pub style: usize,
}

/// One row of a bar chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Its name, shown before the bar.
    pub name: String,
    /// One amount per segment. An amount that cannot be drawn counts as zero.
    pub amounts: Vec<f64>,
}

/// A chart of stacked horizontal bars.
#[derive(Clone, Debug, PartialEq)]
pub struct BarChart<'a> {
    /// The chart's title, which is its accessible name.
    pub title: &'a str,
    /// Label of the horizontal axis: what the amounts are.
    pub x: &'a str,
    /// Unit of the amounts; empty if they have none.
    pub unit: &'a str,
    /// The parts of each bar, in stacking order.
    pub segments: &'a [Segment],
    /// Whether the amounts are whole numbers.
    pub whole_numbers: bool,
    /// Maximum number of characters of a row's name; longer names are cut.
    pub name_width: usize,
    /// The rows, from top to bottom.
    pub bars: Vec<Bar>,
}

impl BarChart<'_> {
    /// Renders the chart with its legend. If there are no bars, returns an empty string.
    pub fn html(&self) -> String {
        if self.bars.is_empty() {
            return String::new();
        }
        let foot = TOP + ROW * self.bars.len() as f64;
        let sums: Vec<f64> = self.bars.iter().map(|bar| drawable_amounts(bar).sum()).collect();
        let left = self.left();
        let axis = Axis::from_zero(&sums, left, RIGHT);
        let mut content = String::new();
        for (at, tick) in axis.ticks() {
            let _ = writeln!(content, "<path class=\"grid\" d=\"M{at:.1} {TOP}V{foot}\"/>");
            let _ = writeln!(content, "<text class=\"middle\" x=\"{at:.1}\" y=\"{}\">{tick}</text>", foot + 16.0);
        }
        for (index, (bar, sum)) in self.bars.iter().zip(&sums).enumerate() {
            self.row(&mut content, bar, *sum, TOP + ROW * index as f64 + (ROW - THICKNESS) / 2.0, &axis);
        }
        let _ = writeln!(content, "<path class=\"axis\" d=\"M{left} {TOP}V{foot}\"/>");
        let (middle, below) = ((left + RIGHT) / 2.0, foot + 36.0);
        let label = if self.unit.is_empty() { self.x.to_string() } else { format!("{}, {}", self.x, self.unit) };
        let _ = writeln!(content, "<text class=\"middle\" x=\"{middle}\" y=\"{below}\">{}</text>", escape_html(&label));
        let segments = self.segments.iter().map(|segment| (segment.name, segment.style));
        bar_legend(segments) + &svg(foot + 44.0, self.title, &content)
    }

    /// Returns the position where the bars begin.
    fn left(&self) -> f64 {
        MARGIN + CHARACTER * self.name_width as f64
    }

    /// Formats an amount with its unit.
    fn format_amount(&self, amount: f64) -> String {
        let text = if self.whole_numbers { format!("{amount:.0}") } else { format_number(amount) };
        if self.unit.is_empty() { text } else { format!("{text} {}", self.unit) }
    }

    fn row(&self, text: &mut String, bar: &Bar, sum: f64, top: f64, axis: &Axis) {
        let line = top + THICKNESS / 2.0 + 4.0;
        let _ = writeln!(
            text,
            "<text class=\"end\" x=\"{}\" y=\"{line}\">{}</text>",
            self.left() - 7.0,
            escape_html(&shorten(&bar.name, self.name_width))
        );
        let mut from = 0.0;
        for (segment, amount) in self.segments.iter().zip(drawable_amounts(bar)) {
            let (left, right) = (axis.position(from), axis.position(from + amount));
            from += amount;
            let hint = escape_html(&format!("{}, {}: {}", bar.name, segment.name, self.format_amount(amount)));
            let _ = writeln!(
                text,
                "<rect class=\"{}\" x=\"{left:.2}\" y=\"{top}\" width=\"{:.2}\" height=\"{THICKNESS}\">\
                 <title>{hint}</title></rect>",
                bar_class(segment.style),
                right - left,
            );
        }
        let (after, amount) = (axis.position(sum) + 6.0, escape_html(&self.format_amount(sum)));
        let _ = writeln!(text, "<text x=\"{after:.1}\" y=\"{line}\">{amount}</text>");
    }
}

/// Returns the amounts of a bar, with zero in place of those that cannot be drawn.
fn drawable_amounts(bar: &Bar) -> impl Iterator<Item = f64> {
    bar.amounts.iter().map(|amount| if is_drawable(*amount) { *amount } else { 0.0 })
}

/// Cuts a name to at most `max` characters.
fn shorten(name: &str, max: usize) -> String {
    if name.chars().count() <= max { name.to_string() } else { name.chars().take(max - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(amounts: &[f64]) -> String {
        let segments = [Segment { name: "one", style: 0 }, Segment { name: "two", style: 1 }];
        let bars = vec![Bar { name: "vulkan:0 <long>".to_string(), amounts: amounts.to_vec() }];
        BarChart { title: "T", x: "time", unit: "ms", segments: &segments, whole_numbers: false, name_width: 10, bars }
            .html()
    }

    /// Returns an attribute of every bar's segments. The legend, which also has rectangles, is skipped.
    fn attributes(html: &str, name: &str) -> Vec<f64> {
        let rects = html.split("<svg class=\"plot\"").nth(1).unwrap().split("<rect ").skip(1);
        let value = |rect: &str| rect.split(&format!(" {name}=\"")).nth(1)?.split('"').next()?.parse().ok();
        rects.filter_map(value).collect()
    }

    #[test]
    fn segments_are_adjacent_and_as_long_as_their_amounts() {
        let html = chart(&[30.0, 10.0]);
        let (starts, widths) = (attributes(&html, "x"), attributes(&html, "width"));
        assert_eq!(starts[0], 84.0);
        assert!((starts[0] + widths[0] - starts[1]).abs() < 0.02, "{starts:?} {widths:?}");
        assert!((widths[0] / widths[1] - 3.0).abs() < 0.01);
        assert!(html.contains(">40.0 ms</text>"), "{html}");
    }

    #[test]
    fn whole_numbers_have_no_decimals_and_the_unit_is_optional() {
        let segments = [Segment { name: "one", style: 0 }];
        let html = |unit| {
            let bars = vec![Bar { name: "pair".to_string(), amounts: vec![4.0] }];
            BarChart {
                title: "T",
                x: "how often",
                unit,
                segments: &segments,
                whole_numbers: true,
                name_width: 10,
                bars,
            }
            .html()
        };
        assert!(html("times").contains(">4 times</text>"), "{}", html("times"));
        assert!(html("").contains(">4</text>") && html("").contains("pair, one: 4<"), "{}", html(""));
    }

    #[test]
    fn undrawable_amounts_have_no_width() {
        let html = chart(&[f64::NAN, -1.0]);
        assert_eq!(attributes(&html, "width"), [0.0, 0.0]);
        assert!(!html.contains("NaN"), "{html}");
    }

    #[test]
    fn long_names_are_shortened_and_escaped() {
        let html = chart(&[1.0, 1.0]);
        assert!(html.contains(">vulkan:0 …</text>") && html.contains("&lt;long&gt;, one: 1.00 ms"), "{html}");
    }
}
