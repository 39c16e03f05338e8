//! The key: typed in once, known to one tab, and nowhere else.

use crate::common::KEY;
use crate::{CAT, KEPT, answered, assert_quiet, choose, classify, opened, text};

const FIELD: &str = "return document.getElementById('key').value";

#[test]
fn the_key_is_typed_in_once_and_kept_by_its_tab_alone() {
    let Some((browser, server)) = opened(&[]) else { return };
    assert_eq!(browser.run(KEPT, &[]), "nothing");
    classify(&browser);
    assert_eq!(browser.run(KEPT, &[]), KEY);
    let elsewhere = "return [JSON.stringify(localStorage), document.cookie, location.href,
        ...performance.getEntriesByType('resource').map(entry => entry.name)].join(' ')";
    let elsewhere = browser.run(elsewhere, &[]);
    assert!(elsewhere.starts_with("{} ") && !elsewhere.contains(KEY), "{elsewhere}");

    // Loaded anew, where the browser asks whether the page is still the one, it works as before.
    browser.open(&server.url);
    choose(&browser, CAT);
    answered(&browser, "Egyptian cat");

    browser.another_tab();
    browser.open(&server.url);
    assert_eq!((browser.run(KEPT, &[]).as_str(), browser.run(FIELD, &[]).as_str()), ("nothing", ""));
    assert_quiet(&browser);
}

#[test]
fn the_key_is_hidden_can_be_shown_and_forgotten() {
    let Some((browser, server)) = opened(&[]) else { return };
    let kind = "const field = document.getElementById('key'); return `${field.type} ${field.autocomplete}`";
    assert_eq!(browser.run(kind, &[]), "password off");
    classify(&browser);
    browser.click("//button[@id='show']");
    assert_eq!(browser.run(kind, &[]), "text off");
    browser.find("//button[@id='show'][@aria-pressed='true']");
    browser.click("//button[@id='forget']");
    assert_eq!((browser.run(KEPT, &[]).as_str(), browser.run(FIELD, &[]).as_str()), ("nothing", ""));
    assert_eq!(browser.run(kind, &[]), "password off");
    assert_eq!(text(&browser, "key-note"), "Forgotten.");
    browser.open(&server.url);
    assert_eq!(browser.run(FIELD, &[]), "");
}
