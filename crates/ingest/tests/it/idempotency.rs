//! `Idempotency-Key`: the same answer to the same request, byte for byte.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use posthaste_ingest::{Deps, Options, Service};
use posthaste_runtime::{Clock, Stopper, SystemClock};
use posthaste_types::TenantLimits;
use serde_json::{Value, json};

use crate::world::{Answer, World, limited, run};

const BATCH: &str = "/v1/tasks/batch";

async fn send(world: &World, path: &str, key: &str, body: &str) -> Answer {
    let request = world.request("POST", path).header("idempotency-key", key);
    request.text(body).send().await
}

fn is_replayed(answer: &Answer) -> bool {
    answer.header("idempotent-replayed") == Some("true")
}

async fn task_count(world: &World) -> i64 {
    let sql = "select count(*) from posthaste.tasks";
    world.client.query_one(sql, &[]).await.unwrap().get(0)
}

/// The same database behind a process that has just started.
fn restarted(world: World) -> World {
    started_with(world, SystemClock::shared())
}

fn started_with(world: World, clock: Arc<dyn Clock>) -> World {
    let deps = Deps {
        store: world.store.clone(),
        clock,
    };
    let service = Service::start(&Options::default(), deps, Stopper::new());
    World {
        routes: posthaste_http::finish(service.routes()),
        service,
        ..world
    }
}

