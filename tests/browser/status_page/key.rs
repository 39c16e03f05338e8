//! The API key: entered once, stored in the session of one tab, and nowhere else.

use super::{
    CAT, STORED_KEY, assert_no_console_output_or_foreign_requests, choose, classify, open, text, wait_for_prediction,
};
use crate::common::KEY;

const FIELD: &str = "return document.getElementById('key').value";

#[test]
fn key_is_stored_in_the_session_of_its_tab_only() {
    let Some((browser, server)) = open(&[]) else { return };
    assert_eq!(browser.run(STORED_KEY, &[]), "nothing");
    classify(&browser);
    assert_eq!(browser.run(STORED_KEY, &[]), KEY);
    let elsewhere = "return [JSON.stringify(localStorage), document.cookie, location.href,
        ...performance.getEntriesByType('resource').map(entry => entry.name)].join(' ')";
    let elsewhere = browser.run(elsewhere, &[]);
    assert!(elsewhere.starts_with("{} ") && !elsewhere.contains(KEY), "{elsewhere}");

    // After a reload, which revalidates the page, the key is still there.
    browser.open(&server.url);
    choose(&browser, CAT);
    wait_for_prediction(&browser, "Egyptian cat");

    browser.new_tab();
    browser.open(&server.url);
    assert_eq!((browser.run(STORED_KEY, &[]).as_str(), browser.run(FIELD, &[]).as_str()), ("nothing", ""));
    assert_no_console_output_or_foreign_requests(&browser);
}

#[test]
fn key_field_is_masked_and_can_be_shown_and_cleared() {
    let Some((browser, server)) = open(&[]) else { return };
    let kind = "const field = document.getElementById('key'); return `${field.type} ${field.autocomplete}`";
    assert_eq!(browser.run(kind, &[]), "password off");
    classify(&browser);
    browser.click("//button[@id='show']");
    assert_eq!(browser.run(kind, &[]), "text off");
    browser.find("//button[@id='show'][@aria-pressed='true']");
    browser.click("//button[@id='forget']");
    assert_eq!((browser.run(STORED_KEY, &[]).as_str(), browser.run(FIELD, &[]).as_str()), ("nothing", ""));
    assert_eq!(browser.run(kind, &[]), "password off");
    assert_eq!(text(&browser, "key-note"), "Forgotten.");
    browser.open(&server.url);
    assert_eq!(browser.run(FIELD, &[]), "");
}
