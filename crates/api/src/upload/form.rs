//! The pictures of a form, and what a form may have besides.

use futures_util::stream;
use poem::web::Multipart;
use poem::{Body, FromRequest, Request, RequestBody, Result};

use super::super::body_limit::announced;
use super::super::error::Code;
use super::super::failure::Failure;
use super::gather;
use kiln_classifier::Picture;

/// Parts of a form that are no pictures are stepped over: so many of them, of so many bytes together. A browser may
/// send a few; nobody has a reason for thousands.
const MOST_OTHER_PARTS: usize = 100;
const MOST_OTHER_BYTES: usize = 64 << 10;

/// The pictures in fields of this name; at least one, and `most` of them at the most.
pub(super) async fn pictures(
    request: &Request,
    body: &mut RequestBody,
    name: &str,
    most: usize,
) -> Result<Vec<Picture>> {
    // The parser searches all that it holds of a header, or of what comes before the first part, whenever a piece has
    // come: a client that sent tiny pieces would keep it busy for minutes. So it gets the body whole, which is read once
    // the content type is found right, and then parses it in one go: no more bodies are held twice than there are threads.
    let gathered = stream::once(gather(announced(request), body.take()?));
    let mut body = RequestBody::new(Body::from_bytes_stream(gathered));
    let mut form = <Multipart as FromRequest>::from_request(request, &mut body).await?;
    let (mut pictures, mut others, mut other_bytes) = (Vec::new(), 0, 0);
    while let Some(field) = form.next_field().await? {
        if field.name() == Some(name) {
            if pictures.len() == most {
                return Err(malformed(format!("the form has more than {most} field '{name}'")));
            }
            let file_name = field.file_name().map(ToString::to_string);
            pictures.push(Picture { bytes: field.bytes().await?.into(), file_name });
            continue;
        }
        others += 1;
        other_bytes += field.bytes().await?.len();
        if others > MOST_OTHER_PARTS || other_bytes > MOST_OTHER_BYTES {
            let most = format!("{MOST_OTHER_PARTS} of them, of {MOST_OTHER_BYTES} bytes together, are stepped over");
            return Err(malformed(format!("the form has too many or too large parts beside '{name}'; {most}")));
        }
    }
    if pictures.is_empty() { Err(malformed(format!("the form has no field '{name}'"))) } else { Ok(pictures) }
}

fn malformed(message: String) -> poem::Error {
    Failure::new(Code::Malformed, message).into()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::{Duration, Instant};

    use bytes::Bytes;
    use futures_util::StreamExt;

    use super::*;

    /// A form whose every piece comes once the one before has been looked at.
    async fn in_pieces_of(piece: &'static [u8], count: usize) -> Result<Vec<Picture>> {
        let pieces = stream::iter(0..count).then(move |_| async move {
            tokio::task::yield_now().await;
            Ok::<_, io::Error>(Bytes::from_static(piece))
        });
        let request = Request::builder().header("Content-Type", "multipart/form-data; boundary=end").finish();
        pictures(&request, &mut RequestBody::new(Body::from_bytes_stream(pieces)), "file", 1).await
    }

    /// What has come so far must not be searched again whenever a little more comes: that would take minutes.
    #[tokio::test]
    async fn a_form_in_tiny_pieces_is_searched_once() {
        let started = Instant::now();
        assert_eq!(in_pieces_of(&[b'x'; 40], 200_000).await.unwrap_err().status(), 400);
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn parts_are_counted() {
        let part = b"--end\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n";
        for count in [MOST_OTHER_PARTS, MOST_OTHER_PARTS + 2] {
            // The form has no end, nor has its last part, which is the other thing that is wrong with it.
            let refused = in_pieces_of(part, count).await.unwrap_err().to_string();
            assert_eq!(refused.contains("too many or too large parts"), count > MOST_OTHER_PARTS, "{refused}");
        }
    }
}
