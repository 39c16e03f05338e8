//! Keyboard navigation and accessible names: every control is reachable, in order, with a visible focus.

use serde_json::json;

use super::{classify, open};
use crate::driver::Browser;

const TAB: &str = "\u{e004}";

/// Returns role and name of each control in tab order.
fn controls(browser: &Browser) -> Vec<(String, String)> {
    browser.evaluate("document.activeElement.blur(); scrollTo(0, 0)", &json!([]));
    browser.click("//h1");
    let mut found = Vec::new();
    loop {
        browser.press(TAB);
        let at = browser.run("return document.activeElement.tagName", &[]);
        if at == "BODY" || found.len() > 20 {
            return found;
        }
        let ring = "const {outlineStyle, outlineWidth} = getComputedStyle(document.activeElement);
            return `${outlineStyle} ${outlineWidth}`";
        assert_eq!(browser.run(ring, &[]), "solid 2px", "no visible focus after {found:?}");
        found.push(browser.accessible(&browser.focused()));
    }
}

#[test]
fn controls_are_reached_by_tab_in_order_with_names() {
    let Some((browser, _server)) = open(&[]) else { return };
    let named = |role: &str, name: &str| (role.to_string(), name.to_string());
    let mut expected = vec![
        named("link", "API"),
        named("link", "OpenAPI"),
        named("link", "Metrics"),
        named("textbox", "API key or token"),
        named("button", "Show the key"),
        named("button", "Forget the key"),
    ];
    let mut found = controls(&browser);
    let (role, name) = found.pop().unwrap();
    assert!(role == "button" && name.starts_with("Drop an image, or choose one"), "{role} {name}");
    assert_eq!(found, expected);

    classify(&browser);
    let mut found = controls(&browser);
    expected.push(named("button", "Send again"));
    let (role, name) = found.remove(6);
    assert!(role == "button" && name.starts_with("cat_640x480.jpg"), "{role} {name}");
    assert_eq!(found, expected);
}

#[test]
fn enter_and_space_open_the_file_chooser() {
    let Some((browser, _server)) = open(&[]) else { return };
    // The headless browser must not open its file dialogue.
    browser.devtools("Page.setInterceptFileChooserDialog", &json!({"enabled": true}));
    let watch = "window.opened = 0; document.getElementById('file').addEventListener('click', () => opened++);
        document.getElementById('drop').focus()";
    browser.evaluate(watch, &json!([]));
    for (key, times) in [("\u{e007}", 1), (" ", 2)] {
        browser.press(key);
        assert_eq!(browser.evaluate("return opened", &json!([])), times);
    }
}

#[test]
fn landmarks_headings_and_lists_have_roles_and_names() {
    let Some((browser, _server)) = open(&[]) else { return };
    classify(&browser);
    for (xpath, role, name) in [
        ("/html/body/header", "banner", ""),
        ("//nav", "navigation", "Pages of this server"),
        ("/html/body/main", "main", ""),
        ("//section[1]", "region", "Server"),
        ("//section[.//h2[@id='try']]", "region", "Classify an image"),
        ("//section[.//h2[@id='response']]", "region", "Result"),
        ("//h1", "heading", "Kiln"),
        ("//*[@id='summary']", "status", ""),
        ("//*[@id='note']", "status", ""),
        ("//*[@id='error']", "alert", ""),
        ("//ol[@id='classes']", "list", "Most probable classes"),
        ("//ol[@id='classes']/li[1]", "listitem", ""),
        ("//table", "table", "Durations of the phases"),
        ("//tbody//th", "rowheader", "receive"),
        ("//thead//th[1]", "columnheader", "Phase"),
    ] {
        let (found, label) = browser.accessible(&browser.find(xpath));
        assert_eq!((found.as_str(), label.as_str()), (role, name), "{xpath}");
    }
    let outline = "return [document.documentElement.lang, document.title, document.querySelectorAll('h1').length,
        [...document.querySelectorAll('h1, h2, h3')].map(heading => heading.tagName).join(' ')].join()";
    assert_eq!(browser.run(outline, &[]), "en,Kiln,1,H1 H2 H2 H2");
}
