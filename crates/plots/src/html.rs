//! The HTML of a page: the frame with its style, sections, tables, escaped text and formatted numbers.

use std::fmt::Write as _;

/// The style sheet of every page; light and dark.
const STYLE: &str = include_str!("page.css");

/// A table of numbers. The first column is text, the other columns are numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct DataTable {
    /// Describes the rows.
    pub caption: String,
    /// One heading per column, with its unit.
    pub headings: &'static [&'static str],
    /// Each row has one cell per heading.
    pub rows: Vec<Vec<String>>,
}

/// Escapes `text` for the content of an element or for a quoted attribute.
pub fn escape_html(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// Renders a table of names and values.
pub fn key_value_table(caption: &str, entries: &[(&str, String)]) -> String {
    let mut table = format!("<table class=\"facts\"><caption>{}</caption><tbody>\n", escape_html(caption));
    for (name, value) in entries {
        let _ = writeln!(table, "<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escape_html(name), escape_html(value));
    }
    table + "</tbody></table>\n"
}

/// Renders a table of numbers. On a narrow screen the table scrolls separately from the page.
fn data_table(table: &DataTable) -> String {
    let caption = escape_html(&table.caption);
    let mut html = format!("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{caption}\"><table>");
    let _ = write!(html, "<caption>{caption}</caption>\n<thead><tr>");
    for heading in table.headings {
        let _ = write!(html, "<th scope=\"col\">{}</th>", escape_html(heading));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        let _ = write!(html, "<tr><th scope=\"row\">{}</th>", escape_html(&row[0]));
        for cell in &row[1..] {
            let _ = write!(html, "<td>{}</td>", escape_html(cell));
        }
        html.push_str("</tr>\n");
    }
    html + "</tbody></table></div>\n"
}

/// Renders a whole page. `title` is text and is escaped; `content` is HTML.
pub fn html_page(title: &str, content: &str) -> String {
    let title = escape_html(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n\
         {content}</main>\n</body>\n</html>\n"
    )
}

/// Renders a section: a heading, a sentence, charts, and the numbers of the charts as a table. `charts` is HTML.
/// If the table has no rows, returns an empty string.
pub fn html_section(title: &str, note: &str, charts: &str, table: &DataTable) -> String {
    if table.rows.is_empty() {
        return String::new();
    }
    let (title, note) = (escape_html(title), escape_html(note));
    let table = data_table(table);
    format!("<section>\n<h2>{title}</h2>\n<p>{note}</p>\n<div class=\"plots\">\n{charts}</div>\n{table}</section>\n")
}

/// The text for a number that is unknown or not finite.
pub const NOT_AVAILABLE: &str = "n/a";

/// Formats a number with three to four significant digits; scientific notation only below 0.001 and from 1e12 on.
pub fn format_number(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => NOT_AVAILABLE.to_string(),
        0.0 => "0".to_string(),
        size if !(1e-3..1e12).contains(&size) => format!("{value:.1e}"),
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Formats bytes as MiB, without the unit.
pub fn format_mebibytes(bytes: Option<u64>) -> String {
    bytes.map_or(NOT_AVAILABLE.to_string(), |bytes| format!("{:.0}", bytes as f64 / f64::from(1 << 20)))
}

/// Formats bytes as GiB, with the unit.
pub fn format_gibibytes(bytes: Option<u64>) -> String {
    bytes.map_or(NOT_AVAILABLE.to_string(), |bytes| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_characters_are_escaped() {
        assert_eq!(escape_html("<b a=\"1\" c='2'>&amp;"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;");
    }

    #[test]
    fn data_table_escapes_captions_headings_and_cells() {
        let rows = vec![vec!["a<b".to_string(), "1".to_string()]];
        let table = data_table(&DataTable { caption: "C&D".to_string(), headings: &["Device", "ms"], rows });
        assert!(table.contains("<caption>C&amp;D</caption>") && table.contains("<th scope=\"col\">ms</th>"));
        assert!(table.contains("<tr><th scope=\"row\">a&lt;b</th><td>1</td></tr>"));
    }

    #[test]
    fn numbers_keep_their_significant_digits() {
        let values = [12_345.6, 251.37, 9.876, 0.1234, 0.0, -3.5, 1e-9, 1e300, f64::NAN, f64::NEG_INFINITY];
        let texts = ["12346", "251.4", "9.88", "0.123", "0", "-3.50", "1.0e-9", "1.0e300", "n/a", "n/a"];
        assert_eq!(values.map(format_number), texts);
    }

    #[test]
    fn bytes_are_formatted_in_powers_of_two() {
        assert_eq!(format_mebibytes(Some(300 << 20)), "300");
        assert_eq!(format_gibibytes(Some(3 << 29)), "1.5 GiB");
        assert_eq!(format_mebibytes(None), "n/a");
    }
}
