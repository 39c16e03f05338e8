//! Reads the JSON that `answers.py` writes.

/// A JSON value. A number stays text, so that it is rounded once, to the type that the reader asks for.
#[derive(Debug)]
pub(crate) enum Value<'a> {
    Null,
    Number(&'a str),
    Text(String),
    List(Vec<Value<'a>>),
    Object(Vec<(String, Value<'a>)>),
}

impl<'a> Value<'a> {
    /// Parses a document.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut rest = text;
        let value = value(&mut rest)?;
        rest.trim_ascii_start().is_empty().then_some(value)
    }

    /// Returns a member of an object.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Object(members) = self else { return None };
        members.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Returns the elements of a list.
    pub(crate) fn list(&self) -> Option<&[Self]> {
        if let Value::List(elements) = self { Some(elements) } else { None }
    }

    /// Returns a text.
    pub(crate) fn text(&self) -> Option<String> {
        if let Value::Text(text) = self { Some(text.clone()) } else { None }
    }

    /// Returns a number.
    pub(crate) fn number<T: std::str::FromStr>(&self) -> Option<T> {
        if let Value::Number(digits) = self { digits.parse().ok() } else { None }
    }
}

/// Takes a value off the front of `rest`.
fn value<'a>(rest: &mut &'a str) -> Option<Value<'a>> {
    *rest = rest.trim_ascii_start();
    match rest.as_bytes().first()? {
        b'{' => {
            let member = |rest: &mut &'a str| {
                *rest = rest.trim_ascii_start();
                let key = text(rest)?;
                take(rest, ':')?;
                Some((key, value(rest)?))
            };
            elements(rest, '{', '}', member).map(Value::Object)
        }
        b'[' => elements(rest, '[', ']', value).map(Value::List),
        b'"' => text(rest).map(Value::Text),
        b'n' => {
            *rest = rest.strip_prefix("null")?;
            Some(Value::Null)
        }
        _ => {
            let end = rest.find([',', ']', '}', '\n', ' ']).unwrap_or(rest.len());
            let (digits, tail) = rest.split_at(end);
            *rest = tail;
            digits.starts_with(|first: char| first == '-' || first.is_ascii_digit()).then_some(Value::Number(digits))
        }
    }
}

/// Takes elements between brackets, with commas between them.
fn elements<'a, T>(
    rest: &mut &'a str,
    open: char,
    close: char,
    mut element: impl FnMut(&mut &'a str) -> Option<T>,
) -> Option<Vec<T>> {
    take(rest, open)?;
    let mut all = Vec::new();
    if take(rest, close).is_some() {
        return Some(all);
    }
    loop {
        all.push(element(rest)?);
        if take(rest, close).is_some() {
            return Some(all);
        }
        take(rest, ',')?;
    }
}

/// Takes a character and the space before it.
fn take(rest: &mut &str, character: char) -> Option<()> {
    *rest = rest.trim_ascii_start().strip_prefix(character)?;
    Some(())
}

/// Takes a text. The names of tensors hold no character that JSON escapes but `\"`, `\\` and `\/`.
fn text(rest: &mut &str) -> Option<String> {
    let mut characters = rest.strip_prefix('"')?.chars();
    let mut text = String::new();
    loop {
        match characters.next()? {
            '"' => break,
            '\\' => text.push(characters.next().filter(|escaped| matches!(escaped, '"' | '\\' | '/'))?),
            character => text.push(character),
        }
    }
    *rest = characters.as_str();
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read() {
        let document = Value::parse("{\"a\": [1.5,-2e-05],\n \"b\": {\"c\\\"\": null}, \"d\": []}\n").unwrap();
        let numbers: Vec<f32> =
            document.get("a").unwrap().list().unwrap().iter().map(|value| value.number().unwrap()).collect();
        assert_eq!(numbers, [1.5, -2e-5]);
        assert!(matches!(document.get("b").unwrap().get("c\""), Some(Value::Null)));
        assert_eq!(document.get("d").unwrap().list().unwrap().len(), 0);
    }

    #[test]
    fn a_damaged_document_is_refused() {
        for text in ["", "{", "[1", "[1,]", "{\"a\"}", "nul", "[1] 2", "\"a"] {
            assert!(Value::parse(text).is_none(), "{text}");
        }
    }
}
