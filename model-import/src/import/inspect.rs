//! Checks an ONNX file as the build does: whether it is a classifier, of which classes, and whether the fused kernels support it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use kiln_graph::{
    Classifier, ClassifierError, ExternalWeights, Graph, ModelError, OnnxFile, ReadOptions, TensorShape, fuse,
};

use super::error::ImportError;
use super::untrusted_input::{read_file, shell_path};

/// The maximum size of an ONNX file in bytes: the limit of protobuf.
const MAX_BYTES: u64 = 2 << 30;
/// The maximum number of classes. Each needs a label. ImageNet has 21,841 in total.
const MAX_CLASSES: usize = 1_000_000;

/// An ONNX file that the build accepts.
#[derive(Clone, Debug)]
pub struct InspectedModel {
    /// The file.
    pub path: PathBuf,
    /// The file's content.
    pub(super) onnx: Vec<u8>,
    /// Name of its input.
    pub input: String,
    /// Width of its input, in pixels.
    pub width: u32,
    /// Height of its input, in pixels.
    pub height: u32,
    /// The number of classes.
    pub classes: usize,
    /// The version of ONNX's operators, if the file declares it.
    pub opset: Option<i64>,
    /// Name and version of the program that wrote the file; empty if the file does not declare them.
    pub producer: String,
    /// The operators, and the number of their occurrences.
    pub operators: BTreeMap<String, usize>,
    /// The first part that Kiln's fused kernels do not support, if there is one. The network then runs on Burn's operations, which
    /// are slower.
    pub unfused: Option<String>,
    /// Why the generated code may be wrong or may not compile: Kiln's own reader, which reads files at start, refuses operators of
    /// this network.
    pub doubt: Option<String>,
}

/// Reads `path` and runs the checks of the build. `size` is the width and height of the images, for a network that leaves them
/// open.
///
/// # Errors
///
/// [`ImportError`] says what is wrong, and the next step. If the ONNX parser panics, the file is rejected as well; the panic's
/// message still reaches the process's panic hook.
pub fn inspect(path: &Path, size: Option<[u32; 2]>) -> Result<InspectedModel, ImportError> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    ModelError::catch_panic(&name, || inspect_file(&name, path, size)).map_err(|error| explain(error, path, size))
}

/// Adds to the refusal of a network whether a server can read the file at start, with Kiln's own reader. The error of that reader
/// has the names of the file and lists all obstacles, which that of burn-onnx does not.
fn explain(error: ImportError, path: &Path, size: Option<[u32; 2]>) -> ImportError {
    if !matches!(error, ImportError::Importer(_) | ImportError::Rejected(_)) {
        return error;
    }
    let hint = || format!("To serve the file as it is, without a build, run: {}", serve_command(path, size));
    match (error, read_at_start(path, size)) {
        (ImportError::Importer(ModelError::Import { model, reason }), at_start) => {
            let next_step = match at_start {
                Some(Ok(())) => hint(),
                Some(Err(own)) => format!("'kiln serve' cannot serve it either: {own}"),
                None => "Export it again with only operators that burn-onnx supports (its SUPPORTED-ONNX-OPS.md lists them)."
                    .to_string(),
            };
            ImportError::Rejected(format!(
                "model '{model}' cannot be built in, because burn-onnx refuses it: {}. {next_step}",
                reason.trim_end_matches('.')
            ))
        }
        (ImportError::Rejected(reason), Some(Ok(()))) => ImportError::Rejected(format!("{reason} {}", hint())),
        (error, _) => error,
    }
}

/// The command that serves a file with images of this size, for a shell.
fn serve_command(path: &Path, size: Option<[u32; 2]>) -> String {
    let size = size.map_or(String::new(), |[width, height]| format!(" --input-size {width}x{height}"));
    format!("kiln serve {}{size}", shell_path(path))
}

/// Reads the network as a server does that is given the file; `None` if the reader fails on it.
fn read_at_start(path: &Path, size: Option<[u32; 2]>) -> Option<Result<(), ClassifierError>> {
    let image_size = size.map(|[width, height]| [height as usize, width as usize]);
    let options = ReadOptions { image_size, ..ReadOptions::default() };
    catch_unwind(AssertUnwindSafe(|| Classifier::open(path, &options).map(drop))).ok()
}

