//! Errors on the page: the message of the server, and the next step.

use super::{CAT, choose, open, text, type_key, wait_for_prediction};
use crate::common::{KEY, key_file, keygen};
use crate::driver::Browser;

/// Waits for an error with this code and returns its text.
fn wait_for_error(browser: &Browser, code: &str) -> String {
    browser.find(&format!("//*[@id='error'][@role='alert'][.//code[.='{code}']]"));
    assert_eq!(browser.run("return String(document.getElementById('result').hidden)", &[]), "true");
    text(browser, "error")
}

/// Returns the id of the focused element.
fn focused(browser: &Browser) -> String {
    browser.run("return document.activeElement.id", &[])
}

#[test]
fn invalid_file_shows_the_error_of_the_server() {
    let Some((browser, server)) = open(&[]) else { return };
    type_key(&browser, KEY);
    choose(&browser, CAT);
    wait_for_prediction(&browser, "Egyptian cat");
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, code) in [
        ("cut.jpg", &crate::common::bytes(CAT)[..20_000], "undecodable_image"),
        ("<img src=x onerror=alert(1)>.jpg", b"no image", "unknown_format"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        browser.type_into("//input[@id='file']", path.to_str().unwrap());
        let shown = wait_for_error(&browser, code);
        let answer = server.raw("/predict/raw", bytes);
        let body = answer.json();
        // The page capitalizes the first letter.
        let error = body["error"].as_str().unwrap();
        assert!(shown.to_lowercase().starts_with(&error.to_lowercase()), "{shown}");
        assert!(shown.contains(body["hint"].as_str().unwrap()), "{shown}");
        assert!(shown.contains(&format!("Status {}", answer.status)), "{shown}");
        let id = browser.text("(//*[@id='error']//code)[2]");
        assert_eq!(id.len(), 36, "{id:?}");
        assert!(server.logged().iter().any(|line| line.contains(&id)), "{id}");
        assert!(text(&browser, "drop").contains(name), "the file name must be shown as text");
    }
    choose(&browser, CAT);
    wait_for_prediction(&browser, "Egyptian cat");
    assert_eq!(text(&browser, "error"), "");
}

#[test]
fn wrong_key_moves_focus_to_the_key_field_and_enter_sends_again() {
    let Some((browser, server)) = open(&[]) else { return };
    choose(&browser, CAT);
    browser.find("//*[@id='error'][contains(., 'there is no key yet')]");
    assert_eq!(focused(&browser), "key");
    type_key(&browser, "kiln_wrong-key-of-the-tests");
    // Enter
    browser.press("\u{e007}");
    let shown = wait_for_error(&browser, "key_invalid");
    assert!(shown.contains("Status 401") && shown.contains("Check the key"), "{shown}");
    assert_eq!(focused(&browser), "key");
    let field = browser.find("//input[@id='key'][@aria-invalid='true'][@aria-describedby='key-note']");
    assert!(text(&browser, "key-note").ends_with("Enter sends the image again."));
    assert_eq!(browser.accessible(&field), ("textbox".to_string(), "API key or token".to_string()));
    // The wrong key is selected, so that typing replaces it.
    browser.press("x");
    assert_eq!(browser.run("return document.getElementById('key').value", &[]), "x");
    browser.press("\u{e003}");
    type_key(&browser, KEY);
    browser.press("\u{e007}");
    wait_for_prediction(&browser, "Egyptian cat");
    browser.find("//input[@id='key'][not(@aria-invalid)]");
    let metrics = server.get("/metrics").text();
    assert!(!metrics.contains("key_missing"), "an image was sent without a key");
}

#[test]
fn rate_limit_error_shows_the_time_to_wait() {
    let slow = keygen("slow", &["--requests-per-second", "0.01", "--burst", "1"]);
    let file = key_file(&[&slow]);
    let Some((browser, _server)) = open(&["--keys", file.path().to_str().unwrap()]) else { return };
    type_key(&browser, &slow.key);
    choose(&browser, CAT);
    wait_for_prediction(&browser, "Egyptian cat");
    browser.click("//button[@id='again']");
    let shown = wait_for_error(&browser, "rate_exceeded");
    // The hint of the server, which is shown above the time, begins with the same words.
    let (_, rest) = shown.rsplit_once("Retry after ").unwrap();
    let wait = rest.split(' ').next().unwrap();
    assert!((90..=100).contains(&wait.parse::<u32>().unwrap()), "{shown}");
}

#[test]
fn unreachable_server_is_shown_by_error_and_tile() {
    let Some((browser, server)) = open(&[]) else { return };
    type_key(&browser, KEY);
    browser.find("//*[@id='ready']//b[.='Ready']");
    drop(server);
    browser.find("//*[@id='ready'][@data-is='no']//b[.='No response']");
    choose(&browser, CAT);
    browser.find("//*[@id='error'][contains(., 'The server did not respond.')]");
}
