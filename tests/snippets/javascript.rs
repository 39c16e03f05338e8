//! The JavaScript of the README in a page of a real browser, with a picture that a person has chosen.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::common::KEY;
use crate::readme::{PROGRAMS, program};
use crate::{CLASS, PICTURE, folder, server};

/// A field for a file, as a page would have it.
const FIELD: &str = "const input = document.createElement('input');
    input.type = 'file';
    input.id = 'picture';
    document.body.append(input);";

#[test]
fn a_page_finds_the_cat_and_is_told_of_a_wrong_key() {
    let Some(browser) = Browser::start() else { return };
    let server = server();
    let folder = folder();
    // A page of the server's own, so that no other origin has to be let in.
    browser.open(&server.url);
    browser.run(FIELD, &[]);
    browser.type_into("//input[@id='picture']", folder.path().join(PICTURE).to_str().expect("a path in UTF-8"));
    let called = format!(
        "{}
         const picture = document.getElementById('picture').files[0];
         return classify(picture, arguments[0]).catch(error => error.message);",
        program(PROGRAMS, "js", &server)
    );
    let found: Value = browser.evaluate(&called, &json!([KEY]));
    assert_eq!((found[0]["class_id"].as_u64(), found[0]["label"].as_str()), (Some(CLASS.0), Some(CLASS.1)), "{found}");
    let refused = browser.run(&called, &["kiln_not-the-key-of-this-server"]);
    assert!(refused.starts_with("key_invalid: "), "{refused}");
}
