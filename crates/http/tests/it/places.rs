//! How many connections there may be.

use posthaste_http::{Front, Routes, ServeOptions, get, json};
use warp::Filter;
use warp::http::StatusCode;

use crate::client::{Connection, Server, serve_with, status};

fn routes() -> Routes {
    warp::path!("hello")
        .and(get())
        .map(|| json(StatusCode::OK, "hello"))
        .boxed()
}

async fn served(server: &Server) -> Connection {
    let mut connection = Connection::open(server).await;
    connection.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(status(&connection.until("\"hello\"").await), 200);
    connection
}

#[tokio::test]
async fn connections_past_a_bound_are_closed_at_once_and_a_place_that_is_free_is_taken() {
    for (connections_max, connections_per_address_max) in [(2, 100), (100, 2)] {
        let options = ServeOptions {
            connections_max,
            connections_per_address_max,
            tls: None,
        };
        let server = serve_with(routes(), Front::open(), options);
        let (mut first, _second) = (served(&server).await, served(&server).await);
        let mut third = Connection::open(&server).await;
        assert_eq!(third.count_rest().await, 0);
        first
            .send("GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await;
        first.rest().await;
        drop(first);
        // The server learns of the end after the client.
        loop {
            let mut next = Connection::open(&server).await;
            let _ = next
                .try_send("GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                .await;
            if next.count_rest().await > 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}
