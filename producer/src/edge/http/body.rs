//! Bodies of bounded size, of the right media type, within a bounded time.

use std::time::Duration;

use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use bytes::Bytes;
use schemas::codes::Code;
use schemas::http::Problem;

/// Largest body in bytes that is read.
pub(crate) const MAX_BODY: usize = 64 * 1024;
/// How long a body may take to arrive.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);

/// Reads a body of media type `media`. The router's `DefaultBodyLimit` ends a body without a length.
///
/// # Errors
/// `BODY_TOO_LARGE` before anything is read when the length is announced, `UNSUPPORTED_MEDIA_TYPE`; `incomplete` when
/// the body does not arrive.
pub(crate) async fn read(request: Request, media: &str, incomplete: Code) -> Result<Bytes, Problem> {
    let headers = request.headers();
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(Problem::of(Code::BODY_TOO_LARGE));
    }
    let sent = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = sent.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(media) {
        return Err(Problem::of(Code::UNSUPPORTED_MEDIA_TYPE).with_detail(format!("send {media}")));
    }
    match tokio::time::timeout(ARRIVES_WITHIN, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)))) => {
            Err(Problem::of(Code::BODY_TOO_LARGE))
        }
        Ok(Err(_)) | Err(_) => Err(Problem::of(incomplete).with_detail("the body did not arrive as a whole")),
    }
}
