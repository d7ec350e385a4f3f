//! HTTP/2 peers that send frames to tire a server out, by handwritten frames. Meanwhile others are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use posthaste_http::{Routes, get, json};
use posthaste_types::limits::{
    FLOOD_PAUSE_MS, H2_RESET_COUNT_MAX, H2_STREAM_COUNT_MAX, H2_TAKEN_BACK_COUNT_MAX,
};
use warp::Filter;
use warp::http::StatusCode;

use crate::client::{Connection, Server, ask, hold_clock, serve, status};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// `GET http://a/` in HPACK: three entries of the static table, and `:authority: a`.
const GET_ROOT: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'a'];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn routes() -> Routes {
    let small = warp::path!("small")
        .and(get())
        .map(|| json(StatusCode::OK, "small"));
    let hanging = warp::path::end()
        .and(get())
        .then(std::future::pending::<posthaste_http::HttpResponse>);
    small.or(hanging).unify().boxed()
}

async fn begin(server: &Server) -> Connection {
    let mut connection = Connection::open(server).await;
    connection.send(PREFACE).await;
    connection.send(frame(SETTINGS, 0, 0, &[])).await;
    connection
}

/// The frames that come until the server closes: kind, stream (of a goodbye the last one that it tells), and the error code
/// of those that have one.
async fn frames(connection: &mut Connection) -> Vec<(u8, u32, Option<u32>)> {
    let mut frames = Vec::new();
    while let Some(frame) = next_frame(connection).await {
        frames.push(frame);
    }
    frames
}

async fn next_frame(connection: &mut Connection) -> Option<(u8, u32, Option<u32>)> {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, &byte| sum << 8 | u32::from(byte));
    let head = connection.exactly(9).await?;
    let payload = connection.exactly(number(&head[..3]) as usize).await?;
    let code = match head[3] {
        RST_STREAM => Some(number(&payload)),
        GOAWAY => Some(number(&payload[4..8])),
        _ => None,
    };
    let stream = if head[3] == GOAWAY {
        &payload[..4]
    } else {
        &head[5..9]
    };
    Some((head[3], number(stream), code))
}

/// Whether the server says goodbye for this reason and closes.
async fn ends_with(connection: &mut Connection, code: u32) {
    let frames = frames(connection).await;
    let is_goodbye = |(kind, _, reason): &(u8, u32, Option<u32>)| *kind == GOAWAY && *reason == Some(code);
    assert!(frames.iter().any(is_goodbye), "{frames:?}");
}

async fn others_are_served(server: &Server) {
    assert_eq!(status(&ask(server, "GET", "/small", "").await), 200);
}

/// Opens streams and resets each at once, on a connection of its own, which is cut before it has sent them all.
async fn reset_rapidly(server: &Server) -> Connection {
    let mut connection = begin(server).await;
    let mut flood = Vec::new();
    for stream in (1..4000).step_by(2) {
        flood.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, GET_ROOT));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    let _ = connection.try_send(flood).await;
    connection
}

#[tokio::test]
async fn rapid_reset_ends_the_connection_and_no_other() {
    let server = serve(routes());
    let mut connection = reset_rapidly(&server).await;
    others_are_served(&server).await;
    ends_with(&mut connection, ENHANCE_YOUR_CALM).await;
    others_are_served(&server).await;
}

/// Routes that count the requests which come to them.
fn counting(count: &Arc<AtomicU32>) -> Routes {
    let count = Arc::clone(count);
    warp::any()
        .map(move || {
            count.fetch_add(1, Ordering::SeqCst);
            json(StatusCode::OK, "counted")
        })
        .boxed()
}

