//! Reading bodies: limits, types and times.

use posthaste_http::{Routes, body, json, json_body, post};
use warp::Filter;
use warp::http::StatusCode;

use crate::client::{exchange, serve, status};

const BYTES_MAX: usize = 1000;

type Numbers = std::collections::BTreeMap<String, Vec<u8>>;

fn routes() -> Routes {
    let raw = warp::path!("raw")
        .and(post())
        .and(body(BYTES_MAX))
        .map(|body: bytes::Bytes| json(StatusCode::OK, &body.len()));
    let numbers = warp::path!("numbers")
        .and(post())
        .and(json_body(BYTES_MAX))
        .map(|numbers: Numbers| json(StatusCode::OK, &numbers));
    raw.or(numbers).unify().boxed()
}

fn head(path: &str, headers: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n")
}

fn with_length(path: &str, media_type: &str, body: &str) -> String {
    let headers = format!("content-type: {media_type}\r\ncontent-length: {}\r\n", body.len());
    format!("{}{body}", head(path, &headers))
}

fn in_chunks(path: &str, chunks: &[&str]) -> String {
    let mut request = head(
        path,
        "content-type: application/json\r\ntransfer-encoding: chunked\r\n",
    );
    for chunk in chunks {
        request.push_str(&format!("{:x}\r\n{chunk}\r\n", chunk.len()));
    }
    request + "0\r\n\r\n"
}

#[tokio::test]
async fn a_body_within_the_limit_is_read_whole() {
    let server = serve(routes());
    let full = "x".repeat(BYTES_MAX);
    for request in [
        with_length("/raw", "application/json", &full),
        in_chunks("/raw", &[&full[..400], &full[..600]]),
    ] {
        let answer = exchange(&server, request).await;
        assert_eq!(status(&answer), 200, "{answer}");
        assert!(answer.ends_with("1000"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_past_the_limit_is_413_and_the_answer_arrives_though_the_caller_is_still_sending() {
    let server = serve(routes());
    let one_more = "x".repeat(BYTES_MAX + 1);
    let huge = "x".repeat(8 * 1024 * 1024);
    for request in [
        with_length("/raw", "application/json", &one_more),
        with_length("/raw", "application/json", &huge),
        in_chunks("/raw", &[&one_more[..1], &one_more[..BYTES_MAX]]),
        in_chunks("/raw", &[&huge]),
    ] {
        let answer = exchange(&server, request).await;
        assert_eq!(status(&answer), 413);
        assert!(answer.contains("body_too_large"), "{answer}");
    }
}

#[tokio::test]
async fn a_caller_that_waits_for_100_continue_is_refused_before_it_sends() {
    let server = serve(routes());
    let headers = "content-type: application/json\r\ncontent-length: 5000\r\nexpect: 100-continue\r\n";
    assert_eq!(status(&exchange(&server, head("/raw", headers)).await), 413);
}

#[tokio::test]
async fn what_is_not_declared_as_json_is_415() {
    let server = serve(routes());
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "jsonapplication/json",
    ] {
        let answer = exchange(&server, with_length("/raw", media_type, "1")).await;
        assert_eq!(status(&answer), 415, "{media_type}");
        assert!(answer.contains("unsupported_media_type"), "{answer}");
    }
    assert_eq!(
        status(&exchange(&server, head("/raw", "content-length: 0\r\n")).await),
        415
    );
    for media_type in [
        "application/json",
        "APPLICATION/JSON;charset=utf-8",
        "application/problem+json",
    ] {
        assert_eq!(
            status(&exchange(&server, with_length("/raw", media_type, "1")).await),
            200,
            "{media_type}"
        );
    }
}

#[tokio::test]
async fn a_media_type_that_is_no_text_is_400_though_other_routes_take_other_methods() {
    let server = serve(posthaste_http::any_of([
        warp::path!("raw")
            .and(posthaste_http::get())
            .map(|| json(StatusCode::OK, &0))
            .boxed(),
        routes(),
    ]));
    let request = head("/raw", "content-type: application/json@\r\n");
    let request = request.bytes().map(|byte| if byte == b'@' { 0xff } else { byte });
    let answer = exchange(&server, request.collect::<Vec<u8>>()).await;
    assert_eq!(status(&answer), 400, "{answer}");
    assert!(answer.contains("`content-type`"), "{answer}");
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_400_with_a_pointer() {
    let server = serve(routes());
    let answer = exchange(
        &server,
        with_length("/numbers", "application/json", r#"{"a": [1, 2, 300]}"#),
    )
    .await;
    assert_eq!(status(&answer), 400);
    assert!(answer.contains(r#""pointer":"/a/2""#), "{answer}");
    let answer = exchange(
        &server,
        with_length("/numbers", "application/json", r#"{"a": [1,"#),
    )
    .await;
    assert!(answer.contains("line 1 column 9"), "{answer}");
    let answer = exchange(&server, with_length("/numbers", "application/json", "[[1]]")).await;
    assert!(answer.contains("must be a JSON object"), "{answer}");
    let answer = exchange(
        &server,
        with_length("/numbers", "application/json", r#" {"a": [1,2]}"#),
    )
    .await;
    assert_eq!(status(&answer), 200, "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_in_time_is_408() {
    let server = serve(routes());
    let request = head("/raw", "content-type: application/json\r\ncontent-length: 10\r\n") + "12345";
    let answer = exchange(&server, request).await;
    assert_eq!(status(&answer), 408);
    assert!(answer.contains("request_timeout"), "{answer}");
}
