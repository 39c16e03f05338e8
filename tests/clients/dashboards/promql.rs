//! The metrics and selectors in a PromQL expression.

/// Returns name and selector of each series in an expression, such as `up` and `up{job="kiln"}`. It finds only names with the
/// prefixes of Kiln, names of rules (with a colon), and `up` and `ALERTS`.
pub fn selectors(expression: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '"' => quoted_length(rest),
            _ if is_word(c) => {
                let name = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
                let braces = braced_length(&rest[name.len()..]);
                if is_known_name(name) {
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

fn is_known_name(name: &str) -> bool {
    let prefixed = ["kiln_", "nv_inference_", "process_"].iter().any(|prefix| name.starts_with(prefix));
    prefixed || name.contains(':') || matches!(name, "up" | "ALERTS")
}

/// Returns the length of the quoted string at the start of `text`.
fn quoted_length(text: &str) -> usize {
    text[1..].find('"').map_or(text.len(), |end| end + 2)
}

/// Returns the length of the braces at the start of `text`, or 0.
fn braced_length(text: &str) -> usize {
    if !text.starts_with('{') {
        return 0;
    }
    let mut at = 1;
    while at < text.len() && !text[at..].starts_with('}') {
        at += if text[at..].starts_with('"') { quoted_length(&text[at..]) } else { 1 };
    }
    (at + 1).min(text.len())
}

/// Returns the name of a metric without the suffix of a histogram series.
pub fn family(name: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// Returns the alternatives `a|b|c` in the matchers of a label.
pub fn label_values<'a>(selector: &'a str, label: &str) -> Vec<&'a str> {
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
fn selectors_are_found_in_nested_expressions() {
    let expression =
        "sum by (kiln) (rate(kiln_a_total{b=\"}\", c=~\"kiln_no\"}[5m])) / on () x:y:z > process_b * 1e9 or vector(0)";
    let found = selectors(expression);
    let found: Vec<(&str, &str)> = found.iter().map(|(name, selector)| (name.as_str(), selector.as_str())).collect();
    let a = ("kiln_a_total", "kiln_a_total{b=\"}\", c=~\"kiln_no\"}");
    assert_eq!(found, [a, ("x:y:z", "x:y:z"), ("process_b", "process_b")]);
    assert_eq!(label_values(a.1, "c"), ["kiln_no"]);
}
