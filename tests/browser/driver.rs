//! Headless Chromium over the WebDriver protocol (W3C), by requests to `chromedriver`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{self, agent};

/// The maximum time for one step on a page.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The member that identifies an element, fixed by the WebDriver specification.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one page; dropping it ends the browser.
pub struct Browser {
    driver: Child,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser. Without `chromedriver` it reports the test as skipped and returns `None`; in CI it panics.
    pub fn start() -> Option<Self> {
        let browser = Self::try_start();
        if browser.is_none() {
            common::skip("chromedriver (Debian: chromium, chromium-driver)");
        }
        browser
    }

    fn try_start() -> Option<Self> {
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
        let options = json!({
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"implicit": TIMEOUT.as_millis() as u64},
        });
        let capabilities = json!({"capabilities": {"alwaysMatch": options}});
        let sessions = format!("http://127.0.0.1:{port}/session");
        let answer = agent().post(&sessions).send_json(&capabilities).expect("chromedriver responds");
        let value: Value = common::read(Ok(answer)).json()["value"].clone();
        let id = value["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {value}"));
        Some(Self { driver, session: format!("{sessions}/{id}"), _profile: profile })
    }

    /// Sends a WebDriver command and returns its value.
    pub fn post(&self, command: &str, body: &Value) -> Value {
        let answer = agent().post(format!("{}/{command}", self.session)).send_json(body);
        common::read(answer).json()["value"].clone()
    }

    fn get(&self, command: &str) -> Value {
        let answer = agent().get(format!("{}/{command}", self.session)).call();
        common::read(answer).json()["value"].clone()
    }

    /// Opens an address.
    pub fn open(&self, address: &str) {
        let opened = self.post("url", &json!({"url": address}));
        assert!(opened.is_null(), "{opened}");
    }

    /// Waits for the element of an XPath. Panics with the text of the page if it does not appear.
    pub fn find(&self, xpath: &str) -> String {
        let found = self.post("element", &json!({"using": "xpath", "value": xpath}));
        let id = found[ELEMENT].as_str();
        id.unwrap_or_else(|| panic!("no {xpath} on the page: {}", self.text("//body"))).to_string()
    }

    /// Clicks an element as soon as it can be clicked.
    pub fn click(&self, xpath: &str) {
        let started = Instant::now();
        loop {
            let element = self.find(xpath);
            let answer = self.post(&format!("element/{element}/click"), &json!({}));
            if answer.is_null() {
                return;
            }
            assert!(started.elapsed() < TIMEOUT, "cannot click {xpath}: {answer}");
        }
    }

    pub fn type_into(&self, xpath: &str, text: &str) {
        let element = self.find(xpath);
        let answer = self.post(&format!("element/{element}/value"), &json!({"text": text}));
        assert!(answer.is_null(), "cannot type into {xpath}: {answer}");
    }

    /// Presses and releases a key at the focus. WebDriver has characters for keys such as Tab and Enter.
    pub fn press(&self, key: &str) {
        let actions = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        let done = self.post("actions", &json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}));
        assert!(done.is_null(), "{done}");
    }

    /// Returns the visible text of the element of an XPath, or an empty string.
    pub fn text(&self, xpath: &str) -> String {
        let script = "return document.evaluate(arguments[0], document, null, 9, null).singleNodeValue?.innerText ?? ''";
        self.run(script, &[xpath])
    }

    /// Runs a script that returns a string.
    pub fn run(&self, script: &str, arguments: &[&str]) -> String {
        self.evaluate(script, &json!(arguments)).as_str().unwrap_or_default().to_string()
    }

    /// Runs a script and returns its value. Panics if the script throws.
    pub fn evaluate(&self, script: &str, arguments: &Value) -> Value {
        let answer = self.post("execute/sync", &json!({"script": script, "args": arguments}));
        assert!(answer["stacktrace"].is_null(), "{script}: {}", answer["message"]);
        answer
    }

    /// Returns the accessible role and name of an element.
    pub fn accessible(&self, element: &str) -> (String, String) {
        let property = |what| self.get(&format!("element/{element}/{what}")).as_str().unwrap_or_default().to_string();
        (property("computedrole"), property("computedlabel"))
    }

    /// Returns the focused element.
    pub fn focused(&self) -> String {
        self.get("element/active")[ELEMENT].as_str().expect("an element").to_string()
    }

    /// Runs a command of the Chrome DevTools protocol.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        let answer = self.post("goog/cdp/execute", &json!({"cmd": command, "params": parameters}));
        assert!(answer["error"].is_null(), "{command}: {answer}");
        answer
    }

    /// Opens a new tab and switches to it.
    pub fn new_tab(&self) {
        let tab = self.post("window/new", &json!({"type": "tab"}));
        let switched = self.post("window", &json!({"handle": tab["handle"]}));
        assert!(switched.is_null(), "{switched}");
    }

    /// Takes the new console messages above the debug level.
    pub fn console(&self) -> Vec<String> {
        let entries = self.post("se/log", &json!({"type": "browser"}));
        let entries = entries.as_array().expect("entries of the console").iter();
        entries.filter(|entry| entry["level"] != "DEBUG").map(|entry| entry["message"].to_string()).collect()
    }

    /// Takes the new violations of the content security policy from the console.
    pub fn violations(&self) -> Vec<String> {
        let messages = self.console().into_iter();
        messages.filter(|message| message.contains("Content Security Policy")).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ending the session ends Chromium; the driver goes with it.
        let _ = agent().delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
