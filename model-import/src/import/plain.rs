//! Texts that come out of files, for a terminal: whoever wrote the file may have put words to the terminal into them.

/// The text without what a terminal would act on: control characters, and those that end lines unseen or turn the direction of
/// writing. Ordinary ends of lines and tabs stay.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if is_unseen(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn is_unseen(c: char) -> bool {
    let is_line_end = matches!(c, '\u{2028}' | '\u{2029}');
    // Bidi_Control of Unicode's PropList.txt.
    let is_bidi = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() && !matches!(c, '\n' | '\t') || is_line_end || is_bidi
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_told_nothing_by_a_text() {
        assert_eq!(
            plain("\u{1b}[2Jnet \u{9b}31m\u{202e}gpj\u{2028}\u{200f}\n\tgrün"),
            "\u{fffd}[2Jnet \u{fffd}31m\u{fffd}gpj\u{fffd}\u{fffd}\n\tgrün"
        );
    }
}
