//! Measures preprocessing of an image on one thread: decoding, cropping with antialiased resize, and both.
//!
//! Run it with `cargo bench --bench preprocess`.
#![forbid(unsafe_code)]

mod machine;

use divan::Bencher;
use divan::counter::ItemsCount;
use kiln_image::{Crop, Filter, Limits, PreprocessSpec, decode, preprocess, resize};

const PHOTO: &str = "photos/cat_640x480.jpg";
const FILES: [&str; 4] = [PHOTO, "photos/coffee_640x480.jpg", "variants/cat_progressive.jpg", "variants/cat.png"];

fn main() {
    println!("machine: {}", machine::machine());
    divan::main();
}

fn bytes(file: &str) -> Vec<u8> {
    let path = format!("tests/data/{file}");
    std::fs::read(path).expect("the test data exists")
}

fn recipe() -> PreprocessSpec {
    PreprocessSpec { width: 224, height: 224, filter: Filter::Bicubic, crop: Crop::CentralPadded { padding: 32 } }
}

#[divan::bench(args = FILES)]
fn decode_only(bencher: Bencher, file: &str) {
    let (bytes, limits) = (bytes(file), Limits::default());
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| decode(&bytes, &limits));
}

#[divan::bench(args = [PHOTO, "variants/exif_6.jpg"])]
fn resize_only(bencher: Bencher, file: &str) {
    let (raster, recipe) = (decode(&bytes(file), &Limits::default()).expect("a photo"), recipe());
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| resize(&raster, &recipe));
}

#[divan::bench(args = FILES)]
fn decode_and_resize(bencher: Bencher, file: &str) {
    let (bytes, recipe, limits) = (bytes(file), recipe(), Limits::default());
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| preprocess(&bytes, &recipe, &limits));
}
