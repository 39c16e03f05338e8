//! The real server as a process on a free port.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::command::{KEY, kiln};
use super::http::{Answer, form_body, get, post, sum_metric};

/// Longer than any start takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A running server process; dropping it kills the process.
pub struct Server {
    process: Child,
    pub url: String,
    /// Log lines in JSON, after the line with the address.
    log: Mutex<Receiver<String>>,
}

impl Server {
    /// Starts `kiln serve` with more arguments and waits until it is ready.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    /// Like [`Server::start`], with environment variables.
    pub fn start_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = kiln();
        command.envs(variables.iter().copied());
        Self::spawn(command, arguments).ready()
    }

    /// Starts `kiln serve` and waits until it listens.
    pub fn start_unready(arguments: &[&str]) -> Self {
        Self::spawn(kiln(), arguments)
    }

    /// Starts `kiln serve` with a limit on the size of each file that it writes, and waits until it is ready.
    #[cfg(unix)]
    pub fn start_limited(arguments: &[&str], kibibytes: u32) -> Self {
        // `ulimit -f` counts blocks of 512 bytes (POSIX). With the signal ignored, a write beyond the limit is an error.
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

    fn spawn(mut command: Command, arguments: &[&str]) -> Self {
        let mut process = command
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr = BufReader::new(process.stderr.take().expect("stderr is piped"));
        let (lines, log) = channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        let address = loop {
            let line = log.recv_timeout(TIMEOUT).expect("the server logs its address");
            let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not a JSON line: {line}"));
            if event["message"] == "listening" {
                break event["address"].as_str().expect("an address").to_string();
            }
        };
        Self { process, url: format!("http://{address}"), log: log.into() }
    }

    fn ready(self) -> Self {
        let started = Instant::now();
        while self.get("/health/ready").status != 200 {
            assert!(started.elapsed() < TIMEOUT, "the server does not become ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        self
    }

    /// Sends `GET` with the test key.
    pub fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[("X-API-Key", KEY)])
    }

    /// Sends `GET` without headers.
    pub fn get_without_key(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    /// Sends `GET` with exactly these headers.
    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        get(&format!("{}{path}", self.url), headers)
    }

    /// Sums the series of a metric that contain all of `labels`.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let page = self.get("/metrics");
        assert_eq!(page.status, 200, "{}", page.text());
        sum_metric(&page.text(), name, labels)
    }

    /// Sends `POST` with this body and exactly these headers.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        post(&format!("{}{path}", self.url), headers, body)
    }

    /// Sends `POST` with a form that has one file in its field `file`.
    pub fn predict(&self, path: &str, file_name: &str, bytes: &[u8]) -> Answer {
        self.form(path, &[("file", file_name, bytes)])
    }

    /// Sends `POST` with a form of files: field, file name and content of each.
    pub fn form(&self, path: &str, files: &[(&str, &str, &[u8])]) -> Answer {
        let (content_type, body) = form_body(files);
        self.post(path, &[("X-API-Key", KEY), ("Content-Type", content_type)], &body)
    }

    /// Sends `POST` with the test key and without a content type.
    pub fn raw(&self, path: &str, bytes: &[u8]) -> Answer {
        self.post(path, &[("X-API-Key", KEY)], bytes)
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.process.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits until the process exits.
    pub fn wait(mut self) -> ExitStatus {
        self.process.wait().expect("the process can be waited for")
    }

    /// Takes the log lines that have arrived.
    pub fn logged(&self) -> Vec<String> {
        self.log.lock().expect("no reader panicked").try_iter().collect()
    }

    /// Waits for a log line that contains `text`, and takes all lines up to and including it.
    pub fn logged_until(&self, text: &str) -> Vec<String> {
        let log = self.log.lock().expect("no reader panicked");
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.contains(text)) {
            lines.push(log.recv_timeout(TIMEOUT).unwrap_or_else(|_| panic!("no line with '{text}' in {lines:#?}")));
        }
        lines
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
