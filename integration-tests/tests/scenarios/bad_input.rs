//! What comes from outside may be anything: each gets a clear answer, and nothing stops.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use posthaste_broker::{OutRecord, Producer};
use posthaste_types::topics;
use serde_json::Value;

use crate::load::{Load, assert_each_has_one_result, channel};
use crate::process::Process;
use crate::world::{World, eventually};

/// Method, path, content type, body, the status and the code that must come.
type Case = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    u16,
    &'static str,
);

const JSON: &str = "application/json";
const NO_TASK: &str = "/v1/tasks/task_01h2e8kqvbfwea724h75qc655w";

const CASES: &[Case] = &[
    ("POST", "/v1/tasks", JSON, "", 400, "invalid_request"),
    ("POST", "/v1/tasks", JSON, "{", 400, "invalid_request"),
    ("POST", "/v1/tasks", JSON, "[]", 400, "invalid_request"),
    ("POST", "/v1/tasks", JSON, "{}", 400, "invalid_request"),
    ("POST", "/v1/tasks", JSON, r#"{"type":7}"#, 400, "invalid_request"),
    (
        "POST",
        "/v1/tasks",
        JSON,
        r#"{"type":""}"#,
        400,
        "invalid_request",
    ),
    (
        "POST",
        "/v1/tasks",
        JSON,
        r#"{"type":"UPPER"}"#,
        400,
        "invalid_request",
    ),
    (
        "POST",
        "/v1/tasks",
        JSON,
        r#"{"type":"echo","type":"echo"}"#,
        400,
        "invalid_request",
    ),
    (
        "POST",
        "/v1/tasks",
        JSON,
        r#"{"type":"echo","nonsense":1}"#,
        400,
        "invalid_request",
    ),
    (
        "POST",
        "/v1/tasks",
        JSON,
        r#"{"type":"echo","priority":10}"#,
        400,
        "invalid_request",
    ),
    (
        "POST",
        "/v1/tasks",
        JSON,
        r#"{"type":"echo","priority":-1}"#,
        400,
        "invalid_request",
    ),
    (
        "POST",
        "/v1/tasks",
        JSON,
        r#"{"type":"echo","delay_s":-1}"#,
        400,
        "invalid_request",
    ),
    (
        "POST",
        "/v1/tasks",
        JSON,
        r#"{"type":"echo","delay_s":1e300}"#,
        400,
        "invalid_request",
    ),
    (
        "POST",
        "/v1/tasks",
        JSON,
        r#"{"type":"echo","timeout_s":0}"#,
        400,
        "invalid_request",
    ),
    (
        "POST",
        "/v1/tasks",
        JSON,
        r#"{"type":"echo","not_before":"tomorrow"}"#,
        400,
        "invalid_request",
    ),
    (
        "POST",
        "/v1/tasks",
        JSON,
        r#"{"type":"echo","key":"a\u0000b"}"#,
        400,
        "invalid_request",
    ),
    (
        "POST",
        "/v1/tasks",
        JSON,
        r#"{"type":"echo","retry":{"max_attempts":0}}"#,
        400,
        "invalid_request",
    ),
    (
        "POST",
        "/v1/tasks",
        JSON,
        r#"{"type":"echo","tags":{"a":1}}"#,
        400,
        "invalid_request",
    ),
    (
        "POST",
        "/v1/tasks",
        JSON,
        r#"{"type":"echo","queue":"no.such.queue"}"#,
        422,
        "unprocessable",
    ),
    (
        "POST",
        "/v1/tasks",
        JSON,
        "{\"type\":\"echo\",\"payload\":\"\u{1}\"}",
        400,
        "invalid_request",
    ),
    (
        "POST",
        "/v1/tasks",
        JSON,
        r#"{"type":"echo","payload":"\ud800"}"#,
        400,
        "invalid_request",
    ),
    (
        "POST",
        "/v1/tasks",
        "text/plain",
        r#"{"type":"echo"}"#,
        415,
        "unsupported_media_type",
    ),
    (
        "POST",
        "/v1/tasks/batch",
        JSON,
        r#"{"tasks":[]}"#,
        400,
        "invalid_request",
    ),
    (
        "POST",
        "/v1/tasks/batch",
        JSON,
        r#"{"tasks":1}"#,
        400,
        "invalid_request",
    ),
    ("GET", NO_TASK, JSON, "", 404, "not_found"),
    ("GET", "/v1/tasks/nonsense", JSON, "", 404, "not_found"),
    ("GET", "/v1/tasks?state=done", JSON, "", 400, "invalid_parameter"),
    ("GET", "/v1/tasks?limit=0", JSON, "", 400, "invalid_parameter"),
    (
        "GET",
        "/v1/tasks?limit=100000",
        JSON,
        "",
        400,
        "invalid_parameter",
    ),
    ("GET", "/v1/tasks?nonsense=1", JSON, "", 400, "invalid_parameter"),
    (
        "GET",
        "/v1/tasks?cursor=nonsense",
        JSON,
        "",
        400,
        "invalid_parameter",
    ),
    (
        "GET",
        "/v1/tasks/task_01h2e8kqvbfwea724h75qc655w?wait=never",
        JSON,
        "",
        400,
        "invalid_parameter",
    ),
    (
        "GET",
        "/v1/tasks/task_01h2e8kqvbfwea724h75qc655w/history",
        JSON,
        "",
        404,
        "not_found",
    ),
    (
        "POST",
        "/v1/tasks/task_01h2e8kqvbfwea724h75qc655w/cancel",
        JSON,
        "",
        404,
        "not_found",
    ),
    (
        "POST",
        "/v1/tasks/task_01h2e8kqvbfwea724h75qc655w/retry",
        JSON,
        "",
        404,
        "not_found",
    ),
    (
        "GET",
        "/v1/tasks/task_01h2e8kqvbfwea724h75qc655w/events",
        JSON,
        "",
        404,
        "not_found",
    ),
    (
        "GET",
        "/v1/events?cursor=nonsense",
        JSON,
        "",
        400,
        "invalid_parameter",
    ),
    (
        "GET",
        "/v1/events?event=task.nonsense",
        JSON,
        "",
        400,
        "invalid_parameter",
    ),
    ("GET", "/v1/events?nonsense=1", JSON, "", 400, "invalid_parameter"),
    ("POST", "/v1/endpoints", JSON, "{}", 400, "invalid_request"),
    (
        "POST",
        "/v1/endpoints",
        JSON,
        r#"{"url":"nonsense"}"#,
        400,
        "invalid_request",
    ),
    (
        "POST",
        "/v1/endpoints",
        JSON,
        r#"{"url":"ftp://example.com"}"#,
        400,
        "invalid_request",
    ),
    (
        "POST",
        "/v1/endpoints",
        JSON,
        r#"{"url":"https://example.com","events":["task.nonsense"]}"#,
        400,
        "invalid_request",
    ),
    ("GET", "/v1/endpoints/nonsense", JSON, "", 404, "not_found"),
    (
        "GET",
        "/v1/endpoints/ep_01h2e8kqvbfwea724h75qc655w/attempts",
        JSON,
        "",
        404,
        "not_found",
    ),
    (
        "DELETE",
        "/v1/endpoints/ep_01h2e8kqvbfwea724h75qc655w",
        JSON,
        "",
        404,
        "not_found",
    ),
    ("GET", "/v1/nonsense", JSON, "", 404, "route_not_found"),
    ("PUT", "/v1/tasks", JSON, "{}", 405, "method_not_allowed"),
];

pub(crate) async fn every_route_answers_bad_input_with_a_problem(world: Arc<World>) -> anyhow::Result<()> {
    let process = Process::whole(&world).await?;
    for (method, path, kind, body, status, code) in CASES {
        let request = world
            .http
            .request(method.parse()?, format!("{}{path}", process.url));
        let answer = request.header("content-type", *kind).body(*body).send().await?;
        let case = format!("{method} {path} {body}");
        ensure!(
            answer.status() == *status,
            "{case}: {} {}",
            answer.status(),
            answer.text().await?
        );
        let kind = answer
            .headers()
            .get("content-type")
            .context("a content type")?
            .to_str()?
            .to_owned();
        ensure!(kind == "application/problem+json", "{case}: {kind}");
        let problem: Value = answer.json().await?;
        ensure!(
            problem["code"] == *code && problem["status"] == *status,
            "{case}: {problem}"
        );
        ensure!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty()),
            "{case}: {problem}"
        );
    }
    for (name, body) in [
        (
            "a deep body",
            format!(
                r#"{{"type":"echo","payload":{}{}}}"#,
                "[".repeat(100_000),
                "]".repeat(100_000)
            ),
        ),
        (
            "a wide body",
            format!(r#"{{"type":"echo","payload":"{}"}}"#, "x".repeat(2 * 1024 * 1024)),
        ),
    ] {
        let request = world
            .http
            .post(format!("{}/v1/tasks", process.url))
            .header("content-type", JSON);
        // A server that answers before it has read all may close while we still write: no answer is then seen.
        if let Ok(answer) = request.body(body).send().await {
            ensure!(
                [400, 413].contains(&answer.status().as_u16()),
                "{name}: {}",
                answer.status()
            );
        }
    }
    process.stop().await
}

