//! Reads what comes back: headers that matter, and a body up to a limit.

use std::time::Duration;

use http::HeaderMap;
use http::header::{CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER};
use jiff::Timestamp;
use reqwest::Response;

use super::answer;
use super::error::{ErrorKind, Refusal};
use super::secret::Scrubber;

/// The largest list that is read. A farm of 10,000 brokers answers in about 4 MiB.
const MAX_LIST: usize = 16 << 20;
/// The largest answer about one thing that is read: many of these may be on their way at a time.
const MAX_OBJECT: usize = 256 << 10;
/// The largest error answer that is read; more would only be thrown away.
const MAX_ERROR_BODY: usize = 64 << 10;
/// No farm makes us wait longer than this by `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);

/// A success, as far as it was read.
pub(super) struct Received {
    pub(super) status: u16,
    pub(super) date: Option<Timestamp>,
    pub(super) body: Vec<u8>,
}

/// Why a body could not be read.
pub(super) enum ReadError {
    TooLarge { limit: usize },
    Page,
    Transport(reqwest::Error),
}

/// A success whose body says nothing that is wanted. It is looked at only for what no farm would send: the page of
/// something that stands before it, which did not do what was asked.
pub(super) async fn command(response: Response, words_time: Duration) -> Result<Received, ReadError> {
    let (status, date) = (response.status().as_u16(), date_of(response.headers()));
    let is_html = response.headers().get(CONTENT_TYPE).is_some_and(is_html);
    // What has come of a page tells enough, however long it is and however it ends.
    let mut body = Vec::new();
    drop(tokio::time::timeout(words_time, read_into(&mut body, response, MAX_ERROR_BODY)).await);
    if is_html && !body.trim_ascii().is_empty() || looks_like_a_page(&body) {
        return Err(ReadError::Page);
    }
    Ok(Received { status, date, body: Vec::new() })
}

fn is_html(content_type: &HeaderValue) -> bool {
    let essence = content_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    [&b"text/html"[..], b"application/xhtml+xml"].iter().any(|html| essence.eq_ignore_ascii_case(html))
}

/// Markup, or something packed: no farm packs what it was not asked to.
fn looks_like_a_page(body: &[u8]) -> bool {
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    text.trim_ascii_start().starts_with(b"<") || body.starts_with(b"\x1f\x8b")
}

/// A success with its body, which is a list.
pub(super) async fn list(response: Response) -> Result<Received, ReadError> {
    whole(response, MAX_LIST).await
}

/// A success with its body, which is about one thing.
pub(super) async fn object(response: Response) -> Result<Received, ReadError> {
    whole(response, MAX_OBJECT).await
}

async fn whole(response: Response, limit: usize) -> Result<Received, ReadError> {
    let (status, date) = (response.status().as_u16(), date_of(response.headers()));
    Ok(Received { status, date, body: read_body(response, limit).await? })
}

/// Anything but a success. The status alone decides; a body that cannot be read only leaves the refusal without words.
pub(super) async fn failure(response: Response, scrubber: &Scrubber, words_time: Duration) -> ErrorKind {
    let status = response.status().as_u16();
    if status < 400 {
        return ErrorKind::Redirected { status };
    }
    let date = date_of(response.headers());
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value, date));
    let body = match tokio::time::timeout(words_time, read_body(response, MAX_ERROR_BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    let (code, detail) = answer::problem(&body, scrubber);
    ErrorKind::Status(Refusal { status, retry_after, code, detail })
}

async fn read_body(response: Response, limit: usize) -> Result<Vec<u8>, ReadError> {
    let mut body = Vec::new();
    read_into(&mut body, response, limit).await?;
    Ok(body)
}

/// Reads in chunks, and stops where the limit is passed.
async fn read_into(body: &mut Vec<u8>, mut response: Response, limit: usize) -> Result<(), ReadError> {
    while let Some(chunk) = response.chunk().await.map_err(ReadError::Transport)? {
        if body.len() + chunk.len() > limit {
            let rest = limit - body.len();
            body.extend(chunk.iter().take(rest));
            return Err(ReadError::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(())
}

fn date_of(headers: &HeaderMap) -> Option<Timestamp> {
    headers.get(DATE).and_then(http_date)
}

fn http_date(value: &HeaderValue) -> Option<Timestamp> {
    let time = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    Timestamp::try_from(time).ok()
}

/// Seconds, or a date. A date is compared with the answer's own `Date`, so that clocks that differ do not matter;
/// without one it says nothing.
fn retry_after(value: &HeaderValue, date: Option<Timestamp>) -> Option<Duration> {
    let seconds = value.to_str().ok()?.trim();
    let wait = if !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are more than the cap.
        seconds.parse().map_or(MAX_RETRY_AFTER, Duration::from_secs)
    } else {
        Duration::try_from(http_date(value)?.duration_since(date?)).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(value: &str, date: Option<&str>) -> Option<Duration> {
        let header = HeaderValue::from_str(value).unwrap();
        retry_after(&header, date.and_then(|date| http_date(&HeaderValue::from_str(date).unwrap())))
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_capped() {
        assert_eq!(after("7", None), Some(Duration::from_secs(7)));
        assert_eq!(after("301", None), Some(MAX_RETRY_AFTER));
        assert_eq!(after("99999999999999999999999", None), Some(MAX_RETRY_AFTER));
        assert_eq!(after("", None), None);
        assert_eq!(after("-1", None), None);
        assert_eq!(after("soon", None), None);
    }

    #[test]
    fn retry_after_as_a_date_is_compared_with_the_answers_own_clock() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(after("Sun, 06 Nov 1994 08:49:47 GMT", date), Some(Duration::from_secs(10)));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:30 GMT", date), Some(Duration::ZERO));
        assert_eq!(after("Mon, 07 Nov 1994 08:49:37 GMT", date), Some(MAX_RETRY_AFTER));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:47 GMT", None), None);
    }
}
