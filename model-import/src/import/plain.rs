//! Texts that come out of files, for a terminal: whoever wrote the file may have put words to the terminal into them.

/// The text without what a terminal would act on: control characters, and those that turn the direction of writing. Ends of
/// lines and tabs stay.
pub fn plain(text: &str) -> String {
    let is_seen = |c: char| {
        matches!(c, '\n' | '\t') || !(c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
    };
    text.chars().map(|c| if is_seen(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_told_nothing_by_a_text() {
        assert_eq!(plain("\u{1b}[2Jnet \u{9b}31m\u{202e}gpj\n\tgrün"), "\u{fffd}[2Jnet \u{fffd}31m\u{fffd}gpj\n\tgrün");
    }
}
