//! Pages for people: SVG charts, tables and the page around them, as text. No scripts, nothing fetched, so that a page can be
//! kept, mailed and printed. Pure functions; nothing here knows what the figures are about.
//!
//! | file | responsibility |
//! |---|---|
//! | `page.rs`, `page.css` | the page and its colours, light and dark |
//! | `html.rs` | escaped text, tables |
//! | `number.rs` | figures as text |
//! | `axis.rs` | values to positions, ticks |
//! | `lines.rs` | line charts |
//! | `bars.rs` | stacked horizontal bars |
//! | `legend.rs` | which colour, shape and dash is which |
#![forbid(unsafe_code)]

mod axis;
mod bars;
mod html;
mod legend;
mod lines;
mod number;
mod page;

pub use bars::{Bar, Bars, Segment};
pub use html::{Grid, escaped, facts, figures};
pub use lines::{Lines, Series, Steps};
pub use number::{UNKNOWN, gibibytes, mebibytes, number};
pub use page::{page, section};

/// Width of every chart in its own units; the page scales it.
const WIDTH: f64 = 480.0;

/// Whether a chart can show `value`. What is larger than this was not measured.
fn is_drawable(value: f64) -> bool {
    (0.0..1e12).contains(&value)
}

/// A chart `height` units high, named for those who do not see it.
fn svg(height: f64, label: &str, content: &str) -> String {
    let label = escaped(label);
    format!(
        "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{label}\">\n\
         <title>{label}</title>\n{content}</svg>\n"
    )
}

/// A series' marker around (x, y). Shapes change when colours repeat, and between neighbours.
fn marker(series: usize, x: f64, y: f64) -> String {
    let path = match series % 4 {
        0 => "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
        1 => "m-3.6 -3.6h7.2v7.2h-7.2z",
        2 => "m0 -5l4.8 8.4h-9.6z",
        _ => "m0 -5.2l5.2 5.2l-5.2 5.2l-5.2 -5.2z",
    };
    format!("M{x:.1} {y:.1}{path}")
}
