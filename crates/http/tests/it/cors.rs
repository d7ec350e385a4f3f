//! Calls from other web pages' scripts.

use posthaste_http::{Cors, ServeOptions};
use posthaste_types::TenantLimits;

use crate::client::{Server, ask, header, serve_with, status};
use crate::keys::{KEY, front, routes};

fn server(origins: &[&str]) -> Server {
    let origins: Vec<String> = origins.iter().map(|&origin| origin.to_owned()).collect();
    let front = front(TenantLimits::default()).with_cors(Cors::parse(&origins).unwrap());
    serve_with(routes(), front, ServeOptions::default())
}

const PREFLIGHT: &str = "origin: https://app.example.com\r\naccess-control-request-method: POST\r\n";

#[tokio::test]
async fn a_preflight_of_a_listed_origin_is_answered_without_a_key() {
    let server = server(&["https://app.example.com", "http://localhost:3000"]);
    let answer = ask(&server, "OPTIONS", "/v1/tasks", PREFLIGHT).await;
    assert_eq!(status(&answer), 204);
    assert_eq!(
        header(&answer, "access-control-allow-origin"),
        Some("https://app.example.com")
    );
    assert!(
        header(&answer, "access-control-allow-methods")
            .unwrap()
            .contains("PATCH")
    );
    assert!(
        header(&answer, "access-control-allow-headers")
            .unwrap()
            .contains("idempotency-key")
    );
    assert_eq!(header(&answer, "vary"), Some("origin"));
    let other = ask(
        &server,
        "OPTIONS",
        "/v1/tasks",
        &PREFLIGHT.replace("app.", "evil."),
    )
    .await;
    assert_eq!(
        (status(&other), header(&other, "access-control-allow-origin")),
        (403, None)
    );
}

#[tokio::test]
async fn answers_to_a_listed_origin_can_be_read_with_their_headers() {
    let server = server(&["https://app.example.com"]);
    let origin = "origin: https://app.example.com\r\n";
    for (path, headers, expected) in [
        ("/v1/tasks", format!("{KEY}{origin}"), 200),
        ("/v1/tasks", origin.into(), 401),
    ] {
        let answer = ask(&server, "GET", path, &headers).await;
        assert_eq!(status(&answer), expected);
        assert_eq!(
            header(&answer, "access-control-allow-origin"),
            Some("https://app.example.com")
        );
        assert!(
            header(&answer, "access-control-expose-headers")
                .unwrap()
                .contains("retry-after")
        );
    }
    for origin in ["", "origin: https://evil.example.com\r\n", "origin: null\r\n"] {
        let answer = ask(&server, "GET", "/v1/tasks", &format!("{KEY}{origin}")).await;
        assert_eq!(
            (status(&answer), header(&answer, "access-control-allow-origin")),
            (200, None)
        );
        assert_eq!(
            header(&answer, "vary"),
            Some("origin"),
            "a cache must not mix them"
        );
    }
}

#[tokio::test]
async fn any_origin_may_be_allowed_and_none_is_by_default() {
    let answer = ask(
        &server(&["*"]),
        "GET",
        "/v1/tasks",
        &format!("{KEY}origin: null\r\n"),
    )
    .await;
    assert_eq!(header(&answer, "access-control-allow-origin"), Some("*"));
    assert_eq!(header(&answer, "vary"), None);
    let answer = ask(&server(&[]), "OPTIONS", "/healthz", PREFLIGHT).await;
    assert_eq!(
        (status(&answer), header(&answer, "access-control-allow-origin")),
        (405, None)
    );
}
