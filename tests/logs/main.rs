//! What the real binary logs: who is answered, what repeats, in which files; and what no line ever has.
#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;
mod forged;
mod secrets;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::{Answer, KEY, Server, get, kiln, read};
use serde_json::Value;

/// A server whose standard error is a file, in a folder that may have more.
struct Logging {
    process: Child,
    folder: tempfile::TempDir,
    address: String,
}

impl Logging {
    /// Starts it and waits until it listens, which has to be logged.
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

    fn until<T>(&mut self, happened: impl Fn(&mut Self) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(told) = happened(self) {
                return told;
            }
            assert!(begun.elapsed() < Duration::from_secs(300), "it did not happen: {}", self.stderr());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn request(&self, method: &str, path: &str, key: &str) -> Answer {
        let builder = ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        read(Server::agent().run(builder.header("X-API-Key", key).body(()).unwrap()))
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

    /// Ends it and gives its folder, and what it has said on standard error.
    fn end(mut self) -> (tempfile::TempDir, String) {
        assert!(std::process::Command::new("kill").arg(self.process.id().to_string()).status().unwrap().success());
        assert!(self.process.wait().unwrap().success());
        let stderr = self.stderr();
        (std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap()), stderr)
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn events(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn the_access_log_has_a_target_of_its_own_and_says_why_a_request_failed() {
    for (level, access, others) in [
        ("info", true, true),
        ("info,kiln::access=off", false, true),
        ("off,kiln::app=info,kiln::access=info", true, false),
    ] {
        let server = Logging::start("json", level, &[]).ready();
        let answer = server.request("GET", "/models", KEY);
        assert_eq!(server.request("GET", "/models", "a-wrong-key").code(), "key_invalid");
        assert_eq!(server.request("GET", "/nowhere?key=secret", KEY).code(), "not_found");
        let lines = events(&server.end().1);
        let of = |target: &str| lines.iter().filter(|line| line["target"] == target).collect::<Vec<_>>();
        assert_eq!(!of("kiln_runtime::shutdown").is_empty(), others, "{level}: {lines:#?}");
        let answered = of("kiln::access");
        assert_eq!(answered.len(), if access { 3 } else { 0 }, "{level}: {answered:#?}");
        if let [ok, wrong, nowhere] = &answered[..] {
            let said = |key: &str| (&ok["span"][key], &ok[key]);
            assert_eq!(said("id").0.as_str(), answer.header("x-request-id"));
            assert_eq!((said("method").0, said("path").0), (&"GET".into(), &"/models".into()));
            assert_eq!((said("status").1, said("outcome").1), (&200.into(), &"ok".into()));
            assert_eq!((said("operation").1, said("key").1), (&"list_models".into(), &"default".into()));
            assert!(said("took_ms").1.as_f64().is_some_and(|took| took > 0.0), "{ok}");
            assert!(ok["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{ok}");
            assert_eq!((&wrong["status"], &wrong["outcome"]), (&401.into(), &"key_invalid".into()));
            assert_eq!((&nowhere["status"], &nowhere["outcome"]), (&404.into(), &"not_found".into()));
            assert_eq!(nowhere["span"]["path"], "/nowhere", "the query is nobody's business");
        }
    }
}

#[test]
fn a_warning_that_repeats_is_held_back_and_told_at_the_end_and_requests_are_not() {
    let keys = tempfile::NamedTempFile::new().unwrap();
    let server = Logging::start("json", "info", &["--keys", keys.path().to_str().unwrap()]);
    std::fs::write(keys.path(), "no keys").unwrap();
    for _ in 0..40 {
        assert_eq!(server.request("POST", "/keys/reload", KEY).code(), "key_file_refused");
    }
    let lines = events(&server.end().1);
    let sum = |pick: &dyn Fn(&Value) -> u64| lines.iter().map(pick).sum::<u64>();
    let warned = sum(&|line| u64::from(line["message"] == "the last keys stay in use"));
    let held = sum(&|line| match line["like"] == "the last keys stay in use" {
        true => line["lines"].as_u64().unwrap(),
        false => 0,
    });
    // On a slow machine there may be two windows; the watched file warns once more.
    assert!((5..=12).contains(&warned), "{warned}");
    assert!((40..=41).contains(&(warned + held)), "{warned} and {held}");
    assert_eq!(sum(&|line| u64::from(line["target"] == "kiln::access")), 40);
}

#[test]
fn files_are_bounded_in_size_and_number() {
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
    let (_folder, stderr) = server.end();
    let kept = files();
    assert_eq!(kept.len(), 3, "{kept:?}");
    let (today, mut text) = (events(&stderr)[0]["timestamp"].as_str().unwrap()[..10].to_string(), String::new());
    for name in &kept {
        let part = std::fs::read_to_string(folder.join(name)).unwrap();
        assert!(part.len() <= 64 << 10, "{name} has {} bytes", part.len());
        // Unless the day has changed meanwhile.
        assert!(name.starts_with(&format!("app.log.{today}")) || !stderr.lines().last().unwrap().contains(&today));
        text += &part;
    }
    assert!(text.contains("number-1499") && !text.contains("number-0\""), "the oldest went, the latest stayed");
    assert!(events(&stderr).len() >= 1500);
}
