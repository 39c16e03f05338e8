//! Writes the Rust file of a list of models: for each model a module with its network, weights, `SPEC` and `LABELS`.

use std::fmt::Write as _;
use std::path::Path;

use kiln_graph::{Model, ModelError};

/// A model whose network burn-onnx has generated.
#[derive(Debug)]
pub struct Generated {
    /// The model.
    pub model: Model,
    /// Whether the layers are those of `kiln-kernels`. Such a network takes NHWC, the others NCHW.
    pub is_fused: bool,
}

/// Writes `file`, which includes the code that burn-onnx generated below `out_dir`.
pub fn write(models: &[Generated], out_dir: &Path, file: &str) -> Result<(), ModelError> {
    let mut code = String::new();
    for generated in models {
        code.push_str(&module(generated, out_dir));
    }
    code.push_str("/// All models, sorted by name.\n");
    code.push_str("pub static MODELS: &[BuiltIn] = &[\n");
    for Generated { model, .. } in models {
        let _ = writeln!(code, "    {}::BUILT_IN,", model.module_name());
    }
    code.push_str("];\n");
    let path = out_dir.join(file);
    std::fs::write(&path, code).map_err(|e| ModelError::Unreadable { path, reason: e.to_string() })
}

fn module(Generated { model, is_fused }: &Generated, out_dir: &Path) -> String {
    let layout = if *is_fused { "ChannelsLast" } else { "ChannelsFirst" };
    let module = model.module_name();
    let stem = Path::new(&model.manifest.onnx).with_extension("");
    let generated = out_dir.join(&module).join(stem);
    let weights = generated.with_extension("bpk");
    let spec = spec(model);
    let labels: String = model.labels.iter().map(|label| format!("        {label:?},\n")).collect();
    format!(
        "#[doc = {description:?}]\n\
         pub mod {module} {{\n\
         \x20   use super::{{Crop, Filter, Layout, ModelSpec}};\n\n\
         \x20   #[allow(clippy::all, missing_docs, unreachable_pub, unused, dead_code)]\n\
         \x20   mod generated {{ include!({code:?}); }}\n\n\
         \x20   /// Class names in index order.\n\
         \x20   pub static LABELS: &[&str] = &[\n{labels}    ];\n\n\
         {spec}\
         \x20   // Burnpack aligns its tensors to 256 bytes; the static must not undo that.\n\
         \x20   #[repr(C, align(256))]\n\
         \x20   struct Aligned<T: ?Sized>(T);\n\
         \x20   static WEIGHTS: &Aligned<[u8]> = &Aligned(*include_bytes!({weights:?}));\n\n\
         \x20   super::built_in!(BUILT_IN, SPEC, generated::Model, WEIGHTS, Layout::{layout});\n\
         }}\n\n",
        description = model.manifest.description,
        code = generated.with_extension("rs"),
    )
}

fn spec(model: &Model) -> String {
    let manifest = &model.manifest;
    // `Debug` writes both as their Rust literals.
    let (filter, crop) = (manifest.preprocess.filter, manifest.preprocess.crop);
    format!(
        "    /// The content of the manifest.\n\
         \x20   pub static SPEC: ModelSpec = ModelSpec {{\n\
         \x20       name: {:?},\n        version: {:?},\n        description: {:?},\n\
         \x20       source: {:?},\n        licence: {:?},\n        sha256: {:?},\n\
         \x20       width: {},\n        height: {},\n\
         \x20       filter: Filter::{filter:?},\n        crop: Crop::{crop:?},\n\
         \x20       mean: {:?},\n        std: {:?},\n        labels: LABELS,\n\
         \x20       reference_logits: {},\n    }};\n\n",
        manifest.name,
        manifest.version,
        manifest.description,
        manifest.source,
        manifest.licence,
        manifest.sha256.to_lowercase(),
        manifest.input.width,
        manifest.input.height,
        manifest.preprocess.mean,
        manifest.preprocess.std,
        model.reference_logits.as_ref().map_or("None".to_string(), |logits| format!("Some(&{logits:?})")),
    )
}
