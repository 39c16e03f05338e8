//! Why a picture is not taken. Each is the sender's fault; the API gives each its status.

use super::format::Format;
use super::format_set::FormatSet;

/// Why a picture is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// No bytes at all. A malformed request.
    #[error("the picture has no bytes")]
    Empty,
    /// The first bytes are those of no known picture format. An unsupported media type.
    #[error("this is not a picture of a known format; accepted are {accepted}")]
    UnknownFormat {
        /// What would have been accepted.
        accepted: FormatSet,
    },
    /// A picture, but of a format that is not accepted here. An unsupported media type.
    #[error("this is a {format} picture; accepted are {accepted}")]
    FormatNotAccepted {
        /// What it is.
        format: Format,
        /// What would have been accepted.
        accepted: FormatSet,
    },
    /// The file's name has an extension that is not accepted here. An unsupported media type.
    #[error("files with the extension '{extension}' are not accepted; accepted are {accepted}")]
    ExtensionNotAccepted {
        /// The extension, made fit to be shown.
        extension: String,
        /// What would have been accepted.
        accepted: FormatSet,
    },
    /// More pixels than may be decoded, by the header. Content too large.
    #[error("the picture has {width}x{height} pixels; at most {limit} pixels are decoded")]
    TooManyPixels {
        /// As the header has it.
        width: u32,
        /// As the header has it.
        height: u32,
        /// Pixels, not bytes.
        limit: u64,
    },
    /// More bytes than decoded pictures may take together, by the header. Content too large.
    #[error("decoded, the {format} picture takes {bytes} bytes; at most {limit} are to be had")]
    TooManyBytes {
        /// What it is.
        format: Format,
        /// What it takes.
        bytes: u64,
        /// What there is for all.
        limit: u64,
    },
    /// The right format, but broken. Unprocessable content.
    #[error("the {format} picture cannot be decoded: {reason}")]
    Undecodable {
        /// What it claims to be.
        format: Format,
        /// What the decoder said.
        reason: String,
    },
}
