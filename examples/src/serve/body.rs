//! Bodies, bounded in size and time.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::timeout;

use super::handlers::Refusal;

/// Reads a body of at most `limit` bytes within the given time.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    time: Duration,
) -> Result<Bytes, Refusal> {
    let too_large = || {
        let reason = format!("the body is larger than {limit} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
    };
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > limit as u64) {
        discard(body, limit, time).await;
        return Err(too_large());
    }
    match timeout(time, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => {
            Err(Refusal::new(StatusCode::BAD_REQUEST, format!("the body broke off: {error}")))
        }
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body took longer than {} s", time.as_secs()),
        )),
    }
}

/// Reads and forgets up to `limit` bytes. A client that is still sending when the connection is
/// closed often does not see the answer.
pub(super) async fn discard(body: Body, limit: usize, time: Duration) {
    let mut body = Limited::new(body, limit);
    let all = async { while let Some(Ok(_)) = body.frame().await {} };
    // Too much or too slow: then the connection is closed.
    let _ = timeout(time, all).await;
}