fn inspect_file(name: &str, path: &Path, size: Option<[u32; 2]>) -> Result<InspectedModel, ImportError> {
    let rejected = |reason: String| ModelError::Graph { model: name.to_string(), reason };
    let onnx = read_file(path, MAX_BYTES).map_err(|e| {
        ImportError::Rejected(format!("cannot read {}: {e}. Give the ONNX file of a classifier.", path.display()))
    })?;
    let file = OnnxFile::parse(&onnx).map_err(|reason| rejected(format!("this is not an ONNX file: {reason}")))?;
    if let Some(ExternalWeights { tensor, file }) = file.external_weights() {
        return Err(ImportError::ExternalWeights { tensor, file });
    }
    let graph = Graph::read(name, path, &file)?;
    let (input, output) = (graph.input(), graph.output());
    let axis = |shape: &Option<TensorShape>, axis: usize| shape.as_ref().and_then(|shape| shape.axis(axis));
    let inferred = axis(&input, 2).zip(axis(&input, 3));
    let given = size.map(|[width, height]| (height as usize, width as usize));
    let image_size = inferred.or(given);
    let (computed, declared) = (axis(&output, 1), file.declared_output_axis(1));
    let classes = computed.or(declared);
    // Unknown sizes pass this check, so that the first error is about what is wrong in the file.
    let (height, width) = image_size.unwrap_or((1, 1));
    graph.check_classifier([height, width], classes.unwrap_or(1)).map_err(rejected)?;
    let input = input.map(|input| input.name).unwrap_or_default();
    if image_size.is_none() {
        return Err(ImportError::NoSize { input });
    }
    if given.is_some_and(|given| given != (height, width)) {
        return Err(ImportError::OtherSize { input, width, height });
    }
    if let Some((computed, declared)) = computed.zip(declared).filter(|(computed, declared)| computed != declared) {
        return Err(rejected(format!(
            "its output declares {declared} classes, but the nodes before it give {computed}. Correct its axis, or export it again."
        ))
        .into());
    }
    let pixels = [checked_side(width).map_err(rejected)?, checked_side(height).map_err(rejected)?];
    let fused = fuse(&graph, [height, width]);
    if let (Ok(network), Some(classes)) = (&fused, classes) {
        network.check_classes(classes).map_err(rejected)?;
    }
    if fused.is_err() {
        graph.check_unfused().map_err(rejected)?;
    }
    let doubt = match fused.is_err().then(|| read_at_start(path, Some([pixels[0], pixels[1]]))) {
        Some(Some(Err(own @ ClassifierError::Operators(_)))) => Some(own.to_string()),
        _ => None,
    };
    let classes = classes.or(fused.as_ref().ok().map(|network| network.classes));
    let output = file.output();
    Ok(InspectedModel {
        path: path.to_path_buf(),
        input,
        width: pixels[0],
        height: pixels[1],
        classes: match classes.filter(|classes| *classes > 0) {
            None => return Err(ImportError::NoClasses { output }),
            Some(classes) if classes > MAX_CLASSES => return Err(ImportError::ManyClasses { output, classes }),
            Some(classes) => classes,
        },
        opset: file.opset(),
        producer: file.producer(),
        operators: file.operators(),
        unfused: fused.err().map(|unfusable| unfusable.to_string()),
        doubt,
        onnx,
    })
}

/// Checks one side of the input image, in pixels.
fn checked_side(side: usize) -> Result<u32, String> {
    /// More than any classifier uses, and small enough for an image to fit in memory.
    const MAX: usize = 16_384;
    match u32::try_from(side) {
        Ok(pixels) if (1..=MAX).contains(&side) => Ok(pixels),
        _ => Err(format!("its input has a side of {side} pixels, but from 1 to {MAX} are possible.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggested_command_has_the_size_and_a_path_that_a_shell_does_not_change() {
        for (path, size, expected) in [
            ("/srv/net.onnx", None, "kiln serve /srv/net.onnx"),
            ("/srv/net.onnx", Some([320, 224]), "kiln serve /srv/net.onnx --input-size 320x224"),
            ("my net.onnx", None, "kiln serve 'my net.onnx'"),
            ("it's.onnx", None, r"kiln serve 'it'\''s.onnx'"),
        ] {
            assert_eq!(serve_command(Path::new(path), size), expected);
        }
    }

    #[test]
    fn refusal_of_burn_onnx_names_no_remedy_that_fails() {
        let refused = |path: &Path| {
            let error = ModelError::Import { model: "net".to_string(), reason: "it is odd.".to_string() };
            explain(ImportError::Importer(error), path, None).to_string()
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.onnx");
        std::fs::write(&path, "no model").unwrap();
        let text = refused(&path);
        let expected = "model 'net' cannot be built in, because burn-onnx refuses it: it is odd. 'kiln serve' cannot serve it either: ";
        assert!(text.starts_with(expected) && text.contains("not an ONNX model"), "{text}");
        let text = refused(Path::new("tests/models/small-resnet/small-resnet.onnx"));
        assert!(text.ends_with("run: kiln serve tests/models/small-resnet/small-resnet.onnx"), "{text}");
    }
}
