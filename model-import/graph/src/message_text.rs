//! Texts of a file in messages: on one line, without control characters, and of a limited length.

/// The maximum number of names in a message.
pub(crate) const MAX_NAMES: usize = 10;
/// The maximum length of a text of the file, in characters.
const MAX_TEXT: usize = 200;
/// The maximum length of a reason, in characters.
const MAX_REASON: usize = 1000;

/// Returns a text of a file for a message: its beginning, if it is long, on one line and without control characters.
pub fn shorten(text: &str) -> String {
    printable(text, MAX_TEXT)
}

/// A reason that may have numbers and texts of the file in it.
pub(crate) fn truncated(reason: impl AsRef<str>) -> String {
    printable(reason.as_ref(), MAX_REASON)
}

/// Names of the file for a message, each in quotes.
pub(crate) fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let others = names.len().saturating_sub(MAX_NAMES);
    let mut listed: Vec<String> = names.take(MAX_NAMES).map(|name| format!("'{}'", shorten(name))).collect();
    if others > 0 {
        listed.push(format!("{others} others"));
    }
    listed.join(", ")
}

/// The first characters of a text. A control character could forge a line of a log, or move the cursor of a terminal.
fn printable(text: &str, max: usize) -> String {
    let visible = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let mut shown: String = text.chars().take(max).map(visible).collect();
    if text.chars().nth(max).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_and_have_no_control_characters() {
        assert_eq!(shorten("a\u{1b}[2J\nb"), "a\u{fffd}[2J\u{fffd}b");
        assert_eq!(truncated("its mode is 'a\nkiln: ready'"), "its mode is 'a\u{fffd}kiln: ready'");
        assert_eq!(shorten(&"é".repeat(MAX_TEXT)), "é".repeat(MAX_TEXT));
        assert_eq!(shorten(&"é".repeat(MAX_TEXT + 1)), "é".repeat(MAX_TEXT) + "...");
    }

    #[test]
    fn listed_names_are_quoted_also_if_they_are_cut() {
        let long = "z".repeat(MAX_TEXT + 50);
        assert_eq!(listed(["a", &long].into_iter()), format!("'a', '{}...'", "z".repeat(MAX_TEXT)));
        assert!(listed(["a"; MAX_NAMES + 2].into_iter()).ends_with("'a', 2 others"));
    }
}
