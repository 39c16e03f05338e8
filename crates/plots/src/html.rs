//! Pieces of HTML: escaped text and tables.

use std::fmt::Write as _;

/// A caption, the columns' headings, and rows. The first column is text, the others are figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// What the rows are.
    pub caption: String,
    /// A heading for each column, with its unit.
    pub headings: &'static [&'static str],
    /// As many cells a row as there are headings.
    pub rows: Vec<Vec<String>>,
}

/// `text` for an element's content or a quoted attribute.
pub fn escaped(text: &str) -> String {
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

/// A table of names and values.
pub fn facts(caption: &str, facts: &[(&str, String)]) -> String {
    let mut table = format!("<table class=\"facts\"><caption>{}</caption><tbody>\n", escaped(caption));
    for (name, value) in facts {
        let _ = writeln!(table, "<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escaped(name), escaped(value));
    }
    table + "</tbody></table>\n"
}

/// A table of figures that scrolls by itself where the screen is narrow.
pub fn figures(grid: &Grid) -> String {
    let caption = escaped(&grid.caption);
    let mut table = format!("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{caption}\"><table>");
    let _ = write!(table, "<caption>{caption}</caption>\n<thead><tr>");
    for heading in grid.headings {
        let _ = write!(table, "<th scope=\"col\">{}</th>", escaped(heading));
    }
    table.push_str("</tr></thead>\n<tbody>\n");
    for row in &grid.rows {
        let _ = write!(table, "<tr><th scope=\"row\">{}</th>", escaped(&row[0]));
        for cell in &row[1..] {
            let _ = write!(table, "<td>{}</td>", escaped(cell));
        }
        table.push_str("</tr>\n");
    }
    table + "</tbody></table></div>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup() {
        assert_eq!(escaped("<b a=\"1\" c='2'>&amp;"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;");
    }

    #[test]
    fn a_table_names_its_columns_and_rows() {
        let rows = vec![vec!["a<b".to_string(), "1".to_string()]];
        let table = figures(&Grid { caption: "C&D".to_string(), headings: &["Device", "ms"], rows });
        assert!(table.contains("<caption>C&amp;D</caption>") && table.contains("<th scope=\"col\">ms</th>"));
        assert!(table.contains("<tr><th scope=\"row\">a&lt;b</th><td>1</td></tr>"));
    }
}
