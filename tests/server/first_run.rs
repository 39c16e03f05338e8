//! The first start on a terminal: the server prints a command that sends an image. `script` provides the terminal.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::common::{data, has, kiln, until};

/// A server whose standard error is a terminal; dropping it closes the terminal, which ends the server.
struct TerminalServer {
    script: Child,
    output: BufReader<ChildStdout>,
}

impl TerminalServer {
    /// Runs `kiln` without a command and without a configured key in `folder`.
    fn start(folder: &Path) -> Self {
        let plain = kiln();
        let binary = plain.get_program().to_str().unwrap();
        let command = format!("'{binary}' --listen 127.0.0.1:0 --device cpu --log-file app.log");
        let mut script = Command::new("script");
        script.args(["-qefc", &command, "/dev/null"]).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        let mut script = script.env_remove("KILN_API_KEY").spawn().unwrap();
        let output = BufReader::new(script.stdout.take().unwrap());
        Self { script, output }
    }

    /// Reads lines until one begins with `start`, and returns the rest of that line.
    fn line(&mut self, start: &str) -> String {
        let mut seen = String::new();
        loop {
            let begin = seen.len();
            assert!(self.output.read_line(&mut seen).unwrap() > 0, "no line '{start}' in {seen}");
            if let Some(rest) = seen[begin..].trim().strip_prefix(start) {
                return rest.trim().to_string();
            }
        }
    }
}

impl Drop for TerminalServer {
    fn drop(&mut self) {
        // The process may have exited already.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

/// Returns the content of the log files in a folder.
fn log(folder: &Path) -> String {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_log = |path: &std::path::PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("app.log");
    files.filter(is_log).map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn server_on_a_terminal_prints_a_command_that_works_and_keeps_the_key_out_of_the_log() {
    if !has("script") || !has("curl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(data("photos/cat_451x300.jpg"), folder.path().join("photo.jpg")).unwrap();
    let mut server = TerminalServer::start(folder.path());
    assert!(server.line("address").ends_with("/docs)"));
    let key = server.line("key").split('=').nth(1).unwrap().split(' ').next().unwrap().to_string();
    let command = server.line("try");
    let output = Command::new("sh").args(["-c", &command]).current_dir(folder.path()).output().unwrap();
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && answer.contains("\"predictions\""), "{command}: {answer}");
    let logged = || log(folder.path());
    until("the access log", Duration::from_secs(60), || logged().contains("/predict/raw"), logged);
    assert!(key.starts_with("kiln_") && !logged().contains(&key), "{key}: {}", logged());
}
