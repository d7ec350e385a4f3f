//! Health, readiness and metrics.

use std::sync::Arc;

use posthaste_http::{Check, Readiness, bounded_check, operating};

use crate::client::{exchange, serve, status};

struct Fixed(Result<(), &'static str>);

#[async_trait::async_trait]
impl Readiness for Fixed {
    async fn check(&self) -> Vec<Check> {
        vec![bounded_check("database", async { self.0 }).await]
    }
}

struct Hanging;

#[async_trait::async_trait]
impl Readiness for Hanging {
    async fn check(&self) -> Vec<Check> {
        vec![bounded_check::<&str>("kafka", std::future::pending()).await]
    }
}

async fn get(readiness: impl Readiness, path: &str) -> String {
    let server = serve(operating(
        "ingest",
        || "a_metric 1\n".to_owned(),
        Arc::new(readiness),
    ));
    exchange(
        &server,
        format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
    )
    .await
}

#[tokio::test]
async fn a_role_whose_dependencies_answer_is_ready() {
    let answer = get(Fixed(Ok(())), "/readyz").await;
    assert_eq!(status(&answer), 200);
    assert!(answer.contains(r#""database":"ok""#), "{answer}");
}

#[tokio::test]
async fn a_dependency_that_is_down_is_named_while_the_process_is_alive() {
    let answer = get(Fixed(Err("connection refused")), "/readyz").await;
    assert_eq!(status(&answer), 503);
    assert!(answer.contains(r#""database":"connection refused""#), "{answer}");
    assert_eq!(
        status(&get(Fixed(Err("connection refused")), "/healthz").await),
        200
    );
}

#[tokio::test(start_paused = true)]
async fn a_dependency_that_hangs_is_down() {
    let answer = get(Hanging, "/readyz").await;
    assert_eq!(status(&answer), 503);
    assert!(answer.contains("no answer within"), "{answer}");
}

#[tokio::test]
async fn metrics_are_a_page_of_text() {
    let answer = get(Fixed(Ok(())), "/metrics").await;
    assert!(
        answer.contains("text/plain; version=0.0.4") && answer.ends_with("a_metric 1\n"),
        "{answer}"
    );
}
