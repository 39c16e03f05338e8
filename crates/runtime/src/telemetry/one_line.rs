//! One event is one line, whatever a client has put into it.
//!
//! `tracing-subscriber` quotes strings, but of what is logged by `Display` (errors above all) it lets line feeds and
//! marks of direction through. What is escaped here reads the same in text and in JSON.

use std::borrow::Cow;
use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

/// Writes lines without control characters. Each call must bring a whole line, as `fmt::Layer` does.
#[derive(Clone, Debug)]
pub(super) struct OneLine<W>(pub(super) W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(&escaped(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<'a, W: Write + Clone + 'a> MakeWriter<'a> for OneLine<W> {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn escaped(line: &[u8]) -> Cow<'_, [u8]> {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    // Most lines are plain ASCII, for which a look at the bytes is enough.
    if text.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len() + 16);
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_unseen(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('\n');
    Cow::Owned(out.into_bytes())
}

/// Characters that end lines, move the cursor or turn the direction of what follows.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        let mut out = OneLine(Vec::new());
        out.write_all(text.as_bytes()).unwrap();
        String::from_utf8(out.0).unwrap()
    }

    #[test]
    fn what_people_write_is_left_alone() {
        for text in ["plain \"quoted\" \\n\n", "naïve Grüße 猫\n"] {
            assert_eq!(line(text), text);
        }
    }

    #[test]
    fn nothing_ends_a_line_or_commands_a_terminal() {
        let attack = "a\nb\r\tc\u{1b}[2J\u{9b}2J\u{7f}\u{85}\u{2028}\u{202e}d\0\n";
        let escaped = r"a\nb\r\tc\u001b[2J\u009b2J\u007f\u0085\u2028\u202ed\u0000";
        assert_eq!(line(attack), format!("{escaped}\n"));
        let json: String = serde_json::from_str(&format!("\"{escaped}\"")).unwrap();
        assert_eq!(format!("{json}\n"), attack, "in JSON it still says what was sent");
    }
}
