//! What end-to-end tests share: the real binary on a free port, and a client for it.
#![allow(dead_code, reason = "each test file uses a part")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The key that every test server is started with.
pub const KEY: &str = "kiln_test-key-of-the-end-to-end-tests";
/// Longer than any start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A running server; dropping it kills it.
pub struct Server {
    process: Child,
    pub url: String,
    /// Lines that the server logs, JSON each, after the one that told the address.
    log: std::sync::Mutex<std::sync::mpsc::Receiver<String>>,
}

/// An answer, its body already read.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The class id of the first prediction of a 200.
    pub fn top1(&self) -> u64 {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()["predictions"][0]["class_id"].as_u64().expect("a class id")
    }

    /// The `code` of an error, after checking the shape that every error has.
    pub fn code(&self) -> String {
        let body = self.json();
        assert!(body["error"].as_str().is_some_and(|text| text.len() > 10), "{body}");
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"), "{body}");
        body["code"].as_str().expect("a code").to_string()
    }
}

pub fn kiln() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    // The tests know this model's classes, whatever else was built in.
    command
        .env_remove("PORT")
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .env("KILN_API_KEY", KEY)
        .env("KILN_MODEL", "efficientnet-lite0")
        .stdin(Stdio::null());
    command
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
        read(Self::agent().get(format!("{}{path}", self.url)).header("X-API-Key", KEY).call())
    }

    pub fn get_without_key(&self, path: &str) -> Answer {
        read(Self::agent().get(format!("{}{path}", self.url)).call())
    }

    /// `POST` of one file in the field `file` of a form.
    pub fn predict(&self, path: &str, file_name: &str, bytes: &[u8]) -> Answer {
        self.form(path, &[("file", file_name, bytes)])
    }

    /// `POST` of a form with files.
    pub fn form(&self, path: &str, files: &[(&str, &str, &[u8])]) -> Answer {
        let (content_type, body) = form_body(files);
        let request = Self::agent().post(format!("{}{path}", self.url)).header("X-API-Key", KEY);
        read(request.header("Content-Type", content_type).send(&body[..]))
    }

    /// `POST` of the bytes alone, without a content type.
    pub fn raw(&self, path: &str, bytes: &[u8]) -> Answer {
        read(Self::agent().post(format!("{}{path}", self.url)).header("X-API-Key", KEY).send(bytes))
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
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

pub fn read(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut answer = answer.expect("the server answers");
    Answer {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        body: answer.body_mut().with_config().limit(64 << 20).read_to_vec().expect("the body arrives"),
    }
}

/// A multipart form by hand, so that a test can say exactly what it sends. An empty name means no file name.
pub fn form_body(files: &[(&str, &str, &[u8])]) -> (&'static str, Vec<u8>) {
    let mut body = Vec::new();
    for (field, name, bytes) in files {
        let file_name = if name.is_empty() { String::new() } else { format!("; filename=\"{name}\"") };
        body.extend_from_slice(
            format!("--kiln-test\r\nContent-Disposition: form-data; name=\"{field}\"{file_name}\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--kiln-test--\r\n");
    ("multipart/form-data; boundary=kiln-test", body)
}

/// The most that a process has had in memory, in MB, where the system tells.
pub fn most_memory(process: u32) -> Option<usize> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<usize>().ok().map(|kibibytes| kibibytes * 1024 / 1_000_000)
}

/// Whether there is a Vulkan adapter. A test without one is skipped, which is said, or fails where it must run.
pub fn has_vulkan() -> bool {
    use kiln::inference::adapters::{self, Api};
    let found = adapters::enumerate().iter().any(|adapter| adapter.api == Api::Vulkan);
    if !found {
        assert!(!must_run(), "no Vulkan adapter: install one, mesa-vulkan-drivers for instance");
        eprintln!("SKIPPED: this machine has no Vulkan adapter (mesa-vulkan-drivers provides one in software)");
    }
    found
}

pub fn data(file: &str) -> PathBuf {
    std::path::absolute(Path::new("tests/data").join(file)).expect("tests run in the project's folder")
}

pub fn bytes(file: &str) -> Vec<u8> {
    std::fs::read(data(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// True where the tests must not be skipped for want of a program or a driver.
pub fn must_run() -> bool {
    std::env::var_os("CI").is_some()
}
