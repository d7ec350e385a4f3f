//! What is refused, and what it says.

use serde_json::{Value, json};

use super::*;
use crate::request;

fn now() -> DateTime<Utc> {
    "2026-01-02T03:04:05.123456Z".parse().unwrap()
}

fn validated(body: &str) -> Result<Task, Problem> {
    task(
        request::parse(body.as_bytes(), "")?,
        "default",
        now(),
        String::new(),
        "",
    )
}

fn of(body: &Value) -> Task {
    validated(&body.to_string()).unwrap()
}

fn pointers(body: &str) -> Vec<String> {
    let problem = validated(body).unwrap_err();
    assert_eq!(problem.status, 400, "{body}");
    problem.errors.into_iter().map(|error| error.pointer).collect()
}

#[test]
fn the_smallest_request_gets_defaults() {
    let task = of(&json!({"type": "a"}));
    assert_eq!(
        (task.queue.as_str(), task.payload.as_str(), task.priority),
        ("default", "null", 5)
    );
    assert_eq!(
        (task.state, task.run, task.attempt, task.version),
        (TaskState::Init, 1, 0, 1)
    );
    assert_eq!(task.created_at, now());
}

#[test]
fn a_payload_keeps_its_text() {
    let body = r#"{"type":"a","payload": {"n": 1.00000000000000000000001e400, "a":1,  "A":2} }"#;
    assert_eq!(
        validated(body).unwrap().payload,
        r#"{"n": 1.00000000000000000000001e400, "a":1,  "A":2}"#
    );
    assert_eq!(
        validated(r#"{"type":"a","payload":null}"#).unwrap().payload,
        "null"
    );
}

#[test]
fn a_time_ahead_schedules_and_a_past_one_does_not() {
    let delayed = of(&json!({"type": "a", "delay_s": 1.5}));
    assert_eq!(delayed.state, TaskState::Scheduled);
    assert_eq!(
        delayed.not_before,
        Some("2026-01-02T03:04:06.623456Z".parse().unwrap())
    );
    let at = of(&json!({"type": "a", "not_before": "2026-01-02T05:04:05.1234567+02:00"}));
    assert_eq!((at.state, at.not_before), (TaskState::Init, Some(now())));
    let none = of(&json!({"type": "a", "delay_s": 0}));
    assert_eq!((none.state, none.not_before), (TaskState::Init, None));
}

#[test]
fn every_bound_is_refused_with_its_pointer() {
    let long = |len: usize| "a".repeat(len);
    let tags = |count: usize| -> Value {
        (0..count)
            .map(|index| (format!("t{index}"), Value::from("v")))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    for (fields, expected) in [
        (json!({"type": ""}), "/type"),
        (json!({"type": "Upper"}), "/type"),
        (json!({"type": long(101)}), "/type"),
        (json!({"queue": "a/b"}), "/queue"),
        (json!({"queue": ""}), "/queue"),
        (json!({"key": ""}), "/key"),
        (json!({"key": "a\0b"}), "/key"),
        (json!({"channel": long(257)}), "/channel"),
        (json!({"priority": 10}), "/priority"),
        (json!({"priority": -1}), "/priority"),
        (json!({"priority": 1_000_000}), "/priority"),
        (json!({"delay_s": -1}), "/delay_s"),
        (json!({"delay_s": 1e300}), "/delay_s"),
        (
            json!({"delay_s": 1, "not_before": "2026-01-02T03:04:06Z"}),
            "/delay_s",
        ),
        (json!({"not_before": "2030-01-01T00:00:00Z"}), "/not_before"),
        (json!({"not_before": "0001-01-01T00:00:00Z"}), "/not_before"),
        (json!({"deadline": "2030-01-01T00:00:00Z"}), "/deadline"),
        (
            json!({"delay_s": 10, "deadline": "2026-01-02T03:04:06Z"}),
            "/deadline",
        ),
        (json!({"timeout_s": 0}), "/timeout_s"),
        (json!({"timeout_s": 86401}), "/timeout_s"),
        (json!({"retry": {"max_attempts": 0}}), "/retry/max_attempts"),
        (json!({"retry": {"factor": 0.5}}), "/retry/factor"),
        (json!({"tags": tags(17)}), "/tags"),
        (json!({"tags": {"": "v"}}), "/tags"),
        (json!({"tags": {"a/b": long(257)}}), "/tags/a~1b"),
        (json!({"tags": {"a": "\0"}}), "/tags/a"),
    ] {
        let mut body = json!({"type": "a"});
        body.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        assert_eq!(pointers(&body.to_string()), [expected], "{body}");
    }
}

#[test]
fn what_is_at_a_bound_passes() {
    let bytes = "é".repeat(128);
    let task = of(&json!({
        "type": "a".repeat(100), "key": bytes, "channel": bytes, "priority": 0, "timeout_s": 0.001,
        "tags": {"t": "v".repeat(256)}, "retry": {"max_attempts": 100, "base_s": 0},
    }));
    assert_eq!((task.priority, task.timeout_ms), (0, Some(1)));
    assert_eq!(task.retry.unwrap().max_attempts, 100);
}

#[test]
fn several_wrong_fields_are_named_at_once() {
    assert_eq!(
        pointers(r#"{"type": "A", "priority": 99, "key": ""}"#),
        ["/type", "/key", "/priority"]
    );
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    for (body, expected) in [
        (r"{}", "/type"),
        (r#"{"type": 7}"#, "/type"),
        (r#"{"type": "a", "colour": "red"}"#, "/colour"),
        (r#"{"type": "a", "priority": 1.5}"#, "/priority"),
        (r#"{"type": "a", "tags": {"n": 1}}"#, "/tags/n"),
        (r#"{"type": "a", "retry": {"tries": 1}}"#, "/retry/tries"),
        (r#"{"type": "a", "not_before": "tomorrow"}"#, "/not_before"),
        (r#"{"type": "a", "type": "b"}"#, "/type"),
    ] {
        assert_eq!(pointers(body), [expected], "{body}");
    }
    assert!(pointers(r#"{"type": "a""#).is_empty());
    assert!(pointers(r#"{"type": "\ud800"}"#).is_empty());
}

#[test]
fn payloads_that_could_not_be_read_back_are_refused() {
    assert_eq!(
        pointers(r#"{"type": "a", "payload": {"k": "\ud800"}}"#),
        ["/payload/k"]
    );
    let deep = format!(
        r#"{{"type": "a", "payload": {}{}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    assert_eq!(pointers(&deep), ["/payload"]);
}
