//! Renders pages for people: SVG charts, tables and the page around them, as text.
//!
//! The charts are ours because a page has to work without scripts and external files, so that it can be kept, mailed and
//! printed; that takes a few hundred lines and no dependency.
//!
//! All functions are pure. This crate does not know what the numbers mean.
#![forbid(unsafe_code)]

mod axis;
mod bar_chart;
mod html;
mod line_chart;
mod svg;

pub use bar_chart::{Bar, BarChart, Segment};
pub use html::{
    DataTable, NOT_AVAILABLE, escape_html, format_gibibytes, format_mebibytes, format_number, html_page, html_section,
    key_value_table,
};
pub use line_chart::{LineChart, Series, XScale};
