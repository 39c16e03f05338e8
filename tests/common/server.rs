//! The real binary on a free port, and a client for it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::answer::{Answer, get, post, read};
use super::form::form_body;
use super::metrics;
use super::program::{KEY, kiln};

/// Longer than any start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A running server; dropping it kills it.
pub struct Server {
    process: Child,
    pub url: String,
    /// Lines that the server logs, JSON each, after the one that told the address.
    log: std::sync::Mutex<std::sync::mpsc::Receiver<String>>,
}

impl Server {
    /// Starts `kiln serve` with more arguments and waits until it is ready.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    /// The same with variables of the environment.
    pub fn start_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_unready_with(arguments, variables).ready()
    }

    fn ready(self) -> Self {
        let begun = Instant::now();
        while self.get("/health/ready").status != 200 {
            assert!(begun.elapsed() < PATIENCE, "the server does not become ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        self
    }

    /// Starts `kiln serve` and waits until it listens.
    pub fn start_unready(arguments: &[&str]) -> Self {
        Self::start_unready_with(arguments, &[])
    }

    /// Starts `kiln serve` as a process none of whose files may have more than so many KiB, and waits until it is ready.
    #[cfg(unix)]
    pub fn start_limited(arguments: &[&str], kibibytes: u32) -> Self {
        // Blocks of 512 bytes, as POSIX has it; and a write beyond is an error, not the end.
        let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", kibibytes * 2);
        let plain = kiln();
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).arg(plain.get_program()).stdin(Stdio::null());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Self::spawn(command, arguments).ready()
    }

    fn start_unready_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = kiln();
        command.envs(variables.iter().copied());
        Self::spawn(command, arguments)
    }

    fn spawn(mut command: Command, arguments: &[&str]) -> Self {
        let mut process = command
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr = BufReader::new(process.stderr.take().expect("stderr is piped"));
        let (lines, log) = std::sync::mpsc::channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        let address = loop {
            let line = log.recv_timeout(PATIENCE).expect("the server tells where it listens");
            let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not a JSON line: {line}"));
            if event["message"] == "listening" {
                break event["address"].as_str().expect("an address").to_string();
            }
        };
        Self { process, url: format!("http://{address}"), log: log.into() }
    }

    pub fn agent() -> ureq::Agent {
        let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0);
        config.timeout_global(Some(PATIENCE)).build().into()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[("X-API-Key", KEY)])
    }

    pub fn get_without_key(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    /// `GET` with these headers and no key but one among them.
    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        get(&format!("{}{path}", self.url), headers)
    }

    /// The sum of a metric's series that have all of these words.
    pub fn metric(&self, name: &str, words: &[&str]) -> f64 {
        let page = self.get("/metrics");
        assert_eq!(page.status, 200, "{}", page.text());
        metrics::sum(&page.text(), name, words)
    }

    /// `POST` of a body as it is, with these headers and no key but one among them.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        post(&format!("{}{path}", self.url), headers, body)
    }

    /// `POST` of one file in the field `file` of a form.
    pub fn predict(&self, path: &str, file_name: &str, bytes: &[u8]) -> Answer {
        self.form(path, &[("file", file_name, bytes)])
    }

    /// `POST` of a form with files.
    pub fn form(&self, path: &str, files: &[(&str, &str, &[u8])]) -> Answer {
        let (content_type, body) = form_body(files);
        self.post(path, &[("X-API-Key", KEY), ("Content-Type", content_type)], &body)
    }

    /// `POST` of the bytes alone, without a content type.
    pub fn raw(&self, path: &str, bytes: &[u8]) -> Answer {
        self.post(path, &[("X-API-Key", KEY)], bytes)
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends the signal of that name, without its `SIG`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.process.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for the end.
    pub fn wait(mut self) -> ExitStatus {
        self.process.wait().expect("the process can be waited for")
    }

    /// The log lines that are there by now.
    pub fn logged(&self) -> Vec<String> {
        self.log.lock().expect("no reader panicked").try_iter().collect()
    }

    /// Waits for a line of the log that holds these words, and gives back all until then.
    pub fn logged_until(&self, words: &str) -> Vec<String> {
        let log = self.log.lock().expect("no reader panicked");
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.contains(words)) {
            lines.push(log.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line with '{words}' in {lines:#?}")));
        }
        lines
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
