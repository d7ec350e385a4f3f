//! Connections: both protocol versions, time limits, and the end.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use posthaste_http::{Routes, any_of, empty, get, json, stream};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use warp::Filter;
use warp::http::header::CONTENT_LENGTH;
use warp::http::{Request, StatusCode};

use crate::client::{Connection, Server, exchange, serve, status};

fn hello() -> Routes {
    warp::path!("hello")
        .and(get())
        .map(|| json(StatusCode::OK, "hello"))
        .boxed()
}

const GET_HELLO: &str = "GET /hello HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn requests_on_one_connection_are_answered_with_their_ids() {
    let server = serve(hello());
    let mut connection = Connection::open(&server).await;
    connection
        .send("GET /hello HTTP/1.1\r\nhost: a\r\nx-request-id: r-1\r\n\r\n")
        .await;
    let answer = connection.until("\"hello\"").await;
    assert_eq!(status(&answer), 200);
    assert!(answer.contains("x-request-id: r-1\r\n"), "{answer}");
    connection.send(GET_HELLO).await;
    let answer = connection.until("\"hello\"").await;
    assert!(answer.contains("x-request-id: "), "one is made: {answer}");
}

async fn http_2(server: &Server) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(server.address).await.expect("it listens");
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("it speaks HTTP/2");
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn http_2_is_spoken_without_tls() {
    let server = serve(hello());
    let mut sender = http_2(&server).await;
    let request = Request::get(format!("http://{}/hello", server.address))
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "\"hello\""
    );
}

#[tokio::test]
async fn head_gets_the_head_alone() {
    let server = serve(hello());
    let answer = exchange(
        &server,
        "HEAD /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(status(&answer), 200);
    assert!(
        answer.contains("content-length: 7") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn head_gets_the_head_alone_over_http_2_too() {
    let endless = warp::path!("stream")
        .and(get())
        .map(|| stream(futures_util::stream::pending()))
        .boxed();
    let server = serve(any_of([hello(), endless]));
    let mut sender = http_2(&server).await;
    for (path, length) in [("hello", Some("7")), ("stream", None)] {
        let request = Request::head(format!("http://{}/{path}", server.address))
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let told = response
            .headers()
            .get(CONTENT_LENGTH)
            .map(|value| value.to_str().unwrap());
        assert_eq!((response.status(), told), (StatusCode::OK, length), "{path}");
        // A body that never ended would never be whole.
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "");
    }
}

#[tokio::test]
async fn what_fits_no_route_is_a_problem() {
    let server = serve(hello());
    let answer = exchange(
        &server,
        "GET /nowhere HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(status(&answer), 404);
    assert!(
        answer.contains("application/problem+json") && answer.contains("route_not_found"),
        "{answer}"
    );
    let answer = exchange(
        &server,
        "DELETE /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(status(&answer), 405);
    assert!(
        answer.contains("allow: GET, HEAD\r\n") && answer.contains("method_not_allowed"),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_sends_no_whole_head_is_closed() {
    let server = serve(hello());
    for sent in [
        "",
        "GET /hello HTT",
        "GET /hello HTTP/1.1\r\nhost: a\r\n",
        "PRI * HTTP/2",
    ] {
        assert_eq!(exchange(&server, sent).await, "", "{sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_falls_idle_is_closed() {
    let server = serve(hello());
    let mut connection = Connection::open(&server).await;
    connection.send(GET_HELLO).await;
    connection.until("\"hello\"").await;
    assert_eq!(connection.rest().await, "");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = serve(hello());
    let head = format!(
        "GET /hello HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "x".repeat(64 * 1024)
    );
    assert_eq!(status(&exchange(&server, head).await), 431);
}

#[tokio::test]
async fn a_stop_lets_a_request_in_flight_end_and_takes_no_other() {
    let (began, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (handler_began, handler_goes_on) = (Arc::clone(&began), Arc::clone(&go_on));
    let slow = warp::path!("slow").and(get()).then(move || {
        let (began, go_on) = (Arc::clone(&handler_began), Arc::clone(&handler_goes_on));
        async move {
            began.notify_one();
            go_on.notified().await;
            json(StatusCode::OK, "done")
        }
    });
    let server = serve(slow.boxed());
    let mut connection = Connection::open(&server).await;
    let mut idle = Connection::open(&server).await;
    idle.send("HEAD /nowhere HTTP/1.1\r\nhost: a\r\n\r\n").await;
    idle.until("\r\n\r\n").await;
    connection.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    began.notified().await;
    server.stopper.stop();
    assert_eq!(idle.rest().await, "", "an idle connection is closed at once");
    // The socket is closed before the requests are waited for, so this cannot be taken any more.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    go_on.notify_one();
    let answer = connection.rest().await;
    assert_eq!(status(&answer), 200);
    assert!(answer.ends_with("\"done\""), "{answer}");
    server.serving.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_in_time_after_a_stop_is_cut() {
    let endless = warp::path!("endless")
        .and(get())
        .map(|| stream(futures_util::stream::pending()));
    let server = serve(endless.boxed());
    let mut connection = Connection::open(&server).await;
    connection.send("GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await;
    connection.until("\r\n\r\n").await;
    server.stopper.stop();
    server.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_is_sent_piece_by_piece() {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Bytes>();
    let pieces = futures_util::stream::unfold(receiver, async |mut receiver| {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    });
    let pieces = Arc::new(std::sync::Mutex::new(Some(pieces)));
    let routes = warp::path!("stream").and(get()).map(move || {
        pieces
            .lock()
            .unwrap()
            .take()
            .map_or_else(|| empty(StatusCode::NO_CONTENT), stream)
    });
    let server = serve(routes.boxed());
    let mut connection = Connection::open(&server).await;
    connection
        .send("GET /stream HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    sender.send("one".into()).unwrap();
    connection.until("one").await;
    sender.send("two".into()).unwrap();
    connection.until("two").await;
    drop(sender);
    connection.rest().await;
}
