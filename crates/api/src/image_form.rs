//! Reads forms of images (`multipart/form-data`, RFC 7578) in bounded time and memory: the number of parts, and the size of the
//! parts that are not images.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use memchr::memmem::Finder;
use multer::Multipart;
use poem::http::header::CONTENT_TYPE;
use poem::{Request, RequestBody};

use super::body_limit::UnreadBody;
use super::error::{ApiError, ErrorCode};
use kiln_classifier::EncodedImage;
use kiln_runtime::blocking::run_blocking;

/// Parts of a form that are not images are skipped, up to these totals. A browser may send a few; thousands are abuse.
const MAX_OTHER_PARTS: usize = 100;
const MAX_OTHER_BYTES: usize = 64 << 10;

/// Forms of this size and larger are parsed on a blocking thread, since that takes long enough to delay other connections.
const PARSE_ON_THREAD_BYTES: usize = 256 << 10;

/// The parts are counted whenever this number of bytes has arrived.
const COUNT_STEP: usize = 16 << 10;

/// A form, before it is read.
#[derive(Debug)]
pub(super) struct UnreadForm {
    body: UnreadBody,
    boundary: String,
}

impl UnreadForm {
    /// Takes the body of a request.
    ///
    /// # Errors
    ///
    /// The content type of the request is not that of a form.
    pub(super) fn take(request: &Request, body: &mut RequestBody) -> Result<Self, ApiError> {
        let content_type = request.header(CONTENT_TYPE).unwrap_or_default();
        let boundary = multer::parse_boundary(content_type).map_err(|error| match error {
            multer::Error::NoBoundary => ApiError::malformed("the content type of the form has no boundary"),
            _ => {
                let message = "the content type is not multipart/form-data";
                ApiError::new(ErrorCode::UnsupportedContentType, message)
            }
        })?;
        Ok(Self { body: UnreadBody::take(request, body)?, boundary })
    }

    /// Reads the form and returns the images in the fields called `name`: at least one, and at most `max`. A form with more
    /// gets the error `too_many`, before the rest of it is received.
    ///
    /// # Errors
    ///
    /// The body cannot be read, the form does not parse, or it has no, too many or other parts.
    pub(super) async fn read(
        self,
        name: &'static str,
        max: usize,
        too_many: ApiError,
    ) -> Result<Vec<EncodedImage>, ApiError> {
        let Self { body, boundary } = self;
        let limit = body.limit();
        let mut parts = PartCounter::new(&boundary);
        // A form with more parts than this has too many of one kind, which the parser finds in the part that has arrived.
        let max_parts = max.saturating_add(MAX_OTHER_PARTS + 1);
        // The parser searches everything that it holds of a header or of the preamble whenever a piece arrives, so tiny pieces
        // would keep it busy for minutes. It gets all bytes at once.
        let bytes = body.read_while(|arrived| parts.count(arrived) <= max_parts).await?;
        let parse = move |bytes| parse(bytes, boundary, name, max, too_many);
        match bytes.len() < PARSE_ON_THREAD_BYTES {
            true => parse(bytes),
            false => {
                let parse = move || {
                    // The bytes count as long as the parser has them, also if the client disconnects.
                    let _limit = limit;
                    parse(bytes)
                };
                run_blocking(parse).await
            }
        }
    }
}

/// Counts the parts of a form while it arrives, each byte about once.
struct PartCounter {
    /// Ends a part.
    delimiter: Finder<'static>,
    step: usize,
    searched: usize,
    parts: usize,
}

impl PartCounter {
    fn new(boundary: &str) -> Self {
        let delimiter = Finder::new(format!("\r\n--{boundary}").as_bytes()).into_owned();
        // The last bytes of each step are searched again, because a delimiter may begin there.
        let step = COUNT_STEP.max(4 * delimiter.needle().len());
        Self { delimiter, step, searched: 0, parts: 0 }
    }

    /// Returns the number of parts that are known to be complete in `arrived`, which continues the bytes of the previous call.
    /// Words before the first part may count as one.
    fn count(&mut self, arrived: &[u8]) -> usize {
        if arrived.len() - self.searched < self.step {
            return self.parts;
        }
        let length = self.delimiter.needle().len();
        let mut end = self.searched;
        for found in self.delimiter.find_iter(&arrived[self.searched..]) {
            self.parts += 1;
            end = self.searched + found + length;
        }
        self.searched = end.max(arrived.len() + 1 - length);
        self.parts
    }
}

/// Parses the bytes of a form. See [`UnreadForm::read`].
fn parse(
    bytes: Bytes,
    boundary: String,
    name: &str,
    max: usize,
    too_many: ApiError,
) -> Result<Vec<EncodedImage>, ApiError> {
    let body = stream::iter([Ok::<_, Infallible>(bytes)]);
    let parsed = read_parts(Multipart::new(body, boundary), name, max, too_many);
    // All bytes are there, so the parser never waits.
    parsed.now_or_never().unwrap_or_else(|| Err(ApiError::internal()))
}

