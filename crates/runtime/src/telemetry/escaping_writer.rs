//! Escapes control characters in log lines, so that every event is exactly one line, whatever input it contains.
//!
//! `tracing-subscriber` quotes strings, but writes line feeds and bidirectional marks of `Display` values (mostly errors)
//! unchanged. The escapes are the same in text and in JSON.

use std::borrow::Cow;
use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

/// Writes lines without control characters. Each call to `write` must contain a whole line, as `fmt::Layer` does it.
#[derive(Clone, Debug)]
pub(super) struct EscapingWriter<W>(pub(super) W);

impl<W: Write> Write for EscapingWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(&escape(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<'a, W: Write + Clone + 'a> MakeWriter<'a> for EscapingWriter<W> {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn escape(line: &[u8]) -> Cow<'_, [u8]> {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    // Fast path: most lines are printable ASCII.
    if text.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len() + 16);
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_control_or_bidi(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('\n');
    Cow::Owned(out.into_bytes())
}

/// Returns whether a character may end a line, move the cursor or change the writing direction, so that text looks like other
/// text.
pub fn is_control_or_bidi(c: char) -> bool {
    let is_line_end = matches!(c, '\u{2028}' | '\u{2029}');
    // Bidi_Control of Unicode's PropList.txt.
    let is_bidi = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || is_line_end || is_bidi
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        let mut out = EscapingWriter(Vec::new());
        out.write_all(text.as_bytes()).unwrap();
        String::from_utf8(out.0).unwrap()
    }

    #[test]
    fn printable_text_is_unchanged() {
        for text in ["plain \"quoted\" \\n\n", "naïve Grüße 猫\n"] {
            assert_eq!(line(text), text);
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        let attack = "a\nb\r\tc\u{1b}[2J\u{9b}2J\u{7f}\u{85}\u{2028}\u{202e}d\0\n";
        let escaped = r"a\nb\r\tc\u001b[2J\u009b2J\u007f\u0085\u2028\u202ed\u0000";
        assert_eq!(line(attack), format!("{escaped}\n"));
        let json: String = serde_json::from_str(&format!("\"{escaped}\"")).unwrap();
        assert_eq!(format!("{json}\n"), attack, "the escapes are valid in JSON");
    }
}
