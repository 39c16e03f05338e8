//! Recognises files that are no ONNX models by their first bytes.

/// The number of bytes that are compared.
pub(super) const MAX_MAGIC: u64 = 256;
/// The next step for a file that lacks a part.
pub(super) const COPY_AGAIN: &str = "If the file was cut off, copy it again; otherwise export the model again.";

/// Says what is wrong with a file that is no ONNX model, and the next step. `bytes` is the file or its beginning, and `reason` a
/// clause for files whose format is not known.
pub(crate) fn explain_malformed(bytes: &[u8], reason: &str) -> String {
    match other_format(bytes) {
        Some(other) => other.to_string(),
        None => format!("{reason}. {COPY_AGAIN}"),
    }
}

/// Names the format of a file that is no ONNX model, if it is a known one, and the next step. `bytes` is the file or its beginning.
fn other_format(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.trim_ascii_start();
    let is_markup = |tag: &str| text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag.as_bytes()));
    // The length of a JSON header comes first.
    let is_safetensors = bytes.get(4..10).is_some_and(|header| header == b"\0\0\0\0{\"");
    Some(match bytes {
        [b'P', b'K', 3, 4, ..] => {
            "it is a ZIP archive. If it is a PyTorch checkpoint, export the model (torch.onnx.export); if it is a Keras model, \
             convert it with tf2onnx; otherwise unpack it."
        }
        [0x80, 2..=5, ..] => {
            "it is a Python pickle, as an old PyTorch checkpoint is. Export the model from PyTorch (torch.onnx.export)."
        }
        [_, _, _, _, b'T', b'F', b'L', b'3', ..] => {
            "it is a TensorFlow Lite model. Convert it: python -m tf2onnx.convert --tflite FILE --output model.onnx."
        }
        [0x89, b'H', b'D', b'F', ..] => "it is an HDF5 file, as a Keras model is. Convert the model with tf2onnx.",
        [0x1f, 0x8b, ..] => "it is compressed with gzip. Unpack it.",
        _ if is_safetensors => {
            "it is a safetensors file, which has weights but no network. Export the model from PyTorch (torch.onnx.export)."
        }
        _ if bytes.starts_with(b"version https://git-lfs") => {
            "it is a pointer of Git LFS in place of the file. Fetch the file: git lfs pull."
        }
        _ if is_markup("<!doctype html") || is_markup("<html") => {
            "it is a web page, which a failed download may leave. Download the file again."
        }
        _ if is_markup("<?xml") => "it is an XML file, as an OpenVINO model is. Export the model as ONNX.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_are_named_with_the_next_step() {
        for (bytes, parts) in [
            (&b"PK\x03\x04archive/data.pkl"[..], ["PyTorch", "torch.onnx.export"]),
            (b"PK\x03\x04metadata.json", ["Keras", "otherwise unpack it"]),
            (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j", ["pickle", "torch.onnx.export"]),
            (b"\x1c\0\0\0TFL3\0\0", ["TensorFlow Lite", "tf2onnx"]),
            (b"\x89HDF\r\n\x1a\n", ["Keras", "tf2onnx"]),
            (b"\x1f\x8b\x08\0", ["gzip", "Unpack"]),
            (b"\x37\0\0\0\0\0\0\0{\"a\":{}}", ["safetensors", "torch.onnx.export"]),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", ["Git LFS", "git lfs pull"]),
            (b"\n<!DOCTYPE html><html>", ["web page", "Download"]),
            (b"<?xml version=\"1.0\"?><net>", ["OpenVINO", "as ONNX"]),
        ] {
            let text = other_format(bytes).unwrap_or_else(|| panic!("{bytes:?}"));
            assert!(parts.iter().all(|part| text.contains(part)) && text.ends_with('.'), "{text}");
        }
    }

    #[test]
    fn onnx_files_and_unknown_bytes_have_no_other_format() {
        // The version of the format, and the name of the program that wrote the file.
        for bytes in [&b"\x08\x08\x12\x07pytorch"[..], b"", b"P", b"hello"] {
            assert_eq!(other_format(bytes), None, "{bytes:?}");
        }
    }
}
