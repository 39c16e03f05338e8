//! The status tiles: readiness, device, traffic, and the reason if they show nothing.

use std::time::Duration;

use serde_json::json;

use super::{assert_no_console_output_or_foreign_requests, classify, open, text, type_key};
use crate::common::{KEY, Server, until};
use crate::driver::Browser;

/// Longer than the polling interval of the page.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Returns the figure of a tile.
fn figure(browser: &Browser, tile: &str) -> String {
    browser.text(&format!("//*[@id='{tile}']//b"))
}

/// Returns the number of answered requests of an operation; an empty status counts all.
fn counted(server: &Server, operation: &str, status: &str) -> u64 {
    server.metric("kiln_requests_total", &[&format!("operation=\"{operation}\",status=\"{status}")]) as u64
}

/// Waits until the page has polled `more` times.
fn wait_for_polls(server: &Server, more: u64) {
    let before = counted(server, "ready", "");
    until("more polls", TIMEOUT, || counted(server, "ready", "") >= before + more, String::new);
}

#[test]
fn tiles_show_readiness_device_and_traffic() {
    let Some((browser, server)) = open(&[]) else { return };
    browser.find("//*[@id='ready'][@data-is='yes']//b[.='Ready']");
    browser.find("//*[@id='device']//b[.='CPU']");
    assert!(text(&browser, "device").contains("f32"), "{}", text(&browser, "device"));
    assert_eq!(figure(&browser, "model"), "efficientnet-lite0");
    assert!(text(&browser, "model").contains("version 1"));
    // Without traffic there is no latency and no batch size.
    browser.find("//*[@id='rate']//b[.='0.0']");
    for tile in ["p50", "p99", "batch"] {
        assert_eq!(figure(&browser, tile), "–", "{tile}");
    }
    classify(&browser);
    browser.find("//*[@id='rate']//b[number(.) > 0]");
    assert_eq!((figure(&browser, "batch").as_str(), figure(&browser, "queue").as_str()), ("1.0", "0"));
    assert!(figure(&browser, "p50").ends_with('s') && figure(&browser, "p99").ends_with('s'));
    assert!(text(&browser, "rate").contains("1 in total, 0 failed"), "{}", text(&browser, "rate"));
    for tile in ["rate", "p99"] {
        let line = "return document.querySelector(`#${arguments[0]} path`).getAttribute('d')";
        assert!(browser.run(line, &[tile]).starts_with('M'), "{tile} has no line");
    }
    // Requests without an image do not count, such as the polls of the page.
    assert!(counted(&server, "metrics", "200") > 0);
    browser.find("//*[@id='rate'][contains(., '1 in total')]");
    // After ten seconds the figures are empty again.
    browser.find("//*[@id='rate']//b[.='0.0']");
    assert_eq!(figure(&browser, "p99"), "–");
    assert_no_console_output_or_foreign_requests(&browser);
}

#[test]
fn protected_metrics_use_the_key_and_a_wrong_key_is_not_retried() {
    let Some((browser, server)) = open(&["--metrics-auth"]) else { return };
    browser.find("//*[@id='note'][contains(., \"need a key with the scope 'metrics'\")]");
    assert_eq!((figure(&browser, "ready").as_str(), figure(&browser, "device").as_str()), ("Ready", "–"));
    type_key(&browser, "kiln_wrong-key-of-the-tests");
    // A key is used only after the field loses the focus.
    wait_for_polls(&server, 2);
    let (rejected, note) = (counted(&server, "metrics", "401"), text(&browser, "note"));
    assert!(note.contains("need a key"), "{note}");
    browser.press("\u{e004}");
    browser.find("//*[@id='note'][contains(., 'This key cannot read the metrics')]");
    wait_for_polls(&server, 3);
    // The server blocks addresses that send wrong keys, so the page must not retry.
    assert_eq!(counted(&server, "metrics", "401"), rejected + 1);
    browser.click("//button[@id='forget']");
    type_key(&browser, KEY);
    browser.press("\u{e004}");
    browser.find("//*[@id='device']//b[.='CPU']");
    assert_eq!(text(&browser, "note"), "");
    // The tab still has the key after a reload.
    browser.open(&server.url);
    browser.find("//*[@id='device']//b[.='CPU']");
}

#[test]
fn separate_metrics_listener_leaves_readiness_and_a_note() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let Some((browser, _server)) = open(&["--metrics-listen", &format!("127.0.0.1:{port}")]) else { return };
    browser.find("//*[@id='note'][contains(., 'not served at this address')]");
    browser.find("//*[@id='ready'][@data-is='yes']//b[.='Ready']");
    for tile in ["device", "rate", "p99"] {
        assert_eq!(figure(&browser, tile), "–", "{tile}");
    }
}

#[test]
fn draining_server_shows_its_reason() {
    let Some((browser, server)) = open(&["--drain-delay", "10min"]) else { return };
    browser.find("//*[@id='ready']//b[.='Ready']");
    server.terminate();
    browser.find("//*[@id='ready'][@data-is='no']//b[.='Not ready: draining']");
    assert!(text(&browser, "ready").contains("shutting down"));
}

#[test]
fn hidden_page_sends_no_requests() {
    let Some(browser) = Browser::start() else { return };
    // Counts pending timers and fetches, and lets the test hide the page.
    let watch = "const [setTimer, send] = [window.setTimeout, window.fetch];
        window.timers = window.fetches = 0;
        window.setTimeout = (then, ms) => { timers++; return setTimer(() => { timers--; then(); }, ms); };
        window.fetch = (...all) => { fetches++; return send(...all); };
        window.hide = hidden => {
            Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
            document.dispatchEvent(new Event('visibilitychange'));
        };";
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", &json!({"source": watch}));
    let server = Server::start(&["--device", "cpu"]);
    browser.open(&server.url);
    let fetches_with_timers = |number: u64| {
        let has_timers = || browser.evaluate("return timers", &json!([])) == number;
        until("the pending timers", TIMEOUT, has_timers, String::new);
        browser.evaluate("return fetches", &json!([])).as_u64().unwrap()
    };
    fetches_with_timers(1);
    let before = browser.evaluate("hide(true); return fetches", &json!([])).as_u64().unwrap();
    // The pending timer expires without a fetch.
    assert_eq!(fetches_with_timers(0), before);
    let counted_before = counted(&server, "ready", "");
    browser.evaluate("hide(false)", &json!([]));
    until("a poll", TIMEOUT, || counted(&server, "ready", "") > counted_before, String::new);
    assert!(fetches_with_timers(1) > before);
}
