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
    mut body: Body,
    limit: usize,
    time: Duration,
) -> Result<Bytes, Refusal> {
    let too_large = || {
        let reason = format!("the body is larger than {limit} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
    };
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > limit as u64) {
        discard(body, time);
        return Err(too_large());
    }
    match timeout(time, Limited::new(&mut body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            discard(body, time);
            Err(too_large())
        }
        Ok(Err(error)) => {
            Err(Refusal::new(StatusCode::BAD_REQUEST, format!("the body broke off: {error}")))
        }
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body took longer than {} s", time.as_secs()),
        )),
    }
}

/// How long a body that is thrown away may pause.
const PAUSE: Duration = Duration::from_secs(5);

/// Reads on and forgets, for so long at most, while the refusal is being answered: a connection
/// that is closed on a client that is still sending is reset, and the answer is lost with it
/// (RFC 9112, 9.6).
pub(super) fn discard(mut body: Body, time: Duration) {
    let all = async move { while let Ok(Some(Ok(_))) = timeout(PAUSE, body.frame()).await {} };
    tokio::spawn(timeout(time, all));
}
