//! The id of a request, by which a caller finds it in our logs and we in the caller's.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use posthaste_types::limits::REQUEST_ID_LEN_MAX;
use uuid::Uuid;
use warp::http::header::HeaderName;
use warp::http::{HeaderMap, HeaderValue};

/// The header that carries it both ways.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request: the caller's `X-Request-Id`, or one that was made here. Extract it with `warp::ext::get`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The id, 1 to [`REQUEST_ID_LEN_MAX`] visible ASCII characters.
    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("made of visible ASCII")
    }

    pub(crate) fn into_header(self) -> HeaderValue {
        self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The address that a request's connection came from; behind a proxy, the proxy's. Extract it with `warp::ext::get`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Takes or makes ids.
#[derive(Debug)]
pub(crate) struct RequestIds {
    /// Tells the ids of one listener from another's.
    listener: u64,
    made: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        Self {
            listener: Uuid::new_v4().as_u64_pair().1,
            made: AtomicU64::new(0),
        }
    }

    /// The caller's own when it is usable.
    pub(crate) fn of(&self, headers: &HeaderMap) -> RequestId {
        headers
            .get(REQUEST_ID)
            .filter(|value| is_usable(value))
            .map_or_else(|| self.make(), |value| RequestId(value.clone()))
    }

    fn make(&self) -> RequestId {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let number =
            (u128::from(self.listener) << 64) | u128::from(self.made.fetch_add(1, Ordering::Relaxed));
        // Every request passes here: formatting machinery would cost more than the rest.
        let text: [u8; 32] = std::array::from_fn(|index| HEX[(number >> (124 - 4 * index)) as usize & 0xf]);
        RequestId(HeaderValue::from_bytes(&text).expect("hexadecimal digits"))
    }
}

fn is_usable(value: &HeaderValue) -> bool {
    (1..=REQUEST_ID_LEN_MAX).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usable_ids_are_taken_and_others_replaced() {
        let ids = RequestIds::new();
        let mut headers = HeaderMap::new();
        let longest = "x".repeat(REQUEST_ID_LEN_MAX);
        for (given, taken) in [
            ("a-1", true),
            (&longest, true),
            ("", false),
            ("a b", false),
            (&(longest.clone() + "x"), false),
        ] {
            headers.insert(REQUEST_ID, HeaderValue::from_str(given).unwrap());
            assert_eq!(ids.of(&headers).as_str() == given, taken, "{given:?}");
        }
        let (one, other) = (ids.of(&HeaderMap::new()), ids.of(&HeaderMap::new()));
        assert!(one != other && one.as_str().len() == 32);
    }
}
