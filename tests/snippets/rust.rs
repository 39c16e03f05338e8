//! The Rust of the README is `classify.rs`, which is compiled with these tests and called here.

use crate::classify::classify;
use crate::common::{KEY, bytes};
use crate::readme::{PROGRAMS, block};
use crate::{CLASS, server};

#[test]
fn the_readme_shows_the_rust_that_is_compiled() {
    assert_eq!(block(PROGRAMS, "rust"), include_str!("classify.rs"), "copy one to the other");
}

#[test]
fn rust_finds_the_cat_and_hears_of_a_wrong_key() {
    let server = server();
    let picture = bytes("photos/cat_640x480.jpg");
    let found = classify(&server.url, KEY, &picture).unwrap();
    let best = &found[0];
    assert_eq!((u64::from(best.class_id), best.label.as_str()), CLASS, "{found:?}");
    assert!(found.len() == 5 && best.probability > found[1].probability, "{found:?}");
    let refused = classify(&server.url, "kiln_not-the-key-of-this-server", &picture);
    assert!(matches!(refused, Err(ureq::Error::StatusCode(401))), "{refused:?}");
}
