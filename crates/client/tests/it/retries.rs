//! What is sent again, how often, and under which key.

use std::time::Duration;

use posthaste_client::{Client, Error, NewEndpoint, Problem, SubmitRequest};
use posthaste_types::ErrorCode;

use crate::scripted::{Scripted, Turn};

const PROBLEM: &str = "content-type: application/problem+json\r\nretry-after: 0\r\n";

fn problem(code: ErrorCode) -> Turn {
    let body = serde_json::to_string(&Problem::new(code, "because")).unwrap();
    Turn::Answer(code.status(), PROBLEM, body)
}

fn accepted() -> Turn {
    let body = r#"{"id":"task_01h2e8kqvbfwea724h75qc655w","state":"INIT","type":"echo","queue":"default",
        "created_at":"2026-11-24T09:00:00Z","links":{"self":"/a","events":"/b","history":"/c"}}"#;
    Turn::Answer(202, "", body.to_owned())
}

fn task() -> SubmitRequest {
    SubmitRequest {
        task_type: "echo".to_owned(),
        ..SubmitRequest::default()
    }
}

#[tokio::test]
async fn a_submission_goes_again_under_one_key_until_it_is_taken() {
    let gateway = Turn::Answer(502, "content-type: text/html\r\n", "<html>".to_owned());
    let turns = vec![
        Turn::Cut,
        problem(ErrorCode::TooManyRequests),
        gateway,
        accepted(),
    ];
    let server = Scripted::serve(turns).await;
    let client = Client::new(&server.url).unwrap();
    client.submit(&task(), None).await.unwrap();
    let keys = server.header("idempotency-key");
    assert_eq!(keys.len(), 4);
    assert!(
        keys[0].len() > 30 && keys.iter().all(|key| *key == keys[0]),
        "{keys:?}"
    );
}

#[tokio::test]
async fn a_batch_goes_again_under_one_key_until_it_is_taken() {
    let answer = Turn::Answer(202, "", r#"{"tasks":[]}"#.to_owned());
    let server = Scripted::serve(vec![Turn::Cut, problem(ErrorCode::Unavailable), answer]).await;
    let client = Client::new(&server.url).unwrap();
    client.submit_batch(&[task()], true, Some("run 7")).await.unwrap();
    assert_eq!(server.header("idempotency-key"), [r#""run 7""#; 3]);
}

#[tokio::test]
async fn a_key_that_no_header_can_hold_is_refused_at_once() {
    let server = Scripted::serve(Vec::new()).await;
    let client = Client::new(&server.url).unwrap();
    let refused = client.submit(&task(), Some("line\nbreak")).await;
    assert!(
        matches!(&refused, Err(error @ Error::Request(_)) if !error.is_transient()),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_number_that_json_cannot_hold_is_refused_and_not_sent_as_nothing() {
    let server = Scripted::serve(Vec::new()).await;
    let client = Client::new(&server.url).unwrap();
    for number in [f64::NAN, f64::INFINITY] {
        let delay = SubmitRequest {
            delay_s: Some(number),
            ..task()
        };
        let timeout = SubmitRequest {
            timeout_s: Some(number),
            ..task()
        };
        for task in [delay, timeout] {
            assert!(matches!(client.submit(&task, None).await, Err(Error::Request(_))));
        }
    }
}

#[tokio::test]
async fn a_wait_may_be_as_long_as_can_be_said() {
    let task = r#"{"id":"task_01h2e8kqvbfwea724h75qc655w"}"#;
    let server = Scripted::serve(vec![Turn::Answer(200, "", task.to_owned())]).await;
    let client = Client::new(&server.url).unwrap();
    let id = "task_01h2e8kqvbfwea724h75qc655w".parse().unwrap();
    // It ends with what the answer lacks, not with a panic.
    let waited = client.wait(id, Duration::MAX).await;
    assert!(matches!(waited, Err(Error::Unexpected(_))), "{waited:?}");
}

#[tokio::test]
async fn a_callers_own_key_is_sent_as_the_string_that_it_is() {
    let server = Scripted::serve(vec![accepted()]).await;
    let client = Client::new(&server.url).unwrap();
    client.submit(&task(), Some(r#"order "7""#)).await.unwrap();
    assert_eq!(server.header("idempotency-key"), [r#""order \"7\"""#]);
}

#[tokio::test]
async fn what_no_repetition_helps_is_not_repeated() {
    let server = Scripted::serve(vec![problem(ErrorCode::Forbidden)]).await;
    let client = Client::new(&server.url).unwrap();
    let refused = client.submit(&task(), None).await;
    assert!(matches!(refused, Err(Error::Refused(problem)) if problem.status == 403));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn tries_are_bounded() {
    let turns = (0..9).map(|_| problem(ErrorCode::Unavailable)).collect();
    let server = Scripted::serve(turns).await;
    let client = Client::new(&server.url).unwrap();
    let refused = client.endpoints().await;
    assert!(matches!(refused, Err(Error::Refused(problem)) if problem.status == 503));
    assert_eq!(server.requests().len(), 5);
}

#[tokio::test]
async fn a_server_that_asks_for_too_long_a_wait_is_not_waited_for() {
    let turn = Turn::Answer(503, "retry-after: 3600\r\n", String::new());
    let server = Scripted::serve(vec![turn]).await;
    let client = Client::new(&server.url).unwrap();
    assert!(matches!(client.endpoints().await, Err(Error::Gateway(503))));
}

#[tokio::test]
async fn what_would_happen_twice_is_sent_once() {
    let server = Scripted::serve(vec![problem(ErrorCode::Unavailable), accepted()]).await;
    let client = Client::new(&server.url).unwrap();
    let made = client.create_endpoint(&NewEndpoint::default()).await;
    assert!(matches!(made, Err(Error::Refused(problem)) if problem.status == 503));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Scripted::serve(vec![accepted()]).await;
    let location: &'static str = format!("location: {}/\r\n", other.url).leak();
    let server = Scripted::serve(vec![Turn::Answer(307, location, String::new())]).await;
    let client = Client::new(&server.url).unwrap();
    assert!(matches!(client.endpoints().await, Err(Error::Gateway(307))));
    assert!(other.requests().is_empty());
}
