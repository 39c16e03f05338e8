//! What a photo costs before the engine sees it: decode, crop, antialiased resize. One thread.
//!
//! `cargo bench --bench preprocess`; with `--features turbojpeg` the JPEG decoder is libjpeg-turbo.

use divan::Bencher;
use divan::counter::ItemsCount;
use kiln::image::{Crop, Filter, Limits, Recipe, prepare};

const FILES: [&str; 4] =
    ["photos/cat_640x480.jpg", "photos/coffee_640x480.jpg", "variants/cat_progressive.jpg", "variants/cat.png"];

fn main() {
    println!("JPEG by {}", if cfg!(feature = "turbojpeg") { "libjpeg-turbo" } else { "zune-jpeg" });
    divan::main();
}

fn recipe() -> Recipe {
    Recipe { width: 224, height: 224, filter: Filter::Bicubic, crop: Crop::CentralPadded { padding: 32 } }
}

#[divan::bench(args = FILES)]
fn prepare_picture(bencher: Bencher, file: &str) {
    let path = format!("{}/tests/data/{file}", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(path).expect("the test data is there");
    let (recipe, limits) = (recipe(), Limits::default());
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| prepare(&bytes, &recipe, &limits));
}
