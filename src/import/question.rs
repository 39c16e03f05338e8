//! Questions on a terminal, one a line, each with the answer that Enter stands for. Nobody can be asked elsewhere.

use std::io::{BufRead, Write};

/// Somebody who can be asked, or nobody.
pub struct Asker<'a> {
    terminal: Option<(&'a mut dyn BufRead, &'a mut dyn Write)>,
}

impl<'a> Asker<'a> {
    /// Somebody who reads what is written to the one and writes what is read from the other.
    pub fn terminal(input: &'a mut dyn BufRead, output: &'a mut dyn Write) -> Self {
        Self { terminal: Some((input, output)) }
    }

    /// Nobody.
    pub fn nobody() -> Self {
        Self { terminal: None }
    }

    /// Asks until `read` takes the answer. An empty one means `default`, if there is one.
    ///
    /// # Errors
    ///
    /// Nobody answers: nothing was asked, or the input has ended.
    pub(super) fn ask<T>(
        &mut self,
        question: &str,
        default: Option<&str>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, NoAnswer> {
        let (input, output) = self.terminal.as_mut().ok_or(NoAnswer)?;
        let default_shown = default.map(|text| format!(" [{text}]")).unwrap_or_default();
        loop {
            let _ = write!(output, "{question}{default_shown}: ").and_then(|()| output.flush());
            let mut line = String::new();
            if !matches!(input.read_line(&mut line), Ok(1..)) {
                return Err(NoAnswer);
            }
            let answer = match (line.trim(), default) {
                ("", Some(default)) => default,
                (answer, _) => answer,
            };
            match read(answer) {
                Ok(value) => return Ok(value),
                Err(reason) => {
                    let _ = writeln!(output, "  {reason}.");
                }
            }
        }
    }
}

/// Nobody answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoAnswer;
