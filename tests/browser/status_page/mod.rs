//! The status page: classification of an image, status tiles, errors, appearance and accessibility.

mod accessibility;
mod appearance;
mod errors;
mod figures;
mod key;
mod prediction;
mod tiles;

use crate::common::{KEY, Server, data};
use crate::driver::Browser;

const CAT: &str = "photos/cat_640x480.jpg";
/// A script that returns the key in the session storage of the tab.
const STORED_KEY: &str = "return sessionStorage.getItem('kiln-key') ?? 'nothing'";

/// Opens the page of a server with more flags. Returns `None` without a browser.
fn open(flags: &[&str]) -> Option<(Browser, Server)> {
    let browser = Browser::start()?;
    let server = Server::start(&[&["--device", "cpu"], flags].concat());
    browser.open(&server.url);
    Some((browser, server))
}

/// Chooses a file of the test data in the file field.
fn choose(browser: &Browser, image: &str) {
    browser.type_into("//input[@id='file']", data(image).to_str().unwrap());
}

fn type_key(browser: &Browser, key: &str) {
    browser.type_into("//input[@id='key']", key);
}

/// Types the key, chooses the cat, and waits for the prediction.
fn classify(browser: &Browser) {
    type_key(browser, KEY);
    choose(browser, CAT);
    wait_for_prediction(browser, "Egyptian cat");
}

/// Waits until the top prediction has this label.
fn wait_for_prediction(browser: &Browser, label: &str) {
    browser.find(&format!("//*[@id='summary']/b[.='{label}']"));
}

/// Returns the text of an element by its id.
fn text(browser: &Browser, id: &str) -> String {
    browser.text(&format!("//*[@id='{id}']"))
}

/// Asserts that the console is empty and that the page loaded nothing from another server.
fn assert_no_console_output_or_foreign_requests(browser: &Browser) {
    let none: [String; 0] = [];
    assert_eq!(browser.console(), none);
    let foreign = "return performance.getEntriesByType('resource').map(entry => entry.name)
        .filter(name => new URL(name).origin !== location.origin && !name.startsWith('data:')).join()";
    assert_eq!(browser.run(foreign, &[]), "");
}
