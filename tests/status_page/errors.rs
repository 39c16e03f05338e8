//! What a person sees when it does not work: Kiln's own words, and what to do next.

use crate::browser::Browser;
use crate::common::{KEY, key_file, keygen};
use crate::{CAT, answered, choose, opened, text, type_key};

/// Waits for an error with that code and gives all that is told.
fn failed(browser: &Browser, code: &str) -> String {
    browser.find(&format!("//*[@id='error'][@role='alert'][.//code[.='{code}']]"));
    assert_eq!(browser.run("return String(document.getElementById('result').hidden)", &[]), "true");
    text(browser, "error")
}

fn focused(browser: &Browser) -> String {
    browser.run("return document.activeElement.id", &[])
}

#[test]
fn a_broken_file_gets_the_servers_own_error() {
    let Some((browser, server)) = opened(&[]) else { return };
    type_key(&browser, KEY);
    choose(&browser, CAT);
    answered(&browser, "Egyptian cat");
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, code) in [
        ("cut.jpg", &crate::common::bytes(CAT)[..20_000], "undecodable_image"),
        ("<img src=x onerror=alert(1)>.jpg", b"no picture", "unknown_format"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        browser.type_into("//input[@id='file']", path.to_str().unwrap());
        let told = failed(&browser, code);
        let answer = server.raw("/predict/raw", bytes);
        let body = answer.json();
        // A sentence on the page, whose first letter is large.
        let error = body["error"].as_str().unwrap();
        assert!(told.to_lowercase().starts_with(&error.to_lowercase()), "{told}");
        assert!(told.contains(body["hint"].as_str().unwrap()), "{told}");
        assert!(told.contains(&format!("Status {}", answer.status)), "{told}");
        let id = browser.text("(//*[@id='error']//code)[2]");
        assert_eq!(id.len(), 36, "{id:?}");
        assert!(server.logged().iter().any(|line| line.contains(&id)), "{id}");
        assert!(text(&browser, "drop").contains(name), "a file's name is text");
    }
    choose(&browser, CAT);
    answered(&browser, "Egyptian cat");
    assert_eq!(text(&browser, "error"), "");
}

#[test]
fn a_wrong_key_leads_to_its_field_and_the_right_one_sends_the_picture() {
    let Some((browser, server)) = opened(&[]) else { return };
    choose(&browser, CAT);
    browser.find("//*[@id='error'][contains(., 'there is no key yet')]");
    assert_eq!(focused(&browser), "key");
    type_key(&browser, "kiln_wrong-key-of-the-tests");
    // Enter.
    browser.press("\u{e007}");
    let told = failed(&browser, "key_invalid");
    assert!(told.contains("Status 401") && told.contains("Check the key"), "{told}");
    assert_eq!(focused(&browser), "key");
    let field = browser.find("//input[@id='key'][@aria-invalid='true'][@aria-describedby='key-note']");
    assert!(text(&browser, "key-note").ends_with("Enter sends the picture again."));
    assert_eq!(browser.accessible(&field), ("textbox".to_string(), "API key or token".to_string()));
    // The wrong one is selected, so that typing replaces it.
    browser.press("x");
    assert_eq!(browser.run("return document.getElementById('key').value", &[]), "x");
    browser.press("\u{e003}");
    type_key(&browser, KEY);
    browser.press("\u{e007}");
    answered(&browser, "Egyptian cat");
    browser.find("//input[@id='key'][not(@aria-invalid)]");
    let metrics = server.get("/metrics").text();
    assert!(!metrics.contains("key_missing"), "a picture was sent without a key");
}

#[test]
fn who_asks_too_often_is_told_how_long_to_wait() {
    let slow = keygen("slow", &["--requests-per-second", "0.01", "--burst", "1"]);
    let file = key_file(&[&slow]);
    let Some((browser, _server)) = opened(&["--keys", file.path().to_str().unwrap()]) else { return };
    type_key(&browser, &slow.key);
    choose(&browser, CAT);
    answered(&browser, "Egyptian cat");
    browser.click("//button[@id='again']");
    let told = failed(&browser, "rate_exceeded");
    let wait = told.split("asks to wait ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!((90..=100).contains(&wait.parse::<u32>().unwrap()), "{told}");
}

#[test]
fn a_server_that_is_gone_is_told_by_page_and_tile() {
    let Some((browser, server)) = opened(&[]) else { return };
    type_key(&browser, KEY);
    browser.find("//*[@id='ready']//b[.='Ready']");
    drop(server);
    browser.find("//*[@id='ready'][@data-is='no']//b[.='No answer']");
    choose(&browser, CAT);
    browser.find("//*[@id='error'][contains(., 'The server did not answer.')]");
}