async fn read_parts(
    mut form: Multipart<'_>,
    name: &str,
    max: usize,
    too_many: ApiError,
) -> Result<Vec<EncodedImage>, ApiError> {
    let malformed = |error: multer::Error| ApiError::malformed_quoting(&format!("the form does not parse: {error}"));
    let (mut images, mut other_parts, mut other_bytes) = (Vec::new(), 0, 0);
    while let Some(mut field) = form.next_field().await.map_err(malformed)? {
        if field.name() == Some(name) {
            if images.len() == max {
                return Err(too_many);
            }
            let file_name = field.file_name().map(ToString::to_string);
            images.push(EncodedImage { bytes: field.bytes().await.map_err(malformed)?, file_name });
            continue;
        }
        other_parts += 1;
        while let Some(piece) = field.chunk().await.map_err(malformed)? {
            other_bytes += piece.len();
        }
        if other_parts > MAX_OTHER_PARTS || other_bytes > MAX_OTHER_BYTES {
            return Err(ApiError::malformed(format!(
                "the form has too many or too large parts besides '{name}'; the maximum is {MAX_OTHER_PARTS} parts and \
                 {MAX_OTHER_BYTES} bytes in total"
            )));
        }
    }
    if images.is_empty() {
        return Err(ApiError::malformed(format!("the form has no field '{name}'")));
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use futures_util::{StreamExt, poll};
    use poem::Body;

    use super::super::body_limit::{BodyBudget, BodyLimit};
    use super::*;

    const PART: &[u8] = b"--end\r\nContent-Disposition: form-data; name=\"files\"\r\n\r\nx\r\n";
    const OTHER: &[u8] = b"--end\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n";
    const END: &[u8] = b"--end--\r\n";

    fn form(body: Body) -> UnreadForm {
        let mut request = Request::builder()
            .header("Content-Type", "multipart/form-data; boundary=end")
            .header("Transfer-Encoding", "chunked")
            .finish();
        request.set_data(BodyLimit::new(usize::MAX, &BodyBudget::new(usize::MAX)));
        UnreadForm::take(&request, &mut RequestBody::new(body)).unwrap()
    }

    /// Reads a form whose pieces arrive one by one, each after the reader has seen the one before. Also returns the number of
    /// pieces that were read.
    async fn read_pieces(
        pieces: impl Iterator<Item = &'static [u8]> + Send + 'static,
        max: usize,
    ) -> (Result<Vec<EncodedImage>, ApiError>, usize) {
        let read = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&read);
        let pieces = stream::iter(pieces).then(move |piece| {
            count.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::task::yield_now().await;
                Ok::<_, io::Error>(Bytes::from_static(piece))
            }
        });
        let too_many = ApiError::new(ErrorCode::TooManyFiles, "too many files");
        let outcome = form(Body::from_bytes_stream(pieces)).read("files", max, too_many).await;
        (outcome, read.load(Ordering::Relaxed))
    }

    fn repeat(piece: &'static [u8], count: usize) -> impl Iterator<Item = &'static [u8]> + Send + 'static {
        std::iter::repeat_n(piece, count)
    }

    /// A parser that searches all earlier bytes again for each piece would take minutes.
    #[tokio::test]
    async fn form_in_tiny_pieces_is_parsed_in_linear_time() {
        let started = Instant::now();
        let (outcome, _) = read_pieces(repeat(&[b'x'; 40], 200_000), 1).await;
        assert_eq!(outcome.unwrap_err().code, ErrorCode::Malformed);
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn too_many_parts_are_refused_before_the_rest_arrives() {
        for (part, code) in [(PART, ErrorCode::TooManyFiles), (OTHER, ErrorCode::Malformed)] {
            let (outcome, read) = read_pieces(repeat(part, 400_000), 32).await;
            assert_eq!(outcome.unwrap_err().code, code);
            // The parts of one or two steps of counting.
            assert!(read < 1000, "{read} parts were read");
        }
    }

    #[tokio::test]
    async fn every_form_within_the_bounds_is_accepted() {
        let (max, others) = (600, MAX_OTHER_PARTS);
        for preamble in [&b""[..], b"words\r\n"] {
            for (files, accepted) in [(max, true), (max + 1, false)] {
                let parts = repeat(OTHER, others).chain(repeat(PART, files));
                let (outcome, _) = read_pieces([preamble].into_iter().chain(parts).chain([END]), max).await;
                let images = outcome.map(|images| images.len()).map_err(|error| error.code);
                let expected = if accepted { Ok(files) } else { Err(ErrorCode::TooManyFiles) };
                assert_eq!(images, expected);
            }
        }
        let (outcome, _) = read_pieces(repeat(OTHER, others + 1).chain([PART, END]), max).await;
        assert!(outcome.unwrap_err().message.contains("too many or too large parts"));
    }

    #[test]
    fn parts_are_counted_across_pieces() {
        let text = [b"preamble".to_vec(), b"\r\n--end\r\n\r\n".repeat(50_000)].concat();
        for piece in [1, 7, 1000, COUNT_STEP, text.len()] {
            let mut counter = PartCounter::new("end");
            let mut parts = 0;
            for end in (piece..=text.len()).step_by(piece) {
                parts = counter.count(&text[..end]);
            }
            assert!((48_000..=50_000).contains(&parts), "{parts} parts in pieces of {piece} bytes");
        }
    }

    /// The runtime has one async thread, which serves all other connections.
    #[tokio::test]
    async fn large_form_is_parsed_outside_the_async_thread() {
        let image = vec![b'x'; 8 << 20];
        let body = [&PART[..PART.len() - 3], &image[..], &b"\r\n"[..], END].concat();
        let mut reading = std::pin::pin!(form(Body::from_bytes(body.into())).read("files", 1, ApiError::internal()));
        // The whole body is there, so only the parser can make the reader wait.
        assert!(poll!(reading.as_mut()).is_pending(), "the form was parsed on the async thread");
        assert_eq!(reading.await.unwrap()[0].bytes.len(), image.len());
    }
}
