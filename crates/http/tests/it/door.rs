//! The front door: who is let in, and what every answer carries.

use std::sync::{Arc, Mutex};

use posthaste_http::{Front, PeerAddress, RequestId, Routes, ServeOptions, get, json};
use posthaste_types::TenantLimits;
use warp::Filter;
use warp::http::StatusCode;
use warp::http::header::CACHE_CONTROL;

use crate::client::{Connection, Server, ask, exchange, header, serve, serve_with, status};
use crate::keys::{KEY, front, routes};

fn guarded() -> Server {
    serve_with(routes(), front(TenantLimits::default()), ServeOptions::default())
}

#[tokio::test]
async fn a_key_lets_in_and_its_scopes_say_how_far() {
    let server = guarded();
    let answer = ask(&server, "GET", "/v1/tasks", KEY).await;
    assert_eq!(status(&answer), 200);
    assert!(answer.ends_with("\"acme\""), "{answer}");
    let answer = ask(&server, "GET", "/v1/keys", KEY).await;
    assert_eq!(status(&answer), 403);
    assert_eq!(
        header(&answer, "www-authenticate"),
        Some(r#"Bearer realm="posthaste", error="insufficient_scope""#)
    );
    assert_eq!(status(&ask(&server, "GET", "/v1/nowhere", KEY).await), 404);
}

#[tokio::test]
async fn a_401_tells_how_to_come_in_and_whether_something_was_sent() {
    let server = guarded();
    for path in ["/v1", "/v1/tasks", "/v1/nowhere"] {
        let answer = ask(&server, "GET", path, "").await;
        assert_eq!(status(&answer), 401, "{path}");
        assert_eq!(
            header(&answer, "www-authenticate"),
            Some(r#"Bearer realm="posthaste""#)
        );
        assert!(answer.contains("unauthenticated"), "{answer}");
    }
    for wrong in ["Bearer phk_other", "Basic YTpi", "phk_reader", "Bearer"] {
        let answer = ask(
            &server,
            "GET",
            "/v1/tasks",
            &format!("authorization: {wrong}\r\n"),
        )
        .await;
        assert_eq!(status(&answer), 401, "{wrong}");
        assert_eq!(
            header(&answer, "www-authenticate"),
            Some(r#"Bearer realm="posthaste", error="invalid_token""#)
        );
    }
}

#[tokio::test]
async fn what_is_not_of_the_contract_needs_no_key() {
    let server = guarded();
    assert_eq!(status(&ask(&server, "GET", "/healthz", "").await), 200);
    assert_eq!(status(&ask(&server, "GET", "/v1x/tasks", "").await), 404);
    assert_eq!(status(&ask(&server, "GET", "/%76%31/tasks", "").await), 404);
}

#[tokio::test]
async fn credentials_that_are_ambiguous_or_in_the_wrong_place_are_refused() {
    let server = guarded();
    let twice = ask(&server, "GET", "/v1/tasks", &KEY.repeat(2)).await;
    assert_eq!(status(&twice), 400);
    assert!(twice.contains("one `Authorization`"), "{twice}");
    let both = ask(&server, "GET", "/v1/events?token=pht_stream", KEY).await;
    assert_eq!(status(&both), 400);
    let elsewhere = ask(&server, "GET", "/v1/tasks?token=pht_stream", "").await;
    assert_eq!(status(&elsewhere), 401);
    let key = ask(&server, "GET", "/v1/events?token=phk_reader", "").await;
    assert_eq!(status(&key), 401);
    assert!(
        key.contains("ends up in logs") && !key.contains("phk_reader"),
        "{key}"
    );
}

#[tokio::test]
async fn a_stream_token_opens_a_stream_and_no_route_sees_it() {
    let server = guarded();
    let answer = ask(&server, "GET", "/v1/events?channel=a&token=pht_stream&type=b", "").await;
    assert_eq!(status(&answer), 200);
    assert!(answer.contains("channel") && answer.contains("type"), "{answer}");
    assert!(!answer.contains("token"), "{answer}");
    assert_eq!(
        status(&ask(&server, "GET", "/v1/events?token=pht_other", "").await),
        401
    );
}

#[tokio::test]
async fn a_refusal_arrives_though_the_caller_is_still_sending() {
    let server = guarded();
    let body = "x".repeat(8 * 1024 * 1024);
    let request = format!(
        "POST /v1/tasks HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(status(&exchange(&server, request).await), 401);
    let mut waiting = Connection::open(&server).await;
    waiting
        .send("POST /v1/tasks HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(status(&waiting.until("\r\n\r\n").await), 401);
}

fn who() -> Routes {
    warp::path!("who")
        .and(get())
        .and(warp::ext::get::<RequestId>())
        .and(warp::ext::get::<PeerAddress>())
        .map(|id: RequestId, peer: PeerAddress| json(StatusCode::OK, &format!("{id} {peer}")))
        .boxed()
}

#[tokio::test]
async fn handlers_and_callers_get_the_same_request_id() {
    let server = serve(who());
    let answer = ask(&server, "GET", "/who", "x-request-id: r-1\r\n").await;
    assert_eq!(header(&answer, "x-request-id"), Some("r-1"));
    assert!(answer.ends_with("\"r-1 127.0.0.1\""), "{answer}");
    for unusable in ["", "two words", &"x".repeat(129)] {
        let answer = ask(&server, "GET", "/who", &format!("x-request-id: {unusable}\r\n")).await;
        let made = header(&answer, "x-request-id").unwrap();
        assert!(
            made != unusable && answer.contains(&format!("\"{made} ")),
            "{answer}"
        );
    }
    let missing = ask(&server, "GET", "/nowhere", "").await;
    assert!(header(&missing, "x-request-id").is_some(), "{missing}");
}

#[tokio::test]
async fn answers_say_what_browsers_and_caches_may_not_do() {
    let cached = warp::path!("v1" / "cached").and(get()).map(|| {
        let mut response = json(StatusCode::OK, &1);
        response
            .headers_mut()
            .insert(CACHE_CONTROL, "max-age=5".parse().unwrap());
        response
    });
    let page = warp::path!("page").and(get()).map(|| {
        let mut response = json(StatusCode::OK, &1);
        let html = "text/html; charset=utf-8".parse().unwrap();
        response.headers_mut().insert("content-type", html);
        response
    });
    let server = serve(cached.or(page).unify().boxed());
    let answer = ask(&server, "GET", "/v1/nowhere", "").await;
    assert_eq!(header(&answer, "cache-control"), Some("no-store"));
    assert_eq!(header(&answer, "x-content-type-options"), Some("nosniff"));
    assert_eq!(header(&answer, "content-security-policy"), None);
    let answer = ask(&server, "GET", "/v1/cached", "").await;
    assert_eq!(header(&answer, "cache-control"), Some("max-age=5"));
    let answer = ask(&server, "GET", "/page", "").await;
    assert_eq!(header(&answer, "referrer-policy"), Some("no-referrer"));
    let policy = header(&answer, "content-security-policy").unwrap();
    assert!(
        policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert_eq!(header(&answer, "cache-control"), None);
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_access_log_has_a_line_for_each_request_and_no_secret() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let silent = guarded();
    ask(&silent, "GET", "/v1/tasks", KEY).await;
    let front: Front = front(TenantLimits::default()).with_access_log(true);
    let server = serve_with(routes(), front, ServeOptions::default());
    ask(
        &server,
        "GET",
        "/v1/tasks?tag.a=private",
        &format!("{KEY}x-request-id: r-1\r\n"),
    )
    .await;
    ask(&server, "GET", "/v1/events?token=pht_wrong", "").await;
    server.stopper.stop();
    server.serving.await.unwrap().unwrap();
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let access: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("posthaste::access"))
        .collect();
    assert_eq!(access.len(), 2, "{log}");
    for part in [
        "http.method=GET",
        "http.path=\"/v1/tasks\"",
        "http.status=200",
        "http.bytes=6",
        "http.peer=127.0.0.1",
        "request.id=r-1",
        "tenant=\"acme\"",
        "key.id=key_",
    ] {
        assert!(access[0].contains(part), "{part}: {}", access[0]);
    }
    assert!(access[1].contains("http.status=401"), "{}", access[1]);
    for secret in ["private", "phk_", "pht_"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_the_class_of_their_status() {
    let metrics = posthaste_runtime::telemetry::Metrics::install().unwrap();
    let server = guarded();
    ask(&server, "GET", "/v1/tasks", "").await;
    let page = metrics.page();
    assert!(
        page.contains("posthaste_http_requests_total{class=\"4xx\"}"),
        "{page}"
    );
    assert!(page.contains("posthaste_http_request_seconds"), "{page}");
}
