//! Looks at an ONNX file as the build will: is it a classifier, of what, and will it run on the fused kernels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::Refusal;
use super::import_error::ImportError;
use super::read_file::read_file;
use super::{fuse, graph, proto};

/// The most bytes of such a file. Protobuf ends at 2 GiB.
const MOST_BYTES: u64 = 2 << 30;
/// The most classes: a label is made for each. ImageNet has 21,841 in all.
const MOST_CLASSES: usize = 1_000_000;

/// An ONNX file that the build will take.
#[derive(Clone, Debug)]
pub struct Network {
    /// The file.
    pub path: PathBuf,
    /// Its content.
    pub(super) onnx: Vec<u8>,
    /// Name of its input.
    pub input: String,
    /// Width of the picture that it takes, in pixels.
    pub width: u32,
    /// Height of the picture that it takes, in pixels.
    pub height: u32,
    /// How many classes it tells apart.
    pub classes: usize,
    /// The version of ONNX's operators that it is written in, if it says so.
    pub opset: Option<i64>,
    /// The program that wrote it, if it says so.
    pub producer: String,
    /// Its operators and how often each occurs.
    pub operators: BTreeMap<String, usize>,
    /// What keeps it from Kiln's fused kernels, if anything does: then it runs on Burn's operations, slower.
    pub unfused: Option<String>,
}

/// Reads `path` and checks all that the build will check. `size` is the width and height of the pictures, for a network that
/// leaves them open.
///
/// # Errors
///
/// What is wrong and the next step: [`ImportError`]. A file that the ONNX parser panics at is refused like any other; the
/// panic's message still goes to the process's panic hook.
pub fn inspect(path: &Path, size: Option<[u32; 2]>) -> Result<Network, ImportError> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Refusal::catch(&name, || look(&name, path, size))
}

fn look(name: &str, path: &Path, size: Option<[u32; 2]>) -> Result<Network, ImportError> {
    let refuse = |reason: String| Refusal::Graph { model: name.to_string(), reason };
    let onnx = read_file(path, MOST_BYTES).map_err(|e| {
        ImportError::Refused(format!("cannot read {}: {e}. Give the ONNX file of a classifier.", path.display()))
    })?;
    let file = proto::read(&onnx).map_err(|reason| refuse(format!("this is no ONNX file: {reason}.")))?;
    if let Some((tensor, file)) = proto::outside_weights(&file) {
        return Err(ImportError::OutsideWeights { tensor, file });
    }
    let graph = graph::parse(name, path, &file)?;
    let axis = |argument: Option<&onnx_ir::ir::Argument>, axis: usize| {
        argument.and_then(|argument| graph::shape(argument).get(axis).copied().flatten())
    };
    let (input, output) = (graph.inputs.first(), graph.outputs.first());
    let own = axis(input, 2).zip(axis(input, 3));
    let given = size.map(|[width, height]| (height as usize, width as usize));
    let known = own.or(given);
    let (computed, declared) = (axis(output, 1), proto::output_axis(&file, 1));
    let known_classes = computed.or(declared);
    // Whatever is open goes unchecked, so that what is wrong elsewhere is told first.
    let (height, width) = known.unwrap_or((1, 1));
    graph::check_classifier(&graph, [height, width], known_classes.unwrap_or(1)).map_err(refuse)?;
    let input = input.map(|input| input.name.clone()).unwrap_or_default();
    if known.is_none() {
        return Err(ImportError::NoSize { input });
    }
    if given.is_some_and(|given| given != (height, width)) {
        return Err(ImportError::OtherSize { input, width, height });
    }
    if let Some((computed, declared)) = computed.zip(declared).filter(|(computed, declared)| computed != declared) {
        return Err(refuse(format!(
            "its output is said to have {declared} classes, but what leads to it gives {computed}. Correct its axis, or export it \
             again."
        ))
        .into());
    }
    let size = [pixels(width).map_err(refuse)?, pixels(height).map_err(refuse)?];
    let fused = fuse::fuse(&graph, [height, width]);
    if let (Ok(network), Some(classes)) = (&fused, known_classes) {
        network.check_classes(classes).map_err(refuse)?;
    }
    let classes = known_classes.or(fused.as_ref().ok().map(|network| network.outputs));
    let output = output.map(|output| output.name.clone()).unwrap_or_default();
    Ok(Network {
        path: path.to_path_buf(),
        input,
        width: size[0],
        height: size[1],
        classes: match classes.filter(|classes| *classes > 0) {
            None => return Err(ImportError::NoClasses { output }),
            Some(classes) if classes > MOST_CLASSES => return Err(ImportError::ManyClasses { output, classes }),
            Some(classes) => classes,
        },
        opset: proto::opset(&file),
        producer: format!("{} {}", file.producer_name, file.producer_version).trim().to_string(),
        operators: proto::operators(&file),
        unfused: fused.err().map(|obstacle| obstacle.to_string()),
        onnx,
    })
}

/// A side of the input, which is a picture's.
fn pixels(side: usize) -> Result<u32, String> {
    /// More than any classifier takes, and little enough to be held.
    const MOST: usize = 16_384;
    match u32::try_from(side) {
        Ok(pixels) if (1..=MOST).contains(&side) => Ok(pixels),
        _ => Err(format!("its input has a side of {side} pixels, but from 1 to {MOST} are possible.")),
    }
}
