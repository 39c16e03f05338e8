//! The tiles tell how the server is, and say plainly why they do not.

use std::time::Duration;

use serde_json::json;

use crate::browser::Browser;
use crate::common::{KEY, Server, until};
use crate::{assert_quiet, classify, opened, text, type_key};

/// Longer than the page leaves between two questions.
const PATIENCE: Duration = Duration::from_secs(60);

/// The figure of a tile.
fn figure(browser: &Browser, tile: &str) -> String {
    browser.text(&format!("//*[@id='{tile}']//b"))
}

/// How many answers of an operation the server has counted, of one status or of any.
fn counted(server: &Server, operation: &str, status: &str) -> u64 {
    server.metric("kiln_requests_total", &[&format!("operation=\"{operation}\",status=\"{status}")]) as u64
}

/// Waits for more rounds of questions, which the server counts.
fn rounds(server: &Server, more: u64) {
    let before = counted(server, "ready", "");
    until("more rounds", PATIENCE, || counted(server, "ready", "") >= before + more, String::new);
}

#[test]
fn tiles_show_state_device_and_traffic() {
    let Some((browser, server)) = opened(&[]) else { return };
    browser.find("//*[@id='ready'][@data-is='yes']//b[.='Ready']");
    browser.find("//*[@id='device']//b[.='CPU']");
    assert!(text(&browser, "device").contains("f32"), "{}", text(&browser, "device"));
    assert_eq!(figure(&browser, "model"), "efficientnet-lite0");
    assert!(text(&browser, "model").contains("version 1"));
    // Nothing has happened: there is no latency and no batch, and that is not a number.
    browser.find("//*[@id='rate']//b[.='0.0']");
    for tile in ["p50", "p99", "batch"] {
        assert_eq!(figure(&browser, tile), "–", "{tile}");
    }
    classify(&browser);
    browser.find("//*[@id='rate']//b[number(.) > 0]");
    assert_eq!((figure(&browser, "batch").as_str(), figure(&browser, "queue").as_str()), ("1.0", "0"));
    assert!(figure(&browser, "p50").ends_with('s') && figure(&browser, "p99").ends_with('s'));
    assert!(text(&browser, "rate").contains("1 so far, 0 failed"), "{}", text(&browser, "rate"));
    for tile in ["rate", "p99"] {
        let line = "return document.querySelector(`#${arguments[0]} path`).getAttribute('d')";
        assert!(browser.run(line, &[tile]).starts_with('M'), "{tile} has no line");
    }
    // What is no picture does not count: the page's own questions, for instance.
    assert!(counted(&server, "metrics", "200") > 0);
    browser.find("//*[@id='rate'][contains(., '1 so far')]");
    // Ten seconds later it is quiet again.
    browser.find("//*[@id='rate']//b[.='0.0']");
    assert_eq!(figure(&browser, "p99"), "–");
    assert_quiet(&browser);
}

#[test]
fn guarded_metrics_take_the_key_and_a_wrong_one_is_not_tried_again() {
    let Some((browser, server)) = opened(&["--metrics-auth"]) else { return };
    browser.find("//*[@id='note'][contains(., \"need a key with the scope 'metrics'\")]");
    assert_eq!((figure(&browser, "ready").as_str(), figure(&browser, "device").as_str()), ("Ready", "–"));
    type_key(&browser, "kiln_wrong-key-of-the-tests");
    // Half a key is none: it counts once the field is left.
    rounds(&server, 2);
    let (asked, refused) = (counted(&server, "metrics", "401"), text(&browser, "note"));
    assert!(refused.contains("need a key"), "{refused}");
    browser.press("\u{e004}");
    browser.find("//*[@id='note'][contains(., 'This key does not open the metrics')]");
    rounds(&server, 3);
    // An address from which wrong keys come is not heard for a while, so the page must not go on.
    assert_eq!(counted(&server, "metrics", "401"), asked + 1);
    browser.click("//button[@id='forget']");
    type_key(&browser, KEY);
    browser.press("\u{e004}");
    browser.find("//*[@id='device']//b[.='CPU']");
    assert_eq!(text(&browser, "note"), "");
    // The tab has the key when the page is opened again.
    browser.open(&server.url);
    browser.find("//*[@id='device']//b[.='CPU']");
}

#[test]
fn metrics_elsewhere_leave_the_state_and_one_line() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let Some((browser, _server)) = opened(&["--metrics-listen", &format!("127.0.0.1:{port}")]) else { return };
    browser.find("//*[@id='note'][contains(., 'not served at this address')]");
    browser.find("//*[@id='ready'][@data-is='yes']//b[.='Ready']");
    for tile in ["device", "rate", "p99"] {
        assert_eq!(figure(&browser, tile), "–", "{tile}");
    }
}

#[test]
fn a_server_that_wants_no_traffic_says_why() {
    let Some((browser, server)) = opened(&["--drain-delay", "10min"]) else { return };
    browser.find("//*[@id='ready']//b[.='Ready']");
    server.terminate();
    browser.find("//*[@id='ready'][@data-is='no']//b[.='Not ready: draining']");
    assert!(text(&browser, "ready").contains("shutting down"));
}

#[test]
fn a_page_that_nobody_sees_asks_nothing() {
    let Some(browser) = Browser::start() else { return };
    // Counts the timers that are wound up and the questions, and lets the test hide the page.
    let watch = "const [wind, ask] = [window.setTimeout, window.fetch];
        window.wound = window.asked = 0;
        window.setTimeout = (then, ms) => { wound++; return wind(() => { wound--; then(); }, ms); };
        window.fetch = (...all) => { asked++; return ask(...all); };
        window.hide = hidden => {
            Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
            document.dispatchEvent(new Event('visibilitychange'));
        };";
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", &json!({"source": watch}));
    let server = Server::start(&["--device", "cpu"]);
    browser.open(&server.url);
    let wound = |number: u64| {
        let is_wound = || browser.evaluate("return wound", &json!([])) == number;
        until("as many timers", PATIENCE, is_wound, String::new);
        browser.evaluate("return asked", &json!([])).as_u64().unwrap()
    };
    wound(1);
    let before = browser.evaluate("hide(true); return asked", &json!([])).as_u64().unwrap();
    // The timer that was wound up runs out, and that is all.
    assert_eq!(wound(0), before);
    let counted_before = counted(&server, "ready", "");
    browser.evaluate("hide(false)", &json!([]));
    until("a question", PATIENCE, || counted(&server, "ready", "") > counted_before, String::new);
    assert!(wound(1) > before);
}
