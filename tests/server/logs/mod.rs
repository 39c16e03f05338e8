//! The log: the access log, repeated warnings, file rotation; and what must never be logged.

mod log_injection;
mod secrets;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Answer, KEY, agent, get, kiln, read};
use serde_json::Value;

/// A server whose standard error goes to a file, in a folder for further log files.
struct Logging {
    process: Child,
    folder: tempfile::TempDir,
    address: String,
}

impl Logging {
    /// Starts a server and waits until it logs that it listens.
    fn start(format: &str, level: &str, more: &[&str]) -> Self {
        Self::start_with(format, level, more, &[])
    }

    fn start_with(format: &str, level: &str, more: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stderr = std::fs::File::create(folder.path().join("stderr")).unwrap();
        let process = kiln()
            .current_dir(folder.path())
            .args(["serve", "--listen", "127.0.0.1:0", "--device", "cpu", "--log-format", format, "--log-level", level])
            .args(more)
            .envs(variables.iter().copied())
            .stderr(Stdio::from(stderr))
            .spawn()
            .unwrap();
        let mut server = Self { process, folder, address: String::new() };
        server.until(|server| {
            let log = server.stderr();
            let line = log.lines().find(|line| line.contains("listening"))?;
            let address = line.split("127.0.0.1:").nth(1)?;
            server.address = format!("127.0.0.1:{}", address.split(|c: char| !c.is_ascii_digit()).next()?);
            Some(())
        });
        server
    }

    /// Polls until `poll` returns a value, and returns that value.
    fn until<T>(&mut self, poll: impl Fn(&mut Self) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(value) = poll(self) {
                return value;
            }
            assert!(started.elapsed() < Duration::from_secs(300), "timed out: {}", self.stderr());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn request(&self, method: &str, path: &str, key: &str) -> Answer {
        let builder = ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        read(agent().run(builder.header("X-API-Key", key).body(()).unwrap()))
    }

    fn ready(self) -> Self {
        let mut server = self;
        server.until(|server| (server.request("GET", "/health/ready", KEY).status == 200).then_some(()));
        server
    }

    fn stderr(&self) -> String {
        let bytes = std::fs::read(self.folder.path().join("stderr")).unwrap();
        String::from_utf8(bytes).expect("the log is UTF-8")
    }

    /// Stops the server. Returns its folder and its standard error.
    fn stop(mut self) -> (tempfile::TempDir, String) {
        assert!(std::process::Command::new("kill").arg(self.process.id().to_string()).status().unwrap().success());
        assert!(self.process.wait().unwrap().success());
        let stderr = self.stderr();
        (std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap()), stderr)
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        // The process may have exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn events(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn access_log_has_its_own_target_and_the_outcome_of_each_request() {
    for (level, access, others) in [
        ("info", true, true),
        ("info,kiln::access=off", false, true),
        ("off,kiln::app=info,kiln::access=info", true, false),
    ] {
        let server = Logging::start("json", level, &[]).ready();
        let answer = server.request("GET", "/models", KEY);
        assert_eq!(server.request("GET", "/models", "a-wrong-key").code(), "key_invalid");
        assert_eq!(server.request("GET", "/nowhere?key=secret", KEY).code(), "not_found");
        let lines = events(&server.stop().1);
        let with_target = |target: &str| lines.iter().filter(|line| line["target"] == target).collect::<Vec<_>>();
        assert_eq!(!with_target("kiln_runtime::shutdown").is_empty(), others, "{level}: {lines:#?}");
        let answered = with_target("kiln::access");
        assert_eq!(answered.len(), if access { 3 } else { 0 }, "{level}: {answered:#?}");
        if let [ok, wrong, nowhere] = &answered[..] {
            let field = |key: &str| (&ok["span"][key], &ok[key]);
            assert_eq!(field("id").0.as_str(), answer.header("x-request-id"));
            assert_eq!((field("method").0, field("path").0), (&"GET".into(), &"/models".into()));
            assert_eq!((field("status").1, field("outcome").1), (&200.into(), &"ok".into()));
            assert_eq!((field("operation").1, field("key").1), (&"list_models".into(), &"default".into()));
            assert!(field("took_ms").1.as_f64().is_some_and(|took| took > 0.0), "{ok}");
            assert!(ok["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{ok}");
            assert_eq!((&wrong["status"], &wrong["outcome"]), (&401.into(), &"key_invalid".into()));
            assert_eq!((&nowhere["status"], &nowhere["outcome"]), (&404.into(), &"not_found".into()));
            assert_eq!(nowhere["span"]["path"], "/nowhere", "the query was logged");
        }
    }
}

#[test]
fn repeated_warnings_are_suppressed_and_counted_but_requests_are_all_logged() {
    let keys = tempfile::NamedTempFile::new().unwrap();
    let server = Logging::start("json", "info", &["--keys", keys.path().to_str().unwrap()]);
    std::fs::write(keys.path(), "no keys").unwrap();
    for _ in 0..40 {
        assert_eq!(server.request("POST", "/keys/reload", KEY).code(), "key_file_refused");
    }
    let lines = events(&server.stop().1);
    let sum = |pick: &dyn Fn(&Value) -> u64| lines.iter().map(pick).sum::<u64>();
    let warned = sum(&|line| u64::from(line["message"] == "cannot reload the key file; the previous keys stay in use"));
    let suppressed = sum(&|line| match line["like"] == "cannot reload the key file; the previous keys stay in use" {
        true => line["lines"].as_u64().unwrap(),
        false => 0,
    });
    // A slow machine may need two windows. The file watcher logs one more warning.
    assert!((5..=12).contains(&warned), "{warned}");
    assert!((40..=41).contains(&(warned + suppressed)), "{warned} and {suppressed}");
    assert_eq!(sum(&|line| u64::from(line["target"] == "kiln::access")), 40);
}

#[test]
fn log_files_are_bounded_in_size_and_number() {
    let flags = ["--log-file", "app.log", "--log-max-files", "3", "--log-file-max-bytes", "64KiB"];
    let server = Logging::start("json", "info", &flags).ready();
    let folder = server.folder.path().to_path_buf();
    let files = || {
        let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("app.log.")).collect::<Vec<_>>()
    };
    assert_eq!(files().len(), 1);
    for number in 0..1500 {
        let headers = [("X-API-Key", KEY), ("X-Request-Id", &format!("number-{number}"))];
        assert_eq!(get(&format!("http://{}/models", server.address), &headers).status, 200);
    }
    let (_folder, stderr) = server.stop();
    let remaining = files();
    assert_eq!(remaining.len(), 3, "{remaining:?}");
    let (today, mut text) = (events(&stderr)[0]["timestamp"].as_str().unwrap()[..10].to_string(), String::new());
    for name in &remaining {
        let part = std::fs::read_to_string(folder.join(name)).unwrap();
        assert!(part.len() <= 64 << 10, "{name} has {} bytes", part.len());
        // The name has the date, unless the day changed during the test.
        assert!(name.starts_with(&format!("app.log.{today}")) || !stderr.lines().last().unwrap().contains(&today));
        text += &part;
    }
    assert!(
        text.contains("number-1499") && !text.contains("number-0\""),
        "the newest lines must remain and the oldest must be deleted"
    );
    assert!(events(&stderr).len() >= 1500);
}
