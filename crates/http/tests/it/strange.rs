//! Requests at the edge of HTTP. What hyper refuses itself has a status and no body; everything else is a problem.

use posthaste_http::ServeOptions;
use posthaste_types::TenantLimits;
use posthaste_types::limits::URI_BYTES_MAX;

use crate::client::{Connection, Server, ask, exchange, header, serve_with, status};
use crate::keys::{KEY, front, routes};

fn server() -> Server {
    serve_with(routes(), front(TenantLimits::default()), ServeOptions::default())
}

fn is_problem(answer: &str) -> bool {
    header(answer, "content-type") == Some("application/problem+json")
}

#[tokio::test]
async fn what_is_no_http_is_answered_by_the_library_without_a_body() {
    let server = server();
    for (request, expected) in [
        ("GET\r\n\r\n", 400),
        ("GET /healthz HTTP/9.9\r\nhost: a\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost a\r\n\r\n", 400),
        ("GET /a b HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost : a\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: a\r\n folded: b\r\n\r\n", 400),
        (
            "POST /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
            400,
        ),
        (
            "POST /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
            400,
        ),
        (
            "POST /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\n",
            400,
        ),
        (
            "POST /healthz HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
            400,
        ),
        (
            "POST /healthz HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n",
            400,
        ),
        (
            "POST /healthz HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
            400,
        ),
    ] {
        let answer = exchange(&server, request).await;
        assert_eq!(status(&answer), expected, "{request:?}");
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    }
    let many: String = (0..200).map(|index| format!("x-{index}: 1\r\n")).collect();
    assert_eq!(status(&ask(&server, "GET", "/healthz", &many).await), 431);
}

#[tokio::test]
async fn a_length_beside_chunks_is_not_believed_and_nothing_after_it_is_answered() {
    let server = server();
    let smuggled = "GET /healthz HTTP/1.1\r\nhost: a\r\nx-request-id: smuggled\r\n\r\n";
    for headers in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
    ] {
        let request = format!("POST /healthz HTTP/1.1\r\nhost: a\r\n{headers}\r\n0\r\n\r\n{smuggled}");
        let answer = exchange(&server, request).await;
        assert_eq!(status(&answer), 405);
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(!answer.contains("smuggled"), "{answer}");
    }
}

#[tokio::test]
async fn a_host_is_needed_once() {
    let server = server();
    for hosts in ["", "host: a\r\nhost: a\r\n", "host: a\r\nhost: b\r\n"] {
        let request = format!("GET /healthz HTTP/1.1\r\nconnection: close\r\n{hosts}\r\n");
        let answer = exchange(&server, request).await;
        assert_eq!(status(&answer), 400, "{hosts:?}");
        assert!(is_problem(&answer) && answer.contains("`Host`"), "{answer}");
    }
    assert_eq!(
        status(&exchange(&server, "GET /healthz HTTP/1.0\r\n\r\n").await),
        200
    );
}

#[tokio::test]
async fn a_target_may_be_absolute_and_is_judged_by_its_path() {
    let server = server();
    assert_eq!(status(&ask(&server, "GET", "http://b/healthz", "").await), 200);
    assert_eq!(status(&ask(&server, "GET", "http://b/v1/tasks", "").await), 401);
    assert_eq!(status(&ask(&server, "GET", "http://b/v1/tasks", KEY).await), 200);
    assert_eq!(
        status(&ask(&server, "GET", "http://b/v1/events?token=pht_stream", "").await),
        200
    );
}

#[tokio::test]
async fn methods_that_no_route_has_are_problems() {
    let server = server();
    for (method, path, expected) in [
        ("TRACE", "/healthz", 405),
        ("CONNECT", "a:443", 405),
        ("BREW", "/healthz", 405),
        ("PUT", "/healthz", 405),
        ("OPTIONS", "*", 404),
        ("OPTIONS", "/nowhere", 404),
    ] {
        let answer = ask(&server, method, path, "").await;
        assert_eq!(status(&answer), expected, "{method} {path}");
        assert!(is_problem(&answer), "{answer}");
        assert_eq!(header(&answer, "allow").is_some(), expected == 405, "{answer}");
    }
}

#[tokio::test]
async fn a_path_and_query_have_a_bound_that_is_named() {
    let server = server();
    let path = |len: usize| {
        format!(
            "/v1/events?channel={}",
            "x".repeat(len - "/v1/events?channel=".len())
        )
    };
    assert_eq!(status(&ask(&server, "GET", &path(URI_BYTES_MAX), KEY).await), 200);
    let answer = ask(&server, "GET", &path(URI_BYTES_MAX + 1), KEY).await;
    assert_eq!(status(&answer), 414);
    assert!(is_problem(&answer) && answer.contains("uri_too_long"), "{answer}");
}

#[tokio::test]
async fn an_expectation_that_nobody_knows_is_417() {
    let server = server();
    let answer = ask(&server, "GET", "/healthz", "expect: 200-maybe\r\n").await;
    assert_eq!(status(&answer), 417);
    assert!(
        is_problem(&answer) && answer.contains("expectation_failed"),
        "{answer}"
    );
    assert_eq!(
        status(&ask(&server, "GET", "/healthz", "expect: 100-Continue\r\n").await),
        200
    );
}

#[tokio::test]
async fn an_upgrade_that_is_not_done_is_ignored() {
    let server = server();
    for protocol in ["h2c", "websocket", "tls/1.0"] {
        let mut connection = Connection::open(&server).await;
        connection
            .send(format!(
                "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: {protocol}\r\n\
                 http2-settings: AAMAAABkAAQAAP__\r\n\r\n"
            ))
            .await;
        assert_eq!(status(&connection.until("\"ok\"").await), 200, "{protocol}");
        connection.send("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(status(&connection.until("\"ok\"").await), 200, "{protocol}");
    }
}
