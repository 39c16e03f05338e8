//! What an expression asks for.

/// The series that an expression selects, such as `up` and `up{job="kiln"}`: name and selector. Only names that can be ours are
/// known: those with our prefixes, those of rules (with a colon), and two of Prometheus itself.
pub fn selectors(expression: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '"' => quoted(rest),
            _ if is_word(c) => {
                let name = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
                let braces = braced(&rest[name.len()..]);
                if is_ours(name) {
                    found.push((name.to_string(), rest[..name.len() + braces].to_string()));
                }
                name.len() + braces
            }
            _ => c.len_utf8(),
        };
        rest = &rest[length..];
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

fn is_ours(name: &str) -> bool {
    let prefixed = ["kiln_", "nv_inference_", "process_"].iter().any(|prefix| name.starts_with(prefix));
    prefixed || name.contains(':') || matches!(name, "up" | "ALERTS")
}

/// The length of the text in quotes that `text` begins with.
fn quoted(text: &str) -> usize {
    text[1..].find('"').map_or(text.len(), |end| end + 2)
}

/// The length of the braces that `text` begins with, or nothing.
fn braced(text: &str) -> usize {
    if !text.starts_with('{') {
        return 0;
    }
    let mut at = 1;
    while at < text.len() && !text[at..].starts_with('}') {
        at += if text[at..].starts_with('"') { quoted(&text[at..]) } else { 1 };
    }
    (at + 1).min(text.len())
}

/// A metric's own name: without what a histogram's series add.
pub fn family(name: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// The words that a matcher of this label accepts, of `a|b|c`.
pub fn words<'a>(selector: &'a str, label: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (at, _) in selector.match_indices(label) {
        let value = selector[at + label.len()..].trim_start_matches(['=', '~', '!']);
        if let Some(value) = value.strip_prefix('"') {
            found.extend(value[..value.find('"').unwrap_or(value.len())].split('|'));
        }
    }
    found
}

#[test]
fn selectors_are_found_in_every_shape() {
    let expression =
        "sum by (kiln) (rate(kiln_a_total{b=\"}\", c=~\"kiln_no\"}[5m])) / on () x:y:z > process_b * 1e9 or vector(0)";
    let found = selectors(expression);
    let found: Vec<(&str, &str)> = found.iter().map(|(name, selector)| (name.as_str(), selector.as_str())).collect();
    let a = ("kiln_a_total", "kiln_a_total{b=\"}\", c=~\"kiln_no\"}");
    assert_eq!(found, [a, ("x:y:z", "x:y:z"), ("process_b", "process_b")]);
    assert_eq!(words(a.1, "c"), ["kiln_no"]);
}
