//! SVG parts that all charts share: the frame, markers and the legend. The legend is an HTML list, so it wraps on a narrow screen.

use std::fmt::Write as _;

use crate::html::escape_html;

/// Width of every chart in its own units; the page scales the chart.
pub const WIDTH: f64 = 480.0;

/// Number of line colours in the style sheet (`.c0` to `.c5`).
const LINE_COLOURS: usize = 6;
/// Number of bar colours in the style sheet (`.s0` to `.s5`).
const BAR_COLOURS: usize = 6;

/// Returns whether a chart can show `value`. Larger values are not measurements.
pub fn is_drawable(value: f64) -> bool {
    (0.0..1e12).contains(&value)
}

/// Renders a chart of `height` units. `label` is its accessible name.
pub fn svg(height: f64, label: &str, content: &str) -> String {
    let label = escape_html(label);
    format!(
        "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{label}\">\n\
         <title>{label}</title>\n{content}</svg>\n"
    )
}

/// Returns the path of a series' marker around (x, y). The shape changes from one style to the next, and where colours repeat.
pub fn marker(style: usize, x: f64, y: f64) -> String {
    let path = match style % 4 {
        0 => "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
        1 => "m-3.6 -3.6h7.2v7.2h-7.2z",
        2 => "m0 -5l4.8 8.4h-9.6z",
        _ => "m0 -5.2l5.2 5.2l-5.2 5.2l-5.2 -5.2z",
    };
    format!("M{x:.1} {y:.1}{path}")
}

/// Returns the CSS classes of a line.
pub fn line_class(style: usize, dashed: bool) -> String {
    let dashed = if dashed { " dashed" } else { "" };
    format!("line c{}{dashed}", style % LINE_COLOURS)
}

/// Returns the CSS class of a segment of a bar.
pub fn bar_class(style: usize) -> String {
    format!("s{}", style % BAR_COLOURS)
}

/// Renders the legend of a line chart from each line's name, style and dash.
pub fn line_legend<'a>(lines: impl Iterator<Item = (&'a str, usize, bool)>) -> String {
    legend(lines.map(|(name, style, dashed)| {
        let (class, shape) = (line_class(style, dashed), marker(style, 17.0, 7.0));
        let swatch = format!("<g class=\"{class}\"><polyline points=\"1,7 33,7\"/><path d=\"{shape}\"/></g>");
        (34, swatch, name)
    }))
}

/// Renders the legend of a bar chart from each segment's name and style.
pub fn bar_legend<'a>(segments: impl Iterator<Item = (&'a str, usize)>) -> String {
    legend(segments.map(|(name, style)| {
        let class = bar_class(style);
        (14, format!("<rect class=\"{class}\" y=\"1\" width=\"12\" height=\"12\"/>"), name)
    }))
}

/// Renders a list of swatches, each with its width and a name.
fn legend<'a>(entries: impl Iterator<Item = (u32, String, &'a str)>) -> String {
    let mut text = String::from("<ul class=\"legend\">");
    for (width, swatch, name) in entries {
        let _ = write!(text, "<li><svg width=\"{width}\" height=\"14\" aria-hidden=\"true\">{swatch}</svg>");
        let _ = write!(text, "{}</li>", escape_html(name));
    }
    text + "</ul>\n"
}
