//! Modified weights of the default model, edited in the Burnpack file.

use kiln_inference::model::{Model, Weights};

pub const NAME: &str = "efficientnet-lite0";
const CLASSES: usize = 1000;
const FEATURES: usize = 1280;

pub fn model() -> Model {
    Model::named(NAME).unwrap()
}

/// Returns the default weights with `by` added to the bias of one class.
pub fn favouring(class: usize, by: f32) -> Vec<u8> {
    let mut file = model().weights().unwrap().bytes().to_vec();
    let bias = bias(&file);
    let at = bias + 4 * class;
    let value = f32::from_le_bytes(file[at..at + 4].try_into().unwrap()) + by;
    file[at..at + 4].copy_from_slice(&value.to_le_bytes());
    file
}

/// Returns weights that predict `class` for every image.
pub fn predicting(class: usize) -> Weights {
    Weights::new(favouring(class, 100.0))
}

/// Returns the default weights with a last layer that outputs its first 1000 inputs.
pub fn outputting_features() -> Vec<u8> {
    let mut file = model().weights().unwrap().bytes().to_vec();
    let (bias, weight) = (bias(&file), weight(&file));
    file[bias..bias + 4 * CLASSES].fill(0);
    file[weight..weight + 4 * CLASSES * FEATURES].fill(0);
    for class in 0..CLASSES {
        let at = weight + 4 * (class * FEATURES + class);
        file[at..at + 4].copy_from_slice(&1.0f32.to_le_bytes());
    }
    file
}

/// Returns the default weights with the weight of `feature` for the first class set to `by`.
pub fn with_feature_weight(feature: usize, by: f32) -> Vec<u8> {
    let mut file = model().weights().unwrap().bytes().to_vec();
    let at = weight(&file) + 4 * feature;
    file[at..at + 4].copy_from_slice(&by.to_le_bytes());
    file
}

/// Returns the offset of the class biases in a file.
fn bias(file: &[u8]) -> usize {
    data(file, b"eshape\x81\x19\x03\xe8ldata_offsets\x82")
}

/// Returns the offset of the class weights `[1000, 1280, 1, 1]` in a file.
fn weight(file: &[u8]) -> usize {
    data(file, b"eshape\x84\x19\x03\xe8\x19\x05\x00\x01\x01ldata_offsets\x82")
}

/// Returns the offset of the data of the only tensor with a shape. A Burnpack file has a header of 10 bytes that ends with the
/// length of the tensor table, the table in CBOR, and the data from the next multiple of 256 on. `mark` is the end of the
/// tensor's table entry.
fn data(file: &[u8], mark: &[u8]) -> usize {
    let length = u32::from_le_bytes(file[6..10].try_into().unwrap()) as usize;
    let table = &file[10..10 + length];
    let found: Vec<usize> = (0..length - mark.len()).filter(|at| table[*at..].starts_with(mark)).collect();
    assert_eq!(found.len(), 1, "exactly one tensor must have the shape");
    let begin = number(&table[found[0] + mark.len()..]);
    (10 + length).next_multiple_of(256) + begin
}

/// Reads an unsigned integer in CBOR.
fn number(bytes: &[u8]) -> usize {
    match bytes[0] {
        small @ 0..24 => small.into(),
        0x18 => bytes[1].into(),
        0x19 => u16::from_be_bytes([bytes[1], bytes[2]]).into(),
        0x1a => u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize,
        other => panic!("{other:#x} is not an unsigned integer"),
    }
}
