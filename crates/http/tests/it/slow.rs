//! Peers that dawdle. The clock is virtual and moves when nobody has anything to do, or by hand while it is held.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use posthaste_http::{Routes, body, empty, get, json, post, stream};
use tokio::net::TcpStream;
use tokio::time::Instant;
use warp::Filter;
use warp::http::{Request, StatusCode};

use crate::client::{Connection, Server, exchange, hold_clock, serve, status};

/// More than all buffers between two sockets hold.
const BIG: usize = 64 * 1024 * 1024;

fn routes() -> Routes {
    let big = Bytes::from(vec![b'x'; BIG]);
    let whole = warp::path!("whole").and(get()).map(move || {
        let mut response = empty(StatusCode::OK);
        *response.body_mut() = big.clone().into();
        response
    });
    let endless = warp::path!("endless")
        .and(get())
        .map(|| stream(futures_util::stream::repeat(Bytes::from(vec![b'x'; 1024]))));
    let silent = warp::path!("silent")
        .and(get())
        .map(|| stream(futures_util::stream::pending()));
    let small = warp::path!("small")
        .and(get())
        .map(|| json(StatusCode::OK, "small"));
    let nothing = warp::path!("nothing")
        .and(get())
        .map(|| empty(StatusCode::NO_CONTENT));
    let length = warp::path!("length")
        .and(post())
        .and(body(1 << 20))
        .map(|body: Bytes| json(StatusCode::OK, &body.len()));
    whole
        .or(endless)
        .unify()
        .or(silent)
        .unify()
        .or(small)
        .unify()
        .or(nothing)
        .unify()
        .or(length)
        .unify()
        .boxed()
}

fn get_request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")
}

async fn wait(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

async fn advance(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_is_cut() {
    let server = serve(routes());
    for path in ["/whole", "/endless"] {
        let mut connection = Connection::open(&server).await;
        connection.send(get_request(path)).await;
        wait(60).await;
        assert!(connection.count_rest().await < BIG, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_its_time_gets_everything() {
    let (server, _clock) = (serve(routes()), hold_clock());
    let mut connection = Connection::open(&server).await;
    connection.send(get_request("/whole")).await;
    for _ in 0..20 {
        connection.exactly(1 << 20).await.expect("still served");
        advance(20).await;
    }
    connection.exactly(BIG - (20 << 20)).await.expect("the rest");
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_nothing_to_say_is_not_cut() {
    let server = serve(routes());
    let mut connection = Connection::open(&server).await;
    connection.send(get_request("/silent")).await;
    connection.until("\r\n\r\n").await;
    let rest = tokio::time::timeout(Duration::from_secs(3600), connection.rest()).await;
    assert!(rest.is_err(), "it was closed");
}

#[tokio::test(start_paused = true)]
async fn a_further_head_that_is_begun_must_end_sooner_than_an_idle_connection() {
    let server = serve(routes());
    let mut connection = Connection::open(&server).await;
    for pause_s in [0, 60, 60] {
        wait(pause_s).await;
        connection.send(get_request("/small")).await;
        connection.until("\"small\"").await;
    }
    connection.send("GET /small HTTP/1.1\r\nhost:").await;
    let began = Instant::now();
    assert_eq!(connection.rest().await, "");
    assert!(began.elapsed() < Duration::from_secs(20), "the clock is virtual");
}

#[tokio::test(start_paused = true)]
async fn a_body_must_come_at_a_rate() {
    let server = serve(routes());
    let head = "POST /length HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let answer = exchange(&server, format!("{head}content-length: 20000\r\n\r\n12345")).await;
    assert_eq!(status(&answer), 408);
    assert!(answer.contains("bytes/s"), "{answer}");
    let _clock = hold_clock();
    let mut steady = Connection::open(&server).await;
    steady
        .send(format!(
            "{head}content-length: 20000\r\nexpect: 100-continue\r\n\r\n"
        ))
        .await;
    steady.until("100 Continue\r\n\r\n").await;
    for _ in 0..10 {
        advance(1).await;
        steady.send("x".repeat(2000)).await;
    }
    let answer = steady.rest().await;
    assert_eq!(status(&answer), 200, "{answer}");
}

type Sender = h2::client::SendRequest<Bytes>;

/// A client whose streams have this much room each.
async fn h2_client(server: &Server, window: u32) -> Sender {
    let socket = TcpStream::connect(server.address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(window)
        .handshake(socket)
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

async fn h2_get(sender: &Sender, path: &str) -> warp::http::Response<h2::RecvStream> {
    let request = Request::get(format!("http://a{path}")).body(()).unwrap();
    let mut sender = sender.clone().ready().await.unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    response.await.unwrap()
}

/// Reads, giving no room back, until the stream ends.
async fn end(mut body: h2::RecvStream) -> Option<Reason> {
    loop {
        match body.data().await? {
            Ok(_) => {}
            Err(error) => return error.reason(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_http_2_stream_whose_peer_takes_nothing_is_reset_and_others_go_on() {
    let server = serve(routes());
    for (window, path) in [
        (0, "/small"),
        (0, "/endless"),
        (1000, "/whole"),
        (1000, "/endless"),
    ] {
        let sender = h2_client(&server, window).await;
        let clock = hold_clock();
        let stalled = h2_get(&sender, path).await;
        let other = h2_get(&sender, "/silent").await;
        drop(clock);
        assert_eq!(
            end(stalled.into_body()).await,
            Some(Reason::CANCEL),
            "{window} {path}"
        );
        assert_eq!(h2_get(&sender, "/nothing").await.status(), 204);
        let still_open = tokio::time::timeout(Duration::from_secs(100), end(other.into_body())).await;
        assert!(still_open.is_err(), "a stream that waits for us was cut");
    }
}

#[tokio::test(start_paused = true)]
async fn an_http_2_reader_that_takes_its_time_gets_everything() {
    let (server, _clock) = (serve(routes()), hold_clock());
    let sender = h2_client(&server, 8 << 20).await;
    let mut body = h2_get(&sender, "/whole").await.into_body();

    let (mut sum, mut pause_at) = (0, 8 << 20);
    while let Some(piece) = body.data().await {
        let count = piece.unwrap().len();
        sum += count;
        if sum >= pause_at {
            advance(20).await;
            pause_at += 8 << 20;
        }
        body.flow_control().release_capacity(count).unwrap();
    }
    assert_eq!(sum, BIG);
}
