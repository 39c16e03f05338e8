//! The pages of the server in headless Chromium.
#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;
mod driver;

mod docs_page;
mod documented_javascript;
mod status_page;
