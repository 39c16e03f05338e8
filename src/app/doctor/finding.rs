//! What a check found, and how all findings are printed.

use std::fmt::Write as _;

use model_import::import::terminal_line;
use serde::Serialize;

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing to do.
    Ok,
    /// The server starts, but slower, less safely or not as intended.
    Warning,
    /// The server does not start or cannot work.
    Problem,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the check.
    pub check: &'static str,
    /// How serious it is.
    pub state: State,
    /// What was found.
    pub detail: String,
    /// Command or setting that fixes it; absent if the state is [`State::Ok`].
    pub fix: Option<String>,
}

/// The results of all checks.
#[derive(Debug)]
pub struct DoctorReport(Vec<Finding>);

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

impl Finding {
    pub(super) fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, state: State::Ok, detail: detail.into(), fix: None }
    }

    pub(super) fn warning(check: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, state: State::Warning, detail: detail.into(), fix: Some(fix.into()) }
    }

    pub(super) fn problem(check: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, state: State::Problem, detail: detail.into(), fix: Some(fix.into()) }
    }
}

impl DoctorReport {
    pub(super) fn new(findings: Vec<Finding>) -> Self {
        Self(findings)
    }

    /// Returns the number of problems.
    pub fn problems(&self) -> usize {
        self.count(State::Problem)
    }

    fn count(&self, state: State) -> usize {
        self.0.iter().filter(|finding| finding.state == state).count()
    }

    /// Returns one aligned line for each finding, followed by a line with its fix, and a summary.
    pub fn text(&self) -> String {
        let width = self.0.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
        let mut text = String::new();
        // Names of files and devices must not control the terminal, nor break the lines.
        for Finding { check, state, detail, fix } in &self.0 {
            let _ = writeln!(text, "{:<7}  {check:<width$}  {}", state.as_str(), terminal_line(detail));
            if let Some(fix) = fix {
                let _ = writeln!(text, "{:<7}  {:<width$}  fix: {}", "", "", terminal_line(fix));
            }
        }
        let (problems, warnings) = (self.problems(), self.count(State::Warning));
        let _ = writeln!(text, "\nproblems: {problems}, warnings: {warnings}");
        text
    }

    /// Returns the findings as a JSON array.
    pub fn json(&self) -> String {
        let array = serde_json::to_string_pretty(&self.0).expect("texts can be written as JSON");
        array + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> DoctorReport {
        DoctorReport::new(vec![
            Finding::ok("cpu", "8 cores"),
            Finding::warning("open files", "the limit\nis \u{1b}[2J1024", "ulimit -n 4352"),
            Finding::problem("port", "in use", "--listen 127.0.0.1:8081"),
        ])
    }

    #[test]
    fn text_is_aligned_and_names_each_fix() {
        let text = report().text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "ok       cpu         8 cores");
        assert_eq!(lines[1], "warning  open files  the limit is \u{fffd}[2J1024");
        assert_eq!(lines[2], "                     fix: ulimit -n 4352");
        assert_eq!(lines[3], "problem  port        in use");
        assert_eq!(lines[6], "problems: 1, warnings: 1");
        assert_eq!(report().problems(), 1);
    }

    #[test]
    fn json_is_an_array_with_a_fix_for_each_finding_that_is_not_ok() {
        let parsed: serde_json::Value = serde_json::from_str(&report().json()).unwrap();
        assert_eq!(parsed[0], serde_json::json!({"check": "cpu", "state": "ok", "detail": "8 cores", "fix": null}));
        assert_eq!((&parsed[1]["state"], &parsed[2]["fix"]), (&"warning".into(), &"--listen 127.0.0.1:8081".into()));
    }
}
