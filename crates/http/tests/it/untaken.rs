//! Large answers that nobody reads, many at once; and bodies that nobody reads.

use std::collections::HashMap;

use bytes::Bytes;
use posthaste_http::{
    Actor, Authenticator, Caller, Credentials, Front, Quota, Routes, ServeOptions, empty, get, json, post,
};
use posthaste_types::limits::{ANSWERS_UNTAKEN_BYTES_MAX, H2_STREAM_COUNT_MAX, H2_STREAM_WINDOW_BYTES};
use posthaste_types::{Scopes, TenantLimits};
use warp::Filter as _;
use warp::http::{Request, StatusCode};

use crate::client::{Connection, Server, exchange, header, serve_with, status};

/// Much more than two sockets keep.
const LARGE: usize = 8 * 1024 * 1024;

/// As many answers as one tenant may leave untaken.
const SHARE: usize = ANSWERS_UNTAKEN_BYTES_MAX / 2 / LARGE;

/// Tenants by their keys.
struct Tenants(HashMap<&'static str, Caller>);

impl Authenticator for Tenants {
    fn authenticate(&self, credentials: Credentials<'_>) -> Result<Caller, posthaste_api::Problem> {
        match credentials {
            Credentials::Bearer(key) => Ok(self.0[key].clone()),
            _ => Err(posthaste_http::no_credentials()),
        }
    }
}

fn whole(body: &Bytes) -> posthaste_http::HttpResponse {
    let mut response = empty(StatusCode::OK);
    *response.body_mut() = body.clone().into();
    response
}

fn server() -> Server {
    let caller = |name: &'static str| {
        let quota = std::sync::Arc::new(Quota::new(TenantLimits::default()));
        (name, Caller::new(name.into(), Scopes::ALL, Actor::Open, quota))
    };
    let tenants = ["first", "second", "third"].map(caller).into_iter().collect();
    let body = Bytes::from(vec![b'x'; LARGE]);
    let done = body.clone();
    let large = warp::path!("v1" / "large").and(get()).map(move || whole(&body));
    let act = warp::path!("v1" / "large").and(post()).map(move || whole(&done));
    let small = warp::path!("v1" / "small")
        .and(get())
        .map(|| json(StatusCode::OK, "small"));
    let hanging = warp::path!("v1" / "hanging")
        .and(get())
        .then(std::future::pending::<posthaste_http::HttpResponse>);
    let health = warp::path!("healthz")
        .and(get())
        .map(|| json(StatusCode::OK, "ok"));
    let routes: Routes = large
        .or(act)
        .unify()
        .or(small)
        .unify()
        .or(hanging)
        .unify()
        .or(health)
        .unify()
        .boxed();
    serve_with(
        routes,
        Front::new(std::sync::Arc::new(Tenants(tenants))),
        ServeOptions::default(),
    )
}

fn request(method: &str, path: &str, tenant: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer {tenant}\r\n\r\n"
    )
}

/// Asks for a large answer and reads its head alone.
async fn leave_untaken(server: &Server, tenant: &str) -> Connection {
    let mut connection = Connection::open(server).await;
    connection.send(request("GET", "/v1/large", tenant)).await;
    assert_eq!(connection.exactly(12).await.unwrap(), b"HTTP/1.1 200");
    connection
}

async fn ask(server: &Server, method: &str, path: &str, tenant: &str) -> String {
    exchange(server, request(method, path, tenant)).await
}

async fn assert_refused(server: &Server, tenant: &str, expected: u16) {
    let refused = ask(server, "GET", "/v1/large", tenant).await;
    assert_eq!(status(&refused), expected, "{refused}");
    assert!(header(&refused, "retry-after").is_some(), "{refused}");
    for path in ["/v1/small", "/healthz"] {
        assert_eq!(status(&ask(server, "GET", path, tenant).await), 200);
    }
}

#[tokio::test]
async fn answers_that_nobody_takes_are_bounded_for_the_tenant_and_the_process() {
    let server = server();
    let mut first = Vec::new();
    for _ in 0..SHARE {
        first.push(leave_untaken(&server, "first").await);
    }
    assert_refused(&server, "first", 429).await;
    let done = ask(&server, "POST", "/v1/large", "first").await;
    assert_eq!(status(&done), 200, "what is done is told");
    let mut second = Vec::new();
    for _ in 0..SHARE {
        second.push(leave_untaken(&server, "second").await);
    }
    assert_refused(&server, "third", 503).await;

    // One is read to its end, another's reader goes away.
    assert!(first.pop().unwrap().rest().await.len() > LARGE);
    drop(second.pop());
    let mut answer = ask(&server, "GET", "/v1/large", "second").await;
    while status(&answer) != 200 {
        answer = ask(&server, "GET", "/v1/large", "second").await;
    }
    assert_eq!(status(&ask(&server, "GET", "/v1/large", "first").await), 200);
}

#[tokio::test]
async fn a_body_that_no_route_reads_takes_no_room_of_its_connection() {
    let server = server();
    let socket = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let mut streams = Vec::new();
    for _ in 0..H2_STREAM_COUNT_MAX {
        let request = Request::get("http://a/v1/hanging")
            .header("authorization", "Bearer first")
            .body(())
            .unwrap();
        let mut sender = sender.clone().ready().await.unwrap();
        let (response, mut body) = sender.send_request(request, false).unwrap();
        let mut left = H2_STREAM_WINDOW_BYTES as usize;
        while left > 0 {
            body.reserve_capacity(left);
            let room = std::future::poll_fn(|context| body.poll_capacity(context)).await;
            let count = room.expect("still open").unwrap().min(left);
            body.send_data(vec![b'x'; count].into(), false).unwrap();
            left -= count;
        }
        streams.push((response, body));
    }
}
