//! Parses class names: one a line, a JSON list or map, or a Python list or dict as exporters write it into metadata.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use serde_json::Value;

/// Parses class names, one a line. Returns a clause about the first invalid line.
pub(super) fn lines(text: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> = text.lines().map(|line| line.trim().to_string()).collect();
    // Editors add empty lines at the end.
    let count = names.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
    for (index, name) in names[..count].iter().enumerate() {
        check(name).map_err(|reason| format!("line {} {reason}", index + 1))?;
    }
    Ok(names.into_iter().take(count).collect())
}

/// Parses a JSON list or map, a Python list or dict, a list with one name a line, or a list with commas. `None` if the text is
/// none of these.
pub(super) fn collection(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    let names = match serde_json::from_str::<Value>(text) {
        Ok(value) => json(&value)?,
        Err(_) if text.starts_with(['[', '{', '(']) => python(text)?,
        Err(_) if text.contains('\n') => return lines(text).ok().filter(|names| !names.is_empty()),
        Err(_) => text.split(',').map(|name| name.trim().to_string()).collect(),
    };
    (!names.is_empty() && names.iter().all(|name| check(name).is_ok())).then_some(names)
}

/// Returns the names in a JSON list, or in a map from the index, as in the `id2label` of Hugging Face.
pub(super) fn json(value: &Value) -> Option<Vec<String>> {
    let name = |value: &Value| match value {
        Value::String(name) => Some(name.trim().to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match value {
        Value::Array(all) => all.iter().map(name).collect(),
        Value::Object(all) => {
            let entries = all.iter().map(|(index, value)| Some((index.trim().parse().ok()?, name(value)?)));
            in_order(entries.collect::<Option<_>>()?)
        }
        _ => None,
    }
}

/// Returns the values of a map whose keys are 0, 1, 2 and so on.
fn in_order(entries: BTreeMap<usize, String>) -> Option<Vec<String>> {
    entries.into_iter().enumerate().map(|(index, (key, name))| (index == key).then_some(name)).collect()
}

fn check(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("is empty, but each line must name a class");
    }
    if name.chars().any(char::is_control) {
        return Err("has a control character, but each line must name a class");
    }
    Ok(())
}

/// Parses `['a', 'b']`, `('a', 'b')` or `{0: 'a', 1: 'b'}`.
fn python(text: &str) -> Option<Vec<String>> {
    let mut chars = text.chars().peekable();
    let open = chars.next()?;
    let close = match open {
        '[' => ']',
        '(' => ')',
        _ => '}',
    };
    let (mut list, mut map) = (Vec::new(), BTreeMap::new());
    loop {
        skip_space(&mut chars);
        if chars.next_if_eq(&close).is_some() {
            break;
        }
        if open == '{' {
            let key: usize = scalar(&mut chars)?.parse().ok()?;
            skip_space(&mut chars);
            chars.next_if_eq(&':')?;
            skip_space(&mut chars);
            map.insert(key, scalar(&mut chars)?);
        } else {
            list.push(scalar(&mut chars)?);
        }
        skip_space(&mut chars);
        if chars.next_if_eq(&',').is_none() && chars.peek() != Some(&close) {
            return None;
        }
    }
    skip_space(&mut chars);
    if chars.next().is_some() {
        return None;
    }
    if open == '{' { in_order(map) } else { Some(list) }
}

/// Parses a quoted text or a whole number.
fn scalar(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut text = String::new();
    let Some(quote) = chars.next_if(|c| matches!(c, '\'' | '"')) else {
        while let Some(digit) = chars.next_if(char::is_ascii_digit) {
            text.push(digit);
        }
        return (!text.is_empty()).then_some(text);
    };
    loop {
        match chars.next()? {
            '\\' => text.push(chars.next().filter(|c| matches!(c, '\\' | '\'' | '"'))?),
            c if c == quote => return Some(text.trim().to_string()),
            c => text.push(c),
        }
    }
}

fn skip_space(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_maps_of_json_and_python_are_names_in_index_order() {
        for text in [
            r#"["cat", "dog"]"#,
            r#"{"1": "dog", "0": "cat"}"#,
            "['cat', 'dog']",
            "('cat', \"dog\",)",
            "{0: 'cat', 1: 'dog'}",
            "{ 1 : 'dog' , 0 : 'cat' }",
            "cat, dog",
            "cat\ndog\n",
        ] {
            assert_eq!(collection(text).unwrap(), ["cat", "dog"], "{text}");
        }
        assert_eq!(collection(r"{0: 'collie\'s', 1: 'a, b'}").unwrap(), ["collie's", "a, b"]);
    }

    #[test]
    fn incomplete_or_damaged_collections_are_refused() {
        for text in ["", "{1: 'a'}", "{0: 'a', 2: 'b'}", "['a'", "['a' 'b']", "{0 'a'}", "{'a': 0}", "['a'] x", "[]"] {
            assert_eq!(collection(text), None, "{text}");
        }
        for text in ["{\"0\": null}", "[[\"a\"]]", "['\u{1b}[2J']", "7", "a,,b", r"['\x41']"] {
            assert_eq!(collection(text), None, "{text}");
        }
    }

    #[test]
    fn lines_must_each_name_a_class() {
        assert_eq!(lines("cat\r\n dog \n\n\n").unwrap(), ["cat", "dog"]);
        assert_eq!(lines("cat\n\ndog").unwrap_err(), "line 2 is empty, but each line must name a class");
        assert!(lines("cat\nd\u{7}g").unwrap_err().contains("line 2 has a control character"));
    }
}
