//! Routes for operators: `/healthz`, `/readyz`, `/metrics`. What readiness means is the role's business.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use posthaste_types::limits::READY_CHECK_MS_MAX;
use serde_json::json;
use warp::Filter;
use warp::http::StatusCode;

use crate::reject::get;
use crate::response::{HttpResponse, Routes, any_of, json, text};
use crate::scrape::Scrape;

/// A dependency's name and whether it answers; the error is for operators.
pub type Check = (&'static str, Result<(), String>);

/// Tells whether a role can do its work now.
#[async_trait]
pub trait Readiness: Send + Sync + 'static {
    /// Asks every dependency, each through [`bounded_check`].
    async fn check(&self) -> Vec<Check>;
}

/// Runs one check within [`READY_CHECK_MS_MAX`]; no answer by then is an error.
pub async fn bounded_check<E: Display>(
    name: &'static str,
    ping: impl Future<Output = Result<(), E>>,
) -> Check {
    let outcome = match tokio::time::timeout(Duration::from_millis(READY_CHECK_MS_MAX), ping).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {READY_CHECK_MS_MAX} ms")),
    };
    (name, outcome)
}

async fn ready(role: &'static str, readiness: Arc<dyn Readiness>) -> HttpResponse {
    let checks = readiness.check().await;
    let all_answer = checks.iter().all(|(_, outcome)| outcome.is_ok());
    let (status, word) = if all_answer {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    let by_name: BTreeMap<&str, &str> = checks
        .iter()
        .map(|(name, outcome)| (*name, outcome.as_ref().map_or_else(String::as_str, |()| "ok")))
        .collect();
    json(
        status,
        &json!({ "role": role, "status": word, "checks": by_name }),
    )
}

/// `GET /healthz`: the process runs. `GET /readyz`: its dependencies by name, 503 when one is down.
/// `GET /metrics`: `metrics_page`, in Prometheus' text format.
pub fn operating(
    role: &'static str,
    metrics_page: impl Fn() -> String + Send + Sync + 'static,
    readiness: Arc<dyn Readiness>,
) -> Routes {
    let healthz = warp::path!("healthz")
        .and(get())
        .map(move || json(StatusCode::OK, &json!({ "role": role, "status": "ok" })));
    let readyz = warp::path!("readyz")
        .and(get())
        .then(move || ready(role, Arc::clone(&readiness)));
    let scrape = Arc::new(Scrape::new(metrics_page));
    let metrics = warp::path!("metrics").and(get()).map(move || {
        text(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            scrape.page(),
        )
    });
    any_of([healthz.boxed(), readyz.boxed(), metrics.boxed()])
}