pub(crate) async fn poison_records_go_to_the_dead_letters_and_the_rest_goes_on(
    world: Arc<World>,
) -> anyhow::Result<()> {
    let process = Process::whole(&world).await?;
    let producer = Producer::new(&world.kafka())?;
    let channel = channel("poison");
    let before = world.records(topics::DEAD_LETTERS).await?.len();
    let poisons: [&[u8]; 4] = [
        b"",
        b"nonsense",
        &[0, 0, 0, 0, 1],
        &[0, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3],
    ];
    let topics_hit = [
        topics::tasks_topic(topics::DEFAULT_QUEUE),
        topics::RESULTS.to_owned(),
    ];
    for topic in &topics_hit {
        for poison in poisons {
            let record = OutRecord {
                topic: topic.clone(),
                partition: None,
                key: None,
                value: Some(poison.to_vec().into()),
                headers: Vec::new(),
            };
            producer.send(record).await?;
        }
    }
    let load = Load::start(&world, &process.url, &channel, Duration::from_millis(2));
    load.accepts(100).await?;
    let accepted = load.finish().await?;
    assert_each_has_one_result(&world, &channel, &accepted).await?;
    eventually("the poison is among the dead letters", async || {
        let dead = world.records(topics::DEAD_LETTERS).await?.len() - before;
        ensure!(dead >= poisons.len(), "{dead} dead letters");
        Ok(())
    })
    .await?;
    process.stop().await
}
