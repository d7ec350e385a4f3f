//! What an open door on loopback takes: requests of this machine's programs, and of pages that came from it. The address
//! alone does not tell: a web page can point its own name at 127.0.0.1 (DNS rebinding), or send there blindly.

use std::net::{IpAddr, Ipv6Addr};

use posthaste_api::Problem;
use posthaste_types::ErrorCode;
use url::Url;
use warp::http::header::{HOST, ORIGIN, UPGRADE};
use warp::http::uri::Authority;
use warp::http::{HeaderValue, Method, Request};

use crate::cors::Cors;

/// Refuses what a web page from elsewhere could have sent.
///
/// # Errors
/// 403 that names the fix.
pub(crate) fn check<B>(request: &Request<B>, cors: &Cors) -> Result<(), Problem> {
    let headers = request.headers();
    let by_header = headers
        .get(HOST)
        .is_none_or(|host| Authority::try_from(host.as_bytes()).is_ok_and(|host| is_local(host.host())));
    let by_uri = request.uri().host().is_none_or(is_local);
    if !by_header || !by_uri {
        return Err(refused(
            "this server lets everybody in, so it answers to `localhost`, `*.localhost` and loopback addresses \
             alone: call it by one of them, or set http.access = \"keys\"",
        ));
    }
    let changes_nothing = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        && !headers.contains_key(UPGRADE);
    match headers.get(ORIGIN) {
        Some(origin)
            if !changes_nothing && !is_local_origin(origin) && cors.allowed(Some(origin)).is_none() =>
        {
            Err(refused(
                "this server lets everybody in, so pages from elsewhere may not send to it: allow their origin in \
                 `http.cors.origins`, or set http.access = \"keys\"",
            ))
        }
        _ => Ok(()),
    }
}

fn refused(detail: &str) -> Problem {
    Problem::new(ErrorCode::Forbidden, detail)
}

/// Whether a host, as it stands in a URI, is this machine whatever a name server says (RFC 6761, section 6.3).
fn is_local(host: &str) -> bool {
    if let Some(literal) = host.strip_prefix('[') {
        let address = literal
            .strip_suffix(']')
            .and_then(|literal| literal.parse::<Ipv6Addr>().ok());
        return address.is_some_and(|address| address.to_canonical().is_loopback());
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return address.is_loopback();
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

fn is_local_origin(origin: &HeaderValue) -> bool {
    let url = origin.to_str().ok().and_then(|text| Url::parse(text).ok());
    url.is_some_and(|url| url.host_str().is_some_and(is_local))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_and_localhost_are_this_machine() {
        for host in [
            "127.0.0.1",
            "127.9.9.9",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "localhost",
            "LocalHost.",
            "ui.localhost",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "0.0.0.0",
            "[::]",
            "[::2]",
            "[localhost]",
            "192.0.2.7",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }
}
