//! The page around everything, and its sections.

use super::html::{Grid, escaped, figures};

const STYLE: &str = include_str!("page.css");

/// A whole page. `title` is text, `content` is HTML.
pub fn page(title: &str, content: &str) -> String {
    let title = escaped(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n\
         {content}</main>\n</body>\n</html>\n"
    )
}

/// A heading, a sentence, plots and the same numbers as a table; nothing where there are no numbers. `plots` is HTML.
pub fn section(title: &str, note: &str, plots: &str, grid: &Grid) -> String {
    if grid.rows.is_empty() {
        return String::new();
    }
    let (title, note) = (escaped(title), escaped(note));
    let table = figures(grid);
    format!("<section>\n<h2>{title}</h2>\n<p>{note}</p>\n<div class=\"plots\">\n{plots}</div>\n{table}</section>\n")
}
