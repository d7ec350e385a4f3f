//! `GET /v1/tasks/{id}` and its history.

use serde_json::{Value, json};

use crate::world::{World, run, uuid_of};

#[test]
fn a_task_reads_back_with_everything_that_was_submitted() {
    run(async {
        let world = World::new().await;
        let body =
            r#"{"type":"a","payload":{"n":1e400},"key":"k","channel":"c","priority":9,"tags":{"x":"y"}}"#;
        let submitted = world.request("POST", "/v1/tasks").text(body).send().await.json();
        let path = submitted["links"]["self"].as_str().unwrap();
        let answer = world.get(path).await;
        assert_eq!(answer.status(), 200);
        assert!(
            answer.text().contains(r#""payload":{"n":1e400}"#),
            "{}",
            answer.text()
        );
        assert_eq!(answer.header("retry-after"), Some("1"));
        let text = answer.text().replace("1e400", "0");
        let task: Value = serde_json::from_str(&text).unwrap();
        let names: Vec<&String> = task.as_object().unwrap().keys().collect();
        for name in [
            "id",
            "type",
            "queue",
            "key",
            "channel",
            "state",
            "run",
            "attempt",
            "priority",
            "tags",
            "payload",
            "progress",
            "result",
            "error",
            "created_at",
            "not_before",
            "started_at",
            "finished_at",
            "links",
        ] {
            assert!(names.iter().any(|present| *present == name), "{name} is missing");
        }
        assert_eq!(task["created_at"], submitted["created_at"]);
        assert_eq!((&task["run"], &task["attempt"]), (&json!(1), &json!(0)));
    });
}

#[test]
fn what_is_no_task_is_404() {
    run(async {
        let world = World::new().await;
        for id in [
            "task_01h2e8kqvbfwea724h75qc655w",
            "evt_01h2e8kqvbfwea724h75qc655w",
            "7",
            "%00",
        ] {
            world
                .get(&format!("/v1/tasks/{id}"))
                .await
                .problem(404, "not_found");
            world
                .get(&format!("/v1/tasks/{id}/history"))
                .await
                .problem(404, "not_found");
        }
    });
}

#[test]
fn a_task_of_another_tenant_is_404() {
    run(async {
        let world = World::new().await;
        let task = world.submit(json!({"type": "a"})).await;
        world
            .client
            .execute("update posthaste.tasks set tenant = 'other'", &[])
            .await
            .unwrap();
        let path = task["links"]["self"].as_str().unwrap();
        world.get(path).await.problem(404, "not_found");
        world
            .request("POST", &format!("{path}/cancel"))
            .send()
            .await
            .problem(404, "not_found");
        world
            .request("POST", &format!("{path}/retry"))
            .send()
            .await
            .problem(404, "not_found");
        assert_eq!(world.get("/v1/tasks").await.json()["tasks"], json!([]));
    });
}

#[test]
fn the_etag_changes_with_the_task_and_answers_304_until_then() {
    run(async {
        let world = World::new().await;
        let task = world.submit(json!({"type": "a"})).await;
        let (id, path) = (
            task["id"].as_str().unwrap(),
            task["links"]["self"].as_str().unwrap(),
        );
        let etag = world.get(path).await.header("etag").unwrap().to_owned();
        for held in [etag.as_str(), "*", &format!("\"other\", W/{etag}")] {
            let answer = world
                .request("GET", path)
                .header("if-none-match", held)
                .send()
                .await;
            assert_eq!((answer.status(), answer.text()), (304, ""), "{held}");
            assert_eq!(answer.header("etag"), Some(etag.as_str()));
        }
        world.end(id, "DONE").await;
        let answer = world
            .request("GET", path)
            .header("if-none-match", &etag)
            .send()
            .await;
        assert_eq!((answer.status(), answer.header("retry-after")), (200, None));
        assert_ne!(answer.header("etag"), Some(etag.as_str()));
        assert_eq!(answer.json()["result"], json!({"pages": 3}));
    });
}

#[test]
fn unknown_parameters_are_refused_by_name() {
    run(async {
        let world = World::new().await;
        let task = world.submit(json!({"type": "a"})).await;
        let path = task["links"]["self"].as_str().unwrap();
        let answer = world.get(&format!("{path}?colour=red")).await;
        answer.problem(400, "invalid_parameter");
        assert!(answer.text().contains("colour"));
        for wait in ["61", "-1", "soon"] {
            world
                .get(&format!("{path}?wait={wait}"))
                .await
                .problem(400, "invalid_parameter");
        }
    });
}

#[test]
fn the_history_tells_the_smooth_way_and_what_departed_from_it() {
    run(async {
        let world = World::new().await;
        let task = world.submit(json!({"type": "a"})).await;
        let (id, path) = (
            task["id"].as_str().unwrap(),
            task["links"]["history"].as_str().unwrap(),
        );
        let states = async || {
            let history = world.get(path).await.json();
            let entries = history["history"].as_array().unwrap().clone();
            entries
                .iter()
                .map(|entry| {
                    format!(
                        "{} {} {}",
                        entry["state"].as_str().unwrap(),
                        entry["run"],
                        entry["attempt"]
                    )
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(states().await, ["INIT 1 0"]);
        world.end(id, "DONE").await;
        assert_eq!(states().await, ["INIT 1 0", "RUNNING 1 1", "DONE 1 1"]);
        world
            .client
            .execute(
                "insert into posthaste.task_history (task_id, at, state, run, attempt, worker, note)
                 select id, started_at, 'RUNNING', 1, 1, 'w', 'takeover' from posthaste.tasks where id = $1",
                &[&uuid_of(id)],
            )
            .await
            .unwrap();
        assert_eq!(
            states().await,
            ["INIT 1 0", "RUNNING 1 1", "DONE 1 1"],
            "a takeover is the attempt's start"
        );
        let history = world.get(path).await.json();
        assert_eq!(history["history"][1]["note"], "takeover");
        assert_eq!(history["history"][1]["worker"], "w");
        assert_eq!(history["webhooks"], json!([]));
    });
}

#[test]
fn the_history_tells_webhook_attempts() {
    run(async {
        let world = World::new().await;
        let task = world.submit(json!({"type": "a"})).await;
        let id = task["id"].as_str().unwrap();
        world
            .client
            .execute(
                "insert into posthaste.webhook_attempts
                 (id, endpoint_id, event_id, task_id, kind, number, status, http_status, took_ms, at)
                 values ($1, $1, $1, $1, 'task.done', 1, 'failed', 503, 7, now())",
                &[&uuid_of(id)],
            )
            .await
            .unwrap();
        let history = world.get(task["links"]["history"].as_str().unwrap()).await.json();
        let webhook = &history["webhooks"][0];
        assert_eq!(
            (&webhook["status"], &webhook["http_status"]),
            (&json!("failed"), &json!(503))
        );
        assert!(webhook["endpoint"].as_str().unwrap().starts_with("ep_"));
    });
}
