//! Reads a request's body with a cap and in time, and JSON from it with errors that name the place.

use std::convert::Infallible;
use std::pin::pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use posthaste_api::Problem;
use posthaste_types::ErrorCode;
use posthaste_types::limits::{BODY_BYTES_PER_S_MIN, BODY_DISCARD_BYTES_MAX, BODY_GRACE_S, BODY_READ_S_MAX};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};
use warp::{Filter, Rejection};

use crate::caller::Caller;
use crate::held::Held;
use crate::reject::refuse;
use crate::{json_text, pointer};

/// What `Content-Type` says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MediaType {
    Json,
    Other,
}

impl FromStr for MediaType {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let essence = text
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let is_json = essence == "application/json"
            || (essence.starts_with("application/") && essence.ends_with("+json"));
        Ok(if is_json { Self::Json } else { Self::Other })
    }
}

/// The head of a request as far as it decides how the body is read.
#[derive(Clone, Copy)]
struct Head {
    media_type: Option<MediaType>,
    length: Option<u64>,
    /// The caller waits for `100 Continue` before it sends the body.
    expects: bool,
    /// It is compressed, say: nothing here undoes that.
    is_coded: bool,
}

/// A JSON body as bytes: 415 when it is not declared as JSON or is coded, 413 past `bytes_max` or what the caller's tenant may send,
/// 408 when it does not come in time, 429 or 503 when the bodies of its tenant or of all are too many bytes at once.
pub fn body(
    bytes_max: usize,
) -> impl Filter<Extract = (Bytes,), Error = Rejection> + Copy + Send + Sync + 'static {
    head()
        .and(warp::ext::optional::<Caller>())
        .and(warp::body::stream())
        .and_then(move |head: Head, caller: Option<Caller>, stream| async move {
            let quota = caller.map(|caller| Arc::clone(caller.quota()));
            let of_tenant = quota.as_ref().and_then(|quota| quota.limits().body_bytes);
            let bytes_max = of_tenant
                .and_then(|bytes| usize::try_from(bytes).ok())
                .map_or(bytes_max, |of_tenant| bytes_max.min(of_tenant));
            read(head, stream, bytes_max, Held::new(quota))
                .await
                .map_err(refuse)
        })
}

/// A JSON body as `T`: [`body`]'s refusals, and 400 with a JSON Pointer when it does not fit.
pub fn json_body<T: DeserializeOwned + Send>(
    bytes_max: usize,
) -> impl Filter<Extract = (T,), Error = Rejection> + Copy + Send + Sync + 'static {
    body(bytes_max).and_then(|bytes: Bytes| std::future::ready(parse_json(&bytes, "").map_err(refuse)))
}

fn head() -> impl Filter<Extract = (Head,), Error = Rejection> + Copy + Send + Sync + 'static {
    warp::header::optional("content-type")
        .and(warp::header::optional("content-length"))
        .and(warp::header::optional::<String>("expect"))
        .and(warp::header::optional::<String>("content-encoding"))
        .map(
            |media_type, length, expect: Option<String>, coding: Option<String>| Head {
                media_type,
                length,
                expects: expect.is_some(),
                is_coded: coding.is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")),
            },
        )
}

async fn read<B: Buf>(
    head: Head,
    stream: impl Stream<Item = Result<B, warp::Error>> + Send,
    bytes_max: usize,
    held: Held,
) -> Result<Bytes, Problem> {
    let mut stream = pin!(stream);
    let reading = async {
        if head.media_type != Some(MediaType::Json) {
            return Err(refuse_unread(head, stream.as_mut(), unsupported()).await);
        }
        if head.is_coded {
            return Err(refuse_unread(head, stream.as_mut(), coded()).await);
        }
        if head.length.is_some_and(|length| length > bytes_max as u64) {
            return Err(refuse_unread(head, stream.as_mut(), too_large(bytes_max)).await);
        }
        match collect(head, stream.as_mut(), bytes_max, held).await {
            Err(Broken::More(refusal)) => Err(refuse_unread(head, stream.as_mut(), refusal).await),
            Err(Broken::Off(refusal)) => Err(refusal),
            Ok(bytes) => Ok(bytes),
        }
    };
    tokio::time::timeout(Duration::from_secs(BODY_READ_S_MAX), reading)
        .await
        .unwrap_or_else(|_| Err(too_late()))
}

/// Why a body is not read to its end.
enum Broken {
    /// More of it comes, and is not wanted.
    More(Problem),
    /// No more of it comes, or not in time.
    Off(Problem),
}

