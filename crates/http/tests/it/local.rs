//! An open door on loopback, as a web page from elsewhere finds it.

use posthaste_http::{Caller, Cors, Front, Routes, ServeOptions, get, json, post};
use warp::Filter as _;
use warp::http::StatusCode;

use crate::client::{Server, exchange, serve_with, status};

fn routes() -> Routes {
    let answer = || json(StatusCode::OK, "ok");
    let read = warp::path!("v1" / "tasks").and(get()).map(answer);
    let write = warp::path!("v1" / "tasks").and(post()).map(answer);
    read.or(write).unify().boxed()
}

fn server() -> Server {
    let cors = Cors::parse(&["https://app.example.com".to_owned()]).unwrap();
    let front = Front::open_on_loopback(Caller::open()).with_cors(cors);
    serve_with(routes(), front, ServeOptions::default())
}

async fn ask(server: &Server, line: &str, headers: &str) -> String {
    exchange(
        server,
        format!("{line} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n"),
    )
    .await
}

#[tokio::test]
async fn only_names_of_this_machine_are_answered_to() {
    let server = server();
    let port = server.address.port();
    for host in ["localhost", "127.0.0.1", "[::1]", "ui.localhost"] {
        for host in [host.to_owned(), format!("{host}:{port}")] {
            let answer = ask(&server, "POST /v1/tasks", &format!("host: {host}\r\n")).await;
            assert_eq!(status(&answer), 200, "{host} {answer}");
        }
    }
    for (line, host) in [
        ("POST /v1/tasks", format!("evil.example:{port}")),
        ("GET /v1/tasks", "evil.example".to_owned()),
        ("GET /healthz", "evil.example".to_owned()),
        ("GET http://evil.example/v1/tasks", "localhost".to_owned()),
        ("GET http://localhost/v1/tasks", "evil.example".to_owned()),
        ("GET /v1/tasks", String::new()),
    ] {
        let answer = ask(&server, line, &format!("host: {host}\r\n")).await;
        assert_eq!(status(&answer), 403, "{line} {host} {answer}");
        assert!(
            answer.contains("forbidden") && answer.contains("http.access"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn pages_from_elsewhere_send_nothing_unless_their_origin_is_allowed() {
    let server = server();
    for (line, origin, expected) in [
        ("POST /v1/tasks", "http://localhost:5173", 200),
        ("POST /v1/tasks", "http://[::1]:8080", 200),
        ("POST /v1/tasks", "https://app.example.com", 200),
        ("POST /v1/tasks", "https://evil.example", 403),
        ("POST /v1/tasks", "null", 403),
        ("DELETE /v1/tasks", "https://evil.example", 403),
        ("GET /v1/tasks", "https://evil.example", 200),
        ("GET /v1/tasks", "https://evil.example\r\nupgrade: websocket", 403),
    ] {
        let headers = format!("host: localhost\r\norigin: {origin}\r\n");
        let answer = ask(&server, line, &headers).await;
        assert_eq!(status(&answer), expected, "{line} {origin} {answer}");
    }
}
