//! The page at the bare address in a real browser: a picture is classified, the tiles tell how the server is, and anybody
//! can see, reach and hear it.
#![forbid(unsafe_code)]

mod appearance;
#[path = "../browser/mod.rs"]
mod browser;
#[path = "../common/mod.rs"]
mod common;
mod errors;
mod figures;
mod key;
mod keyboard;
mod picture;
mod tiles;

use browser::Browser;
use common::{KEY, Server, data};

const CAT: &str = "photos/cat_640x480.jpg";
/// What `run` gives back of the store of a tab.
const KEPT: &str = "return sessionStorage.getItem('kiln-key') ?? 'nothing'";

/// A browser at the page of a server with more flags; nothing where there is no browser.
fn opened(flags: &[&str]) -> Option<(Browser, Server)> {
    let browser = Browser::start()?;
    let server = Server::start(&[&["--device", "cpu"], flags].concat());
    browser.open(&server.url);
    Some((browser, server))
}

fn choose(browser: &Browser, picture: &str) {
    browser.type_into("//input[@id='file']", data(picture).to_str().unwrap());
}

fn type_key(browser: &Browser, key: &str) {
    browser.type_into("//input[@id='key']", key);
}

/// Types the key, chooses the cat, and waits for the answer.
fn classify(browser: &Browser) {
    type_key(browser, KEY);
    choose(browser, CAT);
    answered(browser, "Egyptian cat");
}

/// Waits until the answer begins with that class.
fn answered(browser: &Browser, label: &str) {
    browser.find(&format!("//*[@id='summary']/b[.='{label}']"));
}

/// The text of an element, by its id.
fn text(browser: &Browser, id: &str) -> String {
    browser.text(&format!("//*[@id='{id}']"))
}

/// Nothing was written to the console, and nothing was asked of another server.
fn assert_quiet(browser: &Browser) {
    let none: [String; 0] = [];
    assert_eq!(browser.console(), none);
    let strangers = "return performance.getEntriesByType('resource').map(entry => entry.name)
        .filter(name => new URL(name).origin !== location.origin && !name.startsWith('data:')).join()";
    assert_eq!(browser.run(strangers, &[]), "");
}