/// The whole body. One in one piece is neither copied nor counted.
async fn collect<B: Buf>(
    head: Head,
    mut stream: impl Stream<Item = Result<B, warp::Error>> + Unpin,
    bytes_max: usize,
    mut held: Held,
) -> Result<Bytes, Broken> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    let began = Instant::now();
    loop {
        let count = first.len().max(all.len());
        let next = timeout_at(began + grace(count), stream.next()).await;
        let Some(piece) = next.map_err(|_| Broken::Off(too_slow()))? else {
            break;
        };
        let mut piece = piece.map_err(|_| Broken::Off(broke_off()))?;
        let length = piece.remaining();
        if count + length > bytes_max {
            return Err(Broken::More(too_large(bytes_max)));
        }
        if count > 0 || head.length != Some(length as u64) {
            held.grow(length).map_err(Broken::More)?;
        }
        if count == 0 {
            first = piece.copy_to_bytes(length);
            continue;
        }
        if all.is_empty() {
            // The declared length was checked; without one the buffer grows as it must.
            all.reserve(
                head.length
                    .and_then(|length| usize::try_from(length).ok())
                    .unwrap_or(2 * length),
            );
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&piece.copy_to_bytes(length));
    }
    Ok(if all.is_empty() {
        first
    } else {
        held.hold(all.freeze())
    })
}

/// When a body must have gone on of which `count` bytes have come.
fn grace(count: usize) -> Duration {
    Duration::from_secs(BODY_GRACE_S) + Duration::from_millis(1000 * count as u64 / BODY_BYTES_PER_S_MIN)
}

/// Reads on, into nothing and up to a bound, before a refusal is answered, for the reason that `discard.rs` has.
async fn refuse_unread<B: Buf>(
    head: Head,
    mut stream: impl Stream<Item = Result<B, warp::Error>> + Unpin,
    refusal: Problem,
) -> Problem {
    if head.expects
        || head
            .length
            .is_some_and(|length| length > BODY_DISCARD_BYTES_MAX as u64)
    {
        return refusal;
    }
    let mut discarded = 0;
    while let Some(Ok(piece)) = stream.next().await {
        discarded += piece.remaining();
        if discarded > BODY_DISCARD_BYTES_MAX {
            break;
        }
    }
    refusal
}

fn unsupported() -> Problem {
    Problem::new(
        ErrorCode::UnsupportedMediaType,
        "send the body with `content-type: application/json`",
    )
}

fn coded() -> Problem {
    Problem::new(
        ErrorCode::UnsupportedMediaType,
        "send the body as it is, without `content-encoding`",
    )
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(
        ErrorCode::BodyTooLarge,
        format!("the body may have {bytes_max} bytes"),
    )
}

fn too_late() -> Problem {
    Problem::new(
        ErrorCode::RequestTimeout,
        format!("the body must come within {BODY_READ_S_MAX} s"),
    )
}

fn broke_off() -> Problem {
    Problem::new(ErrorCode::InvalidRequest, "the body broke off")
}

fn too_slow() -> Problem {
    let detail =
        format!("after {BODY_GRACE_S} s the body must come at {BODY_BYTES_PER_S_MIN} bytes/s or more");
    Problem::new(ErrorCode::RequestTimeout, detail)
}

/// What keeps a text from being read at all (RFC 8259, section 8.1), which a parser tells in words of its own.
fn not_utf8(text: &[u8]) -> Option<Problem> {
    let refuse = |detail: String| Some(Problem::new(ErrorCode::InvalidRequest, detail));
    if text.starts_with(b"\xef\xbb\xbf") {
        return refuse(
            "the body begins with a byte order mark, which JSON may not; send it without".to_owned(),
        );
    }
    let error = std::str::from_utf8(text).err()?;
    let at = error.valid_up_to();
    refuse(format!(
        "the body is not UTF-8: byte {at}, counted from 0, is {:#04x} and begins no whole character",
        text[at]
    ))
}

/// `T` from a JSON object, which every body of the contract is.
///
/// `prefix` is put before the pointers of the errors: where `text` stands in the request's body.
///
/// # Errors
/// 400 `invalid_request`: with line and column when it is no JSON, with a JSON Pointer when it does not fit `T`, or when it
/// is nested too deep, has half of a surrogate pair, or a name twice in one object.
pub fn parse_json<T: DeserializeOwned>(text: &[u8], prefix: &str) -> Result<T, Problem> {
    let value = parse_json_envelope(text, prefix)?;
    json_text::check(text).map_err(|unusable| {
        let pointer = format!("{prefix}{}", unusable.pointer);
        let detail = format!("`{pointer}` {}", unusable.detail);
        Problem::new(ErrorCode::InvalidRequest, detail).with_field(pointer, unusable.detail)
    })?;
    Ok(value)
}

/// [`parse_json`] for a body whose parts are kept as text, each of which that is still to judge.
///
/// # Errors
/// As [`parse_json`], but of what is in the parts.
pub fn parse_json_envelope<T: DeserializeOwned>(text: &[u8], prefix: &str) -> Result<T, Problem> {
    match serde_json::from_slice(text) {
        // serde would take a struct's fields from an array too, by position.
        Ok(value) if text.trim_ascii_start().starts_with(b"{") => Ok(value),
        Err(error) if !text.trim_ascii_start().starts_with(b"[") => {
            Err(not_utf8(text).unwrap_or_else(|| pointer::problem(text, prefix, &error)))
        }
        Ok(_) | Err(_) => {
            let detail = "must be a JSON object";
            Err(
                Problem::new(ErrorCode::InvalidRequest, format!("the body {detail}"))
                    .with_field(prefix, detail),
            )
        }
    }
}
