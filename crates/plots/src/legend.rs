//! Which colour, shape and dash is which. Lists of HTML, so that they wrap where the screen is narrow.

use std::fmt::Write as _;

use super::html::escaped;
use super::{Segment, Series, marker};

/// Colours that the page has for series (`.c0` and on).
const SERIES_COLOURS: usize = 6;
/// Colours that the page has for segments (`.s0` and on).
const SEGMENT_COLOURS: usize = 6;

/// The classes of a series.
pub fn line_class(series: &Series) -> String {
    let dashed = if series.dashed { " dashed" } else { "" };
    format!("line c{}{dashed}", series.look % SERIES_COLOURS)
}

/// The class of a segment.
pub fn segment_class(segment: Segment) -> String {
    format!("s{}", segment.look % SEGMENT_COLOURS)
}

/// The names of lines.
pub fn of_lines(series: &[Series]) -> String {
    list(series.iter().map(|series| {
        let (class, shape) = (line_class(series), marker(series.look, 17.0, 7.0));
        let swatch = format!("<g class=\"{class}\"><polyline points=\"1,7 33,7\"/><path d=\"{shape}\"/></g>");
        (34, swatch, series.name.as_str())
    }))
}

/// The names of segments.
pub fn of_segments(segments: &[Segment]) -> String {
    list(segments.iter().map(|segment| {
        let class = segment_class(*segment);
        (14, format!("<rect class=\"{class}\" y=\"1\" width=\"12\" height=\"12\"/>"), segment.name)
    }))
}

/// Swatches, each with its width and a name.
fn list<'a>(entries: impl Iterator<Item = (u32, String, &'a str)>) -> String {
    let mut text = String::from("<ul class=\"legend\">");
    for (width, swatch, name) in entries {
        let _ = write!(text, "<li><svg width=\"{width}\" height=\"14\" aria-hidden=\"true\">{swatch}</svg>");
        let _ = write!(text, "{}</li>", escaped(name));
    }
    text + "</ul>\n"
}
