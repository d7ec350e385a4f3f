//! What a tenant may use, as its callers see it.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use posthaste_http::{ServeOptions, body, json, post};
use posthaste_types::TenantLimits;
use posthaste_types::limits::{REFUSAL_HELD_MS_MAX, REFUSALS_PER_S_MAX};
use warp::Filter;
use warp::http::StatusCode;

use crate::client::{ask, exchange, header, hold_clock, serve_with, status};
use crate::keys::{KEY, front, routes};

#[tokio::test(start_paused = true)]
async fn past_its_rate_a_tenant_is_told_when_to_come_again() {
    let limits = TenantLimits {
        requests_per_s: Some(0.5),
        request_burst: Some(2),
        ..TenantLimits::default()
    };
    let server = serve_with(routes(), front(limits), ServeOptions::default());
    let first = ask(&server, "GET", "/v1/tasks", KEY).await;
    assert_eq!(status(&first), 200);
    assert_eq!(header(&first, "ratelimit-policy"), Some(r#""requests";q=2;w=4"#));
    assert!(
        header(&first, "ratelimit")
            .unwrap()
            .starts_with(r#""requests";r=1;t="#),
        "{first}"
    );
    // A refused scope and a wrong path count too.
    assert_eq!(status(&ask(&server, "GET", "/v1/keys", KEY).await), 403);
    let refused = ask(&server, "GET", "/v1/tasks", KEY).await;
    assert_eq!(status(&refused), 429);
    assert!(refused.contains("too_many_requests"), "{refused}");
    assert_eq!(header(&refused, "retry-after"), Some("2"));
    assert_eq!(header(&refused, "ratelimit"), Some(r#""requests";r=0;t=2"#));
    let free = ask(&server, "GET", "/healthz", KEY).await;
    assert_eq!((status(&free), header(&free, "ratelimit")), (200, None));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(status(&ask(&server, "GET", "/v1/tasks", KEY).await), 200);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_past_many_is_held_and_keeps_nobody_else_waiting() {
    let limits = TenantLimits {
        requests_per_s: Some(0.0),
        ..TenantLimits::default()
    };
    let server = serve_with(routes(), front(limits), ServeOptions::default());
    let _clock = hold_clock();
    for _ in 0..REFUSALS_PER_S_MAX {
        assert_eq!(status(&ask(&server, "GET", "/v1/tasks", KEY).await), 429);
    }
    let mut held = pin!(ask(&server, "GET", "/v1/tasks", KEY));
    for _ in 0..20 {
        tokio::select! {
            biased;
            refused = &mut held => panic!("it was given at once: {refused}"),
            free = ask(&server, "GET", "/healthz", "") => assert_eq!(status(&free), 200),
        }
    }
    tokio::time::advance(Duration::from_millis(REFUSAL_HELD_MS_MAX)).await;
    assert_eq!(status(&held.await), 429);
}

#[tokio::test]
async fn a_tenant_without_limits_hears_of_none() {
    let server = serve_with(routes(), front(TenantLimits::default()), ServeOptions::default());
    let answer = ask(&server, "GET", "/v1/tasks", KEY).await;
    assert_eq!((status(&answer), header(&answer, "ratelimit")), (200, None));
}

#[tokio::test]
async fn a_tenants_own_bound_of_bodies_is_obeyed_and_named() {
    let routes = warp::path!("v1" / "tasks")
        .and(post())
        .and(body(1000))
        .map(|body: Bytes| json(StatusCode::OK, &body.len()));
    let limits = TenantLimits {
        body_bytes: Some(100),
        ..TenantLimits::default()
    };
    let server = serve_with(routes.boxed(), front(limits), ServeOptions::default());
    for (count, expected) in [(100, 200), (101, 413)] {
        let request = format!(
            "POST /v1/tasks HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{KEY}content-type: application/json\r\n\
             content-length: {count}\r\n\r\n{}",
            "x".repeat(count)
        );
        let answer = exchange(&server, request).await;
        assert_eq!(status(&answer), expected);
        assert!(answer.contains("100"), "{answer}");
    }
}
