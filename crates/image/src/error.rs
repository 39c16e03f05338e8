//! The reasons for which an image is rejected. Each is the client's fault; the API maps each to its status.

use super::format::{Format, FormatSet};
use super::other_formats::OtherFormat;

/// Why an image is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// There are no bytes. A malformed request.
    #[error("the image is empty")]
    Empty,
    /// The first bytes match no known image format. An unsupported media type.
    #[error("not an image of a known format; accepted formats are {accepted}")]
    UnknownFormat {
        /// The accepted formats.
        accepted: FormatSet,
    },
    /// The first bytes are those of a format that Kiln does not decode. An unsupported media type.
    #[error("the file is {}, which Kiln does not decode; {}", .0.name, .0.advice)]
    OtherFormat(OtherFormat),
    /// The image has a known format that is not accepted. An unsupported media type.
    #[error("{format} images are not accepted; accepted formats are {accepted}")]
    FormatNotAccepted {
        /// The format of the image.
        format: Format,
        /// The accepted formats.
        accepted: FormatSet,
    },
    /// The file name has an extension that is not accepted. An unsupported media type.
    #[error("files with the extension '{extension}' are not accepted; accepted extensions are {accepted}")]
    ExtensionNotAccepted {
        /// The extension, sanitised.
        extension: String,
        /// The accepted formats.
        accepted: FormatSet,
    },
    /// The header declares more pixels than are allowed. Content too large.
    #[error("the image has {width}x{height} pixels; the maximum is {limit} pixels")]
    TooManyPixels {
        /// The declared width in pixels.
        width: u32,
        /// The declared height in pixels.
        height: u32,
        /// The maximum, in pixels.
        limit: u64,
    },
    /// The decoded image needs more bytes than all decoded images may use together, by the header. Content too large.
    #[error("the decoded {format} image needs {bytes} bytes; the maximum is {limit} bytes")]
    TooManyBytes {
        /// The format of the image.
        format: Format,
        /// The number of bytes that decoding needs.
        bytes: u64,
        /// The capacity of the decode budget, in bytes.
        limit: u64,
    },
    /// The image has an accepted format, but it cannot be decoded. Unprocessable content.
    #[error("the {format} image cannot be decoded: {reason}")]
    Undecodable {
        /// The format by the first bytes.
        format: Format,
        /// The reason that the decoder reports.
        reason: String,
    },
}
