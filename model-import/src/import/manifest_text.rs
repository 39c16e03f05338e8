//! A draft as the text of a `model.toml`, with comments for who edits it.

use super::draft::Draft;
use super::inspect::Network;
use crate::{Crop, Filter};

/// The manifest of a folder whose network has this SHA-256.
pub fn manifest_text(draft: &Draft, network: &Network, sha256: &str) -> String {
    let Draft { name, version, description, source, licence, logits, preprocess, .. } = draft;
    let [name, version, description, source, licence] =
        [name, version, description, source, licence].map(|t| quoted(t));
    let file = quoted(&draft.onnx_name());
    let canary = if logits.is_some() { CANARY } else { "" };
    let (width, height) = (network.width, network.height);
    let filter = match preprocess.filter {
        Filter::Bilinear => "bilinear",
        Filter::Bicubic => "bicubic",
        Filter::Lanczos => "lanczos",
    };
    let crop = match preprocess.crop {
        Crop::None => "\"none\"".to_string(),
        Crop::CentralPadded { padding } => format!("{{ central-padded = {padding} }}"),
    };
    let (mean, std) = (preprocess.mean, preprocess.std);
    format!(
        "# Written by 'kiln import'; models/efficientnet-lite0/model.toml has all that may stand here. Every build reads it.\n\
         \n\
         # The model's name and version in the API's addresses: letters, digits, '-', '_' and '.'.\n\
         name = {name}\n\
         version = {version}\n\
         # One sentence for the people who will choose among the models.\n\
         description = {description}\n\
         # Where the weights come from, exactly enough to get the same ones again, and the licence they came under.\n\
         source = {source}\n\
         licence = {licence}\n\
         \n\
         # The network, a file in this folder, and its SHA-256 (`sha256sum FILE`): the build stops if they differ.\n\
         onnx = {file}\n\
         sha256 = \"{sha256}\"\n\
         # Class names, a file in this folder: one a line, in the order of the logits.\n\
         labels = \"labels.txt\"\n\
         {canary}\
         \n\
         # The picture that the network takes, in pixels.\n\
         [input]\n\
         width = {width}\n\
         height = {height}\n\
         \n\
         # How a photo becomes that picture. It must be what the network was trained with: a wrong value here breaks nothing and\n\
         # only costs accuracy.\n\
         [preprocess]\n\
         # The resize filter, always antialiased: \"bilinear\", \"bicubic\" or \"lanczos\", as Pillow names them.\n\
         filter = \"{filter}\"\n\
         # \"none\" (the whole photo, stretched), or {{ central-padded = N }}: the central square of side min(h, w) * size / (size + N).\n\
         crop = {crop}\n\
         # Each channel becomes (x - mean) / std, in the order R, G, B, for x from 0 to 255.\n\
         mean = {mean:?}\n\
         std = {std:?}\n"
    )
}

const CANARY: &str = "# The right logits of the synthetic picture (export/pictures.py), one a line, as another runtime computes them. \
                      A device\n# that answers otherwise is not served from.\ncanary = \"canary.txt\"\n";

/// A text in TOML's quotes.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_string()).to_string()
}