#[test]
fn the_same_request_under_one_key_is_one_task() {
    run(async {
        let world = World::new().await;
        let send = async |key: &str, body: &str| {
            world
                .request("POST", "/v1/tasks")
                .header("idempotency-key", key)
                .text(body)
                .send()
                .await
        };
        let body = r#"{"type":"a","payload":1}"#;
        let first = send("\"one\"", body).await;
        assert_eq!((first.status(), first.header("idempotent-replayed")), (202, None));
        let again = send("\"one\"", body).await;
        assert_eq!(
            (again.status(), again.header("idempotent-replayed")),
            (202, Some("true"))
        );
        assert_eq!(again.text(), first.text());
        assert_eq!(again.header("location"), first.header("location"));
        assert_eq!(
            send("one", body).await.text(),
            first.text(),
            "a bare token is the same key"
        );
        send("\"one\"", r#"{"type":"a","payload":2}"#)
            .await
            .problem(422, "idempotency_key_reused");
        assert_ne!(send("\"two\"", body).await.text(), first.text());
        send("\"", body).await.problem(400, "invalid_parameter");
    });
}

#[test]
fn one_key_sent_many_times_at_once_is_one_task() {
    run(async {
        let world = World::new().await;
        let requests = (0..50).map(|_| {
            world
                .request("POST", "/v1/tasks")
                .header("idempotency-key", "k")
                .text(r#"{"type":"a"}"#)
                .send()
        });
        let answers = futures_util::future::join_all(requests).await;
        let mut bodies: Vec<Value> = answers.iter().map(|answer| answer.json()).collect();
        assert!(answers.iter().all(|answer| answer.status() == 202));
        bodies.dedup();
        assert_eq!(bodies.len(), 1);
        let fresh = answers
            .iter()
            .filter(|answer| answer.header("idempotent-replayed").is_none())
            .count();
        assert_eq!(fresh, 1);
    });
}

#[test]
fn a_replay_is_the_same_to_the_byte_after_a_restart_too() {
    run(async {
        let mut world = World::new().await;
        let mut firsts = Vec::new();
        for (path, body) in [
            ("/v1/tasks", r#"{"type":"a","payload":1.50}"#),
            ("/v1/tasks", r#"{"type":"b","delay_s":600,"queue":"default"}"#),
            (
                BATCH,
                r#"{"tasks":[{"type":"a"},{"typ":"b"},{"type":"c","delay_s":60}]}"#,
            ),
            (BATCH, r#"{"tasks":[{"type":"a"},{"type":"b"}],"atomic":true}"#),
        ] {
            let key = firsts.len().to_string();
            let first = send(&world, path, &key, body).await;
            assert_eq!(
                (first.status(), is_replayed(&first)),
                (202, false),
                "{}",
                first.text()
            );
            firsts.push((path, key, body, first));
        }
        let count = task_count(&world).await;
        assert_eq!(count, 6);
        for _ in 0..2 {
            for (path, key, body, first) in &firsts {
                let again = send(&world, path, key, body).await;
                assert_eq!((again.status(), is_replayed(&again)), (202, true));
                assert_eq!(again.text(), first.text());
                for name in ["location", "retry-after", "content-type"] {
                    assert_eq!(again.header(name), first.header(name));
                }
            }
            world = restarted(world);
        }
        assert_eq!(task_count(&world).await, count);
    });
}

#[test]
fn whoever_prefers_to_wait_reads_the_same_end_twice() {
    run(async {
        let world = World::new().await;
        let request = || {
            let request = world.request("POST", "/v1/tasks").header("idempotency-key", "k");
            request.text(r#"{"type":"a"}"#)
        };
        let first = request().send().await;
        world.end(first.json()["id"].as_str().unwrap(), "DONE").await;
        let one = request().header("prefer", "wait=10").send().await;
        let other = request().header("prefer", "wait=10").send().await;
        assert_eq!((one.status(), other.status()), (200, 200));
        assert!(is_replayed(&one) && one.json()["state"] == "DONE");
        assert_eq!(one.text(), other.text());
        assert_eq!(one.header("location"), first.header("location"));
        assert_eq!(
            request().send().await.text(),
            first.text(),
            "without the wish as at first"
        );
    });
}

#[test]
fn a_batch_under_a_key_is_all_or_nothing_and_another_one_is_refused() {
    run(async {
        let world = World::new().await;
        let nothing = r#"{"tasks":[{"typ":"a"},{"type":"B"}]}"#;
        for _ in 0..2 {
            let answer = send(&world, BATCH, "k", nothing).await;
            assert_eq!(
                (answer.status(), is_replayed(&answer)),
                (202, false),
                "no key is taken for nothing"
            );
        }
        let body = json!({"tasks": vec![json!({"type": "a"}); 700]}).to_string();
        let first = send(&world, BATCH, "k", &body).await;
        assert_eq!((first.status(), is_replayed(&first)), (202, false));
        let commits = "select count(distinct xmin::text) from posthaste.tasks";
        let commits: i64 = world.client.query_one(commits, &[]).await.unwrap().get(0);
        assert_eq!((commits, task_count(&world).await), (1, 700));
        send(&world, BATCH, "k", nothing.replace("typ\"", "type\"").as_str())
            .await
            .problem(422, "idempotency_key_reused");
        send(&world, "/v1/tasks", "k", r#"{"type":"a"}"#)
            .await
            .problem(422, "idempotency_key_reused");
        assert_eq!(task_count(&world).await, 700);
    });
}

#[test]
fn a_key_that_stays_in_somebody_elses_hands_is_in_progress() {
    run(async {
        let world = World::new().await;
        world.client.batch_execute("begin").await.unwrap();
        let lock = "select posthaste.idempotency_lock('default', 'k')";
        world.client.query(lock, &[]).await.unwrap();
        for (path, body) in [
            ("/v1/tasks", r#"{"type":"a"}"#),
            (BATCH, r#"{"tasks":[{"type":"a"}]}"#),
        ] {
            send(&world, path, "k", body)
                .await
                .problem(409, "idempotency_in_progress");
        }
        world.client.batch_execute("commit").await.unwrap();
        assert_eq!(
            send(&world, "/v1/tasks", "k", r#"{"type":"a"}"#).await.status(),
            202
        );
    });
}

#[test]
fn headers_that_are_no_key_are_refused() {
    run(async {
        let world = World::new().await;
        let long = "k".repeat(256);
        for path in ["/v1/tasks", BATCH] {
            for key in ["", "\"\"", "\"a", "a b", "a,b", &long, "\"a\", \"b\""] {
                let body = r#"{"type":"a"}"#;
                send(&world, path, key, body)
                    .await
                    .problem(400, "invalid_parameter");
            }
        }
        let answer = send(&world, "/v1/tasks", "\"a\";version=1", r#"{"type":"a"}"#).await;
        assert_eq!(answer.status(), 202);
        assert!(is_replayed(
            &send(&world, "/v1/tasks", "a", r#"{"type":"a"}"#).await
        ));
    });
}

#[test]
fn who_has_reached_a_limit_still_hears_what_became_of_its_request() {
    run(async {
        let world = World::new().await;
        let limits = TenantLimits {
            open_tasks: Some(2),
            ..TenantLimits::default()
        };
        let caller = limited(limits);
        let send = async |path: &str, key: &str, body: &str| {
            let request = world.request("POST", path).by(&caller);
            request.header("idempotency-key", key).text(body).send().await
        };
        let (task, batch) = (r#"{"type":"a"}"#, r#"{"tasks":[{"type":"a"}]}"#);
        for (path, body, other) in [
            ("/v1/tasks", task, r#"{"type":"b"}"#),
            (BATCH, batch, r#"{"tasks":[{"type":"b"}]}"#),
        ] {
            let first = send(path, path, body).await;
            assert_eq!(first.status(), 202);
            caller.quota().set_open_tasks(2);
            let again = send(path, path, body).await;
            assert_eq!(again.status(), 202, "{}", again.text());
            assert!(is_replayed(&again));
            assert_eq!(again.text(), first.text());
            send(path, path, other)
                .await
                .problem(422, "idempotency_key_reused");
            send(path, "another", body)
                .await
                .problem(429, "too_many_requests");
            let without = world.request("POST", path).by(&caller).text(body).send().await;
            without.problem(429, "too_many_requests");
            caller.quota().set_open_tasks(0);
        }
        assert_eq!(task_count(&world).await, 2);
    });
}

#[test]
fn a_replay_opens_no_task() {
    run(async {
        let world = World::new().await;
        let limits = TenantLimits {
            open_tasks: Some(4),
            ..TenantLimits::default()
        };
        let caller = limited(limits);
        let send = async |path: &str, key: &str, body: &str| {
            let request = world.request("POST", path).by(&caller);
            request.header("idempotency-key", key).text(body).send().await
        };
        let (task, batch) = (r#"{"type":"a"}"#, r#"{"tasks":[{"type":"a"}]}"#);
        for _ in 0..5 {
            assert_eq!(send("/v1/tasks", "task", task).await.status(), 202);
            assert_eq!(send(BATCH, "batch", batch).await.status(), 202);
        }
        assert_eq!(send("/v1/tasks", "third", task).await.status(), 202);
        assert_eq!(send(BATCH, "fourth", batch).await.status(), 202);
        send("/v1/tasks", "fifth", task)
            .await
            .problem(429, "too_many_requests");
        assert_eq!(task_count(&world).await, 4);
    });
}

/// A clock that is a minute fast.
struct Fast;

impl Clock for Fast {
    fn now(&self) -> DateTime<Utc> {
        Utc::now() + TimeDelta::minutes(1)
    }
}

#[test]
fn a_repeat_whose_deadline_has_come_too_near_meanwhile_still_gets_the_first_answer() {
    run(async {
        let world = World::new().await;
        let deadline = Utc::now() + TimeDelta::seconds(150);
        let task = json!({"type": "a", "delay_s": 120, "deadline": deadline});
        let bodies = [
            ("/v1/tasks", task.to_string()),
            (BATCH, json!({"tasks": [task]}).to_string()),
            (BATCH, json!({"tasks": [task], "atomic": true}).to_string()),
        ];
        let mut firsts = Vec::new();
        for (key, (path, body)) in bodies.iter().enumerate() {
            let first = send(&world, path, &format!("k{key}"), body).await;
            assert_eq!(first.status(), 202, "{}", first.text());
            firsts.push(first);
        }
        let world = started_with(world, Arc::new(Fast));
        for (key, ((path, body), first)) in bodies.iter().zip(&firsts).enumerate() {
            let again = send(&world, path, &format!("k{key}"), body).await;
            assert_eq!(
                (again.status(), is_replayed(&again)),
                (202, true),
                "{}",
                again.text()
            );
            assert_eq!(again.text(), first.text());
            let other = send(&world, path, "unused", body).await;
            assert!(
                other.text().contains("must be after the time"),
                "{}",
                other.text()
            );
        }
        assert_eq!(task_count(&world).await, 3);
    });
}
