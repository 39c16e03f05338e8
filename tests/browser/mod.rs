//! Headless Chromium over the WebDriver protocol (W3C), a handful of requests to `chromedriver`.
#![allow(dead_code, reason = "each test file uses a part")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{self, Server};

/// How long a page may take for one step.
const PATIENCE: Duration = Duration::from_secs(60);
/// The name under which WebDriver passes elements, fixed by its specification.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one page; dropping it ends it.
pub struct Browser {
    driver: Child,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// None where there is no browser, which is said; or a failure where there must be one.
    pub fn start() -> Option<Self> {
        let started = Self::started();
        if started.is_none() {
            common::skip("chromedriver (Debian: chromium, chromium-driver)");
        }
        started
    }

    fn started() -> Option<Self> {
        let mut driver = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).spawn().ok()?;
        let lines = BufReader::new(driver.stdout.take()?).lines().map_while(Result::ok);
        let port = lines
            .filter_map(|line| line.strip_suffix('.')?.rsplit_once("on port ").map(|(_, p)| p.to_string()))
            .next()?;
        let profile = tempfile::tempdir().ok()?;
        let arguments = [
            "--headless".to_string(),
            "--no-sandbox".to_string(),
            "--disable-gpu".to_string(),
            "--disable-dev-shm-usage".to_string(),
            "--no-first-run".to_string(),
            "--disable-background-networking".to_string(),
            "--disable-component-update".to_string(),
            "--disable-sync".to_string(),
            "--window-size=1280,2000".to_string(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let wanted = json!({
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"implicit": PATIENCE.as_millis() as u64},
        });
        let capabilities = json!({"capabilities": {"alwaysMatch": wanted}});
        let sessions = format!("http://127.0.0.1:{port}/session");
        let answer = Server::agent().post(&sessions).send_json(&capabilities).expect("chromedriver answers");
        let value: Value = common::read(Ok(answer)).json()["value"].clone();
        let id = value["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {value}"));
        Some(Self { driver, session: format!("{sessions}/{id}"), _profile: profile })
    }

    pub fn post(&self, command: &str, body: &Value) -> Value {
        let answer = Server::agent().post(format!("{}/{command}", self.session)).send_json(body);
        common::read(answer).json()["value"].clone()
    }

    fn get(&self, command: &str) -> Value {
        let answer = Server::agent().get(format!("{}/{command}", self.session)).call();
        common::read(answer).json()["value"].clone()
    }

    pub fn open(&self, address: &str) {
        let opened = self.post("url", &json!({"url": address}));
        assert!(opened.is_null(), "{opened}");
    }

    /// Waits for the element of an XPath, or panics with what the page shows.
    pub fn find(&self, xpath: &str) -> String {
        let found = self.post("element", &json!({"using": "xpath", "value": xpath}));
        let id = found[ELEMENT].as_str();
        id.unwrap_or_else(|| panic!("no {xpath} on the page: {}", self.text("//body"))).to_string()
    }

    pub fn click(&self, xpath: &str) {
        let begun = Instant::now();
        loop {
            let element = self.find(xpath);
            let answer = self.post(&format!("element/{element}/click"), &json!({}));
            if answer.is_null() {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "cannot click {xpath}: {answer}");
        }
    }

    pub fn type_into(&self, xpath: &str, text: &str) {
        let element = self.find(xpath);
        let answer = self.post(&format!("element/{element}/value"), &json!({"text": text}));
        assert!(answer.is_null(), "cannot type into {xpath}: {answer}");
    }

    /// Presses a key and lets it go, wherever the focus is; WebDriver has characters for those that are none.
    pub fn press(&self, key: &str) {
        let actions = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        let done = self.post("actions", &json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}));
        assert!(done.is_null(), "{done}");
    }

    pub fn text(&self, xpath: &str) -> String {
        let script = "return document.evaluate(arguments[0], document, null, 9, null).singleNodeValue?.innerText ?? ''";
        self.run(script, &[xpath])
    }

    pub fn run(&self, script: &str, arguments: &[&str]) -> String {
        self.evaluate(script, &json!(arguments)).as_str().unwrap_or_default().to_string()
    }

    /// What a script returns, or panics with what it throws.
    pub fn evaluate(&self, script: &str, arguments: &Value) -> Value {
        let answer = self.post("execute/sync", &json!({"script": script, "args": arguments}));
        assert!(answer["stacktrace"].is_null(), "{script}: {}", answer["message"]);
        answer
    }

    /// What assistive technology is told of an element: its role and its name.
    pub fn accessible(&self, element: &str) -> (String, String) {
        let told = |what| self.get(&format!("element/{element}/{what}")).as_str().unwrap_or_default().to_string();
        (told("computedrole"), told("computedlabel"))
    }

    /// The element that has the focus.
    pub fn focused(&self) -> String {
        self.get("element/active")[ELEMENT].as_str().expect("an element").to_string()
    }

    /// A command of the Chrome DevTools protocol.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        let answer = self.post("goog/cdp/execute", &json!({"cmd": command, "params": parameters}));
        assert!(answer["error"].is_null(), "{command}: {answer}");
        answer
    }

    /// Opens another tab and goes there.
    pub fn another_tab(&self) {
        let tab = self.post("window/new", &json!({"type": "tab"}));
        let there = self.post("window", &json!({"handle": tab["handle"]}));
        assert!(there.is_null(), "{there}");
    }

    /// What was written to the console since it was last asked, but for what only those who debug want to know.
    pub fn console(&self) -> Vec<String> {
        let entries = self.post("se/log", &json!({"type": "browser"}));
        let entries = entries.as_array().expect("entries of the console").iter();
        entries.filter(|entry| entry["level"] != "DEBUG").map(|entry| entry["message"].to_string()).collect()
    }

    /// What the browser has kept the page from since it was last asked, from its console.
    pub fn violations(&self) -> Vec<String> {
        let messages = self.console().into_iter();
        messages.filter(|message| message.contains("Content Security Policy")).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ending the session ends Chromium; the driver goes with it.
        let _ = Server::agent().delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
