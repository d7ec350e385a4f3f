//! Serves trivial routes for measuring the serving loop and the door: `/v1/hello`, which asks for a key in the mode
//! `keys` (`Bearer phk_bench`), and `/bytes` with 64 MiB. Serves until it is killed.
//!
//! `cargo run --release -p posthaste-http --example hello [open|quiet|keys|limits|log] [port]`

use std::sync::Arc;

use bytes::Bytes;
use posthaste_api::Problem;
use posthaste_http::{
    Actor, Authenticator, Caller, Credentials, Front, Quota, bind, caller, empty, finish, get, json,
    unauthenticated,
};
use posthaste_runtime::Stopper;
use posthaste_types::{Scope, Scopes, TenantLimits};
use warp::Filter;
use warp::http::StatusCode;

/// Knows one key.
struct One(Caller);

impl Authenticator for One {
    fn authenticate(&self, credentials: Credentials<'_>) -> Result<Caller, Problem> {
        match credentials {
            Credentials::Bearer("phk_bench") => Ok(self.0.clone()),
            _ => Err(unauthenticated("send `authorization: Bearer phk_bench`")),
        }
    }
}

fn keys(requests_per_s: Option<f64>) -> Front {
    let limits = TenantLimits {
        requests_per_s,
        ..TenantLimits::default()
    };
    let quota = Arc::new(Quota::new(limits));
    Front::new(Arc::new(One(Caller::new(
        "bench".into(),
        Scopes::ALL,
        Actor::Open,
        quota,
    ))))
}

#[tokio::main]
async fn main() {
    let front = match std::env::args().nth(1).as_deref() {
        Some("keys") => keys(None),
        Some("limits") => keys(Some(1e6)),
        Some("log") => Front::open().with_access_log(true),
        _ => Front::open(),
    };
    if std::env::args().nth(1).as_deref() != Some("quiet") {
        tracing_subscriber::fmt().json().with_writer(std::io::sink).init();
    }
    let hello = warp::path!("v1" / "hello")
        .and(get())
        .and(caller(Scope::Read))
        .map(|_| json(StatusCode::OK, "hello"));
    let big = Bytes::from(vec![b'x'; 64 << 20]);
    let bytes = warp::path!("bytes").and(get()).map(move || {
        let mut response = empty(StatusCode::OK);
        *response.body_mut() = big.clone().into();
        response
    });
    let routes = finish(hello.or(bytes).unify().boxed());
    let port = std::env::args()
        .nth(2)
        .and_then(|port| port.parse().ok())
        .unwrap_or(0);
    let listener = bind(([127, 0, 0, 1], port).into()).expect("a free port");
    tracing::info!(address = %listener.local_addr(), "serving");
    listener
        .serve(routes, front, Stopper::new())
        .await
        .expect("it is served");
}
