//! The JavaScript program of `docs/clients.md` on a page of a real browser, with an image chosen in a file field.

use serde_json::{Value, json};

use crate::common::markdown::{CLASS, IMAGE, JAVASCRIPT, documented_program, folder_with_image};
use crate::common::{KEY, Server};
use crate::driver::Browser;

/// Adds a file field to the page.
const FIELD: &str = "const input = document.createElement('input');
    input.type = 'file';
    input.id = 'image';
    document.body.append(input);";

#[test]
fn javascript_program_classifies_the_cat_and_reports_a_wrong_key() {
    let Some(browser) = Browser::start() else { return };
    let server = Server::start(&["--device", "cpu"]);
    let folder = folder_with_image();
    // A page of the server itself, so that no other origin must be allowed.
    browser.open(&server.url);
    browser.run(FIELD, &[]);
    browser.type_into("//input[@id='image']", folder.path().join(IMAGE).to_str().expect("a path in UTF-8"));
    let script = format!(
        "{}
         const image = document.getElementById('image').files[0];
         return classify(image, arguments[0]).catch(error => error.message);",
        documented_program(JAVASCRIPT, "js", &server)
    );
    let found: Value = browser.evaluate(&script, &json!([KEY]));
    assert_eq!((found[0]["class_id"].as_u64(), found[0]["label"].as_str()), (Some(CLASS.0), Some(CLASS.1)), "{found}");
    let refused = browser.run(&script, &["kiln_not-the-key-of-this-server"]);
    assert!(refused.starts_with("key_invalid: "), "{refused}");
}