#[tokio::test]
async fn a_connection_that_resets_rapidly_is_cut_before_a_request_of_it_is_looked_at() {
    let count = Arc::default();
    let server = serve(counting(&count));
    let mut connection = reset_rapidly(&server).await;
    let frames = frames(&mut connection).await;
    let last_stream = frames
        .iter()
        .find(|(kind, ..)| *kind == GOAWAY)
        .expect("goodbye")
        .1;
    // Heads are read in the order of their streams, each of which is the second next number.
    let heads = last_stream.div_ceil(2);
    let reset_max = u32::try_from(H2_RESET_COUNT_MAX).unwrap();
    assert!(heads <= 2 * reset_max, "{heads} heads were read");
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn few_resets_at_a_time_cost_no_look_either_and_end_the_connection_when_they_are_many() {
    const AT_A_TIME: u32 = 10;
    let count = Arc::default();
    let server = serve(counting(&count));
    let mut connection = begin(&server).await;
    let mut sent = 0;
    loop {
        let mut few = Vec::new();
        for index in sent..sent + AT_A_TIME {
            few.extend(frame(HEADERS, END_STREAM | END_HEADERS, 1 + 2 * index, GET_ROOT));
            few.extend(frame(RST_STREAM, 0, 1 + 2 * index, &8_u32.to_be_bytes()));
        }
        few.extend(frame(PING, 0, 0, &[0; 8]));
        if connection.try_send(few).await.is_err() {
            break;
        }
        sent += AT_A_TIME;
        // Answered once all before it was read.
        let pong = loop {
            match next_frame(&mut connection).await {
                Some((PING, ..)) => break true,
                Some(_) => {}
                None => break false,
            }
        };
        if !pong {
            break;
        }
    }
    assert!(sent > H2_TAKEN_BACK_COUNT_MAX, "{sent}");
    assert!(sent < 2 * H2_TAKEN_BACK_COUNT_MAX, "{sent}");
    assert_eq!(count.load(Ordering::SeqCst), 0);
    others_are_served(&server).await;
}

#[tokio::test]
async fn requests_that_are_answered_make_up_for_those_that_are_taken_back() {
    let server = serve(routes());
    let socket = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..2 * H2_TAKEN_BACK_COUNT_MAX {
        for path in ["/", "/small"] {
            let request = warp::http::Request::get(format!("http://a{path}"))
                .body(())
                .unwrap();
            let mut sender = sender.clone().ready().await.unwrap();
            let (response, _) = sender.send_request(request, true).unwrap();
            if path == "/small" {
                assert_eq!(response.await.unwrap().status(), 200);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_flood_the_address_pauses_before_its_next_http_2_connection_and_on_http_1_not() {
    let count = Arc::default();
    let (server, _clock) = (serve(counting(&count)), hold_clock());
    let mut flood = reset_rapidly(&server).await;
    while next_frame(&mut flood).await.is_some() {}
    let before = count.load(Ordering::SeqCst);
    let mut paused = begin(&server).await;
    let request = frame(HEADERS, END_STREAM | END_HEADERS, 1, GET_ROOT);
    paused.send(request).await;
    let asked = 20;
    for _ in 0..asked {
        others_are_served(&server).await;
    }
    assert_eq!(
        count.load(Ordering::SeqCst),
        before + asked,
        "the paused one was looked at"
    );
    tokio::time::advance(Duration::from_millis(FLOOD_PAUSE_MS)).await;
    while next_frame(&mut paused).await.expect("an answer").0 != HEADERS {}
    // The pause is over for others too.
    let mut next = begin(&server).await;
    next.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, GET_ROOT))
        .await;
    while next_frame(&mut next).await.expect("an answer").0 != HEADERS {}
}

#[tokio::test]
async fn a_head_without_end_ends_the_connection() {
    let server = serve(routes());
    let mut connection = begin(&server).await;
    let mut flood = frame(HEADERS, END_STREAM, 1, GET_ROOT);
    for _ in 0..2000 {
        // A literal header `a: b` that is not indexed.
        flood.extend(frame(CONTINUATION, 0, 1, &[0, 1, b'a', 1, b'b']));
    }
    let _ = connection.try_send(flood).await;
    ends_with(&mut connection, ENHANCE_YOUR_CALM).await;
    others_are_served(&server).await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431_and_the_connection_goes_on() {
    let server = serve(routes());
    let socket = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    for (size, expected) in [(64 * 1024, 431), (16, 200)] {
        let request = warp::http::Request::get("http://a/small")
            .header("x", "x".repeat(size))
            .body(())
            .unwrap();
        sender = sender.ready().await.unwrap();
        let (response, _) = sender.send_request(request, true).unwrap();
        assert_eq!(response.await.unwrap().status(), expected);
    }
}

/// Sends `frames` over and over without reading what is answered, until the server has enough.
async fn tire_out(server: &Server, frames: Vec<u8>) {
    let mut connection = begin(server).await;
    let flood = frames.repeat(1000);
    let flooding = tokio::spawn(async move { while connection.try_send(&flood).await.is_ok() {} });
    for _ in 0..20 {
        others_are_served(server).await;
    }
    flooding.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn pings_and_settings_whose_answers_nobody_reads_end_the_connection() {
    let server = serve(routes());
    tire_out(&server, frame(PING, 0, 0, &[0; 8])).await;
    // The initial window size, to the same value.
    tire_out(&server, frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])).await;
}

#[tokio::test]
async fn a_window_update_of_nothing_is_an_error() {
    let server = serve(routes());
    let mut connection = begin(&server).await;
    connection.send(frame(WINDOW_UPDATE, 0, 0, &[0; 4])).await;
    ends_with(&mut connection, PROTOCOL_ERROR).await;
    let mut connection = begin(&server).await;
    connection
        .send(frame(HEADERS, END_STREAM | END_HEADERS, 1, GET_ROOT))
        .await;
    connection.send(frame(WINDOW_UPDATE, 0, 1, &[0; 4])).await;
    loop {
        let (kind, stream, code) = next_frame(&mut connection).await.expect("an error first");
        if matches!(kind, RST_STREAM | GOAWAY) {
            assert!(stream <= 1 && code == Some(PROTOCOL_ERROR));
            break;
        }
    }
    others_are_served(&server).await;
}

#[tokio::test]
async fn streams_past_the_bound_are_refused_and_those_within_it_are_not() {
    const MORE: u32 = 10;
    let server = serve(routes());
    let mut connection = begin(&server).await;
    // Past the server's settings and their acknowledgement the bound is in force.
    while next_frame(&mut connection).await.expect("settings").0 != SETTINGS {}
    connection.send(frame(SETTINGS, 1, 0, &[])).await;
    for index in 0..H2_STREAM_COUNT_MAX + MORE {
        let stream = 1 + 2 * index;
        connection
            .send(frame(HEADERS, END_STREAM | END_HEADERS, stream, GET_ROOT))
            .await;
    }
    for index in H2_STREAM_COUNT_MAX..H2_STREAM_COUNT_MAX + MORE {
        loop {
            let (kind, stream, code) = next_frame(&mut connection).await.expect("refusals");
            if kind == RST_STREAM {
                assert_eq!((stream, code), (1 + 2 * index, Some(REFUSED_STREAM)));
                break;
            }
        }
    }
}
