//! Large bodies, many at once.

use std::sync::{Arc, Mutex};

use posthaste_http::{
    Actor, Authenticator, Caller, Credentials, Front, Quota, Routes, ServeOptions, body, empty, post,
};
use posthaste_types::limits::{BATCH_BODY_BYTES_MAX, BODIES_HELD_BYTES_MAX};
use posthaste_types::{Scopes, TenantLimits};
use warp::Filter as _;
use warp::http::StatusCode;

use crate::client::{Connection, Server, header, serve_with, status};

/// Two tenants, by their names.
struct Two([Caller; 2]);

impl Authenticator for Two {
    fn authenticate(&self, credentials: Credentials<'_>) -> Result<Caller, posthaste_api::Problem> {
        let is_second = matches!(credentials, Credentials::Bearer("second"));
        Ok(self.0[usize::from(is_second)].clone())
    }
}

/// Handlers keep the bodies that they get here.
type Kept = Arc<Mutex<Vec<bytes::Bytes>>>;

fn server(kept: &Kept) -> Server {
    let caller = |name: &str| {
        let quota = Arc::new(Quota::new(TenantLimits::default()));
        Caller::new(name.into(), Scopes::ALL, Actor::Open, quota)
    };
    let front = Front::new(Arc::new(Two([caller("first"), caller("second")])));
    let kept = Arc::clone(kept);
    let routes: Routes = warp::path!("v1" / "raw")
        .and(post())
        .and(body(BATCH_BODY_BYTES_MAX))
        .map(move |body: bytes::Bytes| {
            kept.lock().unwrap().push(body);
            empty(StatusCode::NO_CONTENT)
        })
        .boxed();
    serve_with(routes, front, ServeOptions::default())
}

/// Sends a body as large as it may be.
async fn send(server: &Server, tenant: &str) -> String {
    let mut connection = Connection::open(server).await;
    let head = format!(
        "POST /v1/raw HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer {tenant}\r\n\
         content-type: application/json\r\ncontent-length: {BATCH_BODY_BYTES_MAX}\r\n\r\n"
    );
    connection.send(head).await;
    connection.send(vec![b'x'; BATCH_BODY_BYTES_MAX]).await;
    connection.rest().await
}

#[tokio::test]
async fn a_tenants_bodies_are_bounded_together_and_leave_room_for_others() {
    let kept = Kept::default();
    let server = server(&kept);
    for _ in 0..BODIES_HELD_BYTES_MAX / 2 / BATCH_BODY_BYTES_MAX {
        assert_eq!(status(&send(&server, "first").await), 204);
    }
    let refused = send(&server, "first").await;
    assert_eq!(status(&refused), 429, "{refused}");
    assert!(header(&refused, "retry-after").is_some(), "{refused}");
    assert_eq!(status(&send(&server, "second").await), 204);
    assert!(
        kept.lock()
            .unwrap()
            .drain(..)
            .all(|body| body.len() == BATCH_BODY_BYTES_MAX)
    );
    assert_eq!(status(&send(&server, "first").await), 204);
}
