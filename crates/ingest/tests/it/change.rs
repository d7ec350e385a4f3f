//! Cancel and rerun.

use posthaste_schema::{TaskEvent, TaskRequested, WriterSchemas};
use posthaste_types::{EventKind, TaskState, TenantLimits};
use serde_json::{Value, json};

use crate::world::{Answer, World, limited, run, uuid_of};

async fn post(world: &World, task: &Value, what: &str) -> Answer {
    world
        .request(
            "POST",
            &format!("{}/{what}", task["links"]["self"].as_str().unwrap()),
        )
        .send()
        .await
}

/// The newest outbox row: topic, key and value.
async fn published(world: &World) -> (String, String, Vec<u8>) {
    let sql =
        "select aggregatetype, aggregateid, payload from posthaste.outbox order by created_at desc limit 1";
    let row = world.client.query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

fn writers() -> WriterSchemas {
    let writers = WriterSchemas::new();
    writers
        .add(
            posthaste_schema::SchemaId(1),
            posthaste_schema::TASK_REQUESTED.avsc,
        )
        .unwrap();
    writers
        .add(posthaste_schema::SchemaId(2), posthaste_schema::TASK_EVENT.avsc)
        .unwrap();
    writers
}

#[test]
fn a_cancel_ends_the_task_and_publishes_its_event() {
    run(async {
        let world = World::new().await;
        let task = world.submit(json!({"type": "a", "channel": "c"})).await;
        let answer = post(&world, &task, "cancel").await;
        assert_eq!(answer.status(), 202, "{}", answer.text());
        let cancelled = answer.json();
        assert_eq!(cancelled["state"], "CANCELLED");
        assert!(cancelled["finished_at"].is_string());
        let (topic, key, value) = published(&world).await;
        assert_eq!(
            (topic.as_str(), key.as_str()),
            ("results", task["id"].as_str().unwrap())
        );
        let event = TaskEvent::decode(&value, &writers()).unwrap();
        assert_eq!(
            (event.kind, event.state, event.version),
            (EventKind::Cancelled, TaskState::Cancelled, 2)
        );
        assert_eq!(
            world.get(task["links"]["self"].as_str().unwrap()).await.json(),
            cancelled
        );
        post(&world, &task, "cancel").await.problem(409, "state_conflict");
        let history = world.get(task["links"]["history"].as_str().unwrap()).await.json();
        let last = history["history"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(
            (&last["state"], &last["note"]),
            (&json!("CANCELLED"), &json!("cancel"))
        );
        assert_eq!(history["history"].as_array().unwrap().len(), 2);
    });
}

#[test]
fn a_cancelled_task_refuses_its_workers_write() {
    run(async {
        let world = World::new().await;
        let task = world.submit(json!({"type": "a"})).await;
        let id = uuid_of(task["id"].as_str().unwrap());
        let claim =
            "update posthaste.tasks set state = 'RUNNING', claim_token = id, attempt = 1 where id = $1";
        world.client.execute(claim, &[&id]).await.unwrap();
        assert_eq!(post(&world, &task, "cancel").await.status(), 202);
        let still = "select count(*) from posthaste.tasks where id = $1 and claim_token = id";
        let row = world.client.query_one(still, &[&id]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 0);
    });
}

#[test]
fn a_finished_task_runs_again_as_the_next_run() {
    run(async {
        let world = World::new().await;
        let task = world
            .submit(json!({"type": "a", "key": "k", "payload": [1]}))
            .await;
        post(&world, &task, "retry").await.problem(409, "state_conflict");
        world.end(task["id"].as_str().unwrap(), "FAILED").await;
        let answer = post(&world, &task, "retry").await;
        assert_eq!(answer.status(), 202, "{}", answer.text());
        let again = answer.json();
        assert_eq!(
            (&again["state"], &again["run"], &again["attempt"]),
            (&json!("INIT"), &json!(2), &json!(0))
        );
        assert_eq!(
            (&again["result"], &again["finished_at"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(
            world.get(task["links"]["self"].as_str().unwrap()).await.json(),
            again
        );
        let (topic, key, value) = published(&world).await;
        assert_eq!((topic.as_str(), key.as_str()), ("tasks.default", "k"));
        let request = TaskRequested::decode(&value, &writers()).unwrap();
        assert_eq!((request.run, request.payload.as_str()), (2, "[1]"));
        let history = world.get(task["links"]["history"].as_str().unwrap()).await.json();
        let states: Vec<&Value> = history["history"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| &entry["state"])
            .collect();
        assert_eq!(states, ["INIT", "RUNNING", "FAILED", "INIT"]);
        assert_eq!(history["history"][3]["note"], "rerun");
    });
}

#[test]
fn a_rerun_drops_a_deadline_that_has_passed() {
    run(async {
        let world = World::new().await;
        let past = "2026-01-01T00:00:00Z";
        let task = world.submit(json!({"type": "a", "deadline": past})).await;
        world.end(task["id"].as_str().unwrap(), "EXPIRED").await;
        assert_eq!(post(&world, &task, "retry").await.status(), 202);
        let (_, _, value) = published(&world).await;
        assert_eq!(TaskRequested::decode(&value, &writers()).unwrap().deadline, None);
    });
}

#[test]
fn a_rerun_is_one_more_task_of_its_tenant() {
    run(async {
        let world = World::new().await;
        let task = world.submit(json!({"type": "a"})).await;
        post(&world, &task, "cancel").await;
        let limits = TenantLimits {
            open_tasks: Some(1),
            tasks_per_s: Some(0.001),
            task_burst: Some(2),
            ..TenantLimits::default()
        };
        let caller = limited(limits);
        let path = format!("{}/retry", task["links"]["self"].as_str().unwrap());
        let rerun = async || world.request("POST", &path).by(&caller).send().await;
        caller.quota().set_open_tasks(1);
        rerun().await.problem(429, "too_many_requests");
        caller.quota().set_open_tasks(0);
        assert_eq!(rerun().await.status(), 202);
        // One that changes nothing opens none, but was asked for.
        caller.quota().set_open_tasks(0);
        rerun().await.problem(409, "state_conflict");
        rerun().await.problem(429, "too_many_requests");
        post(&world, &task, "cancel").await;
        let other = world.request("POST", &path).send().await;
        assert_eq!(other.status(), 202, "{}", other.text());
    });
}
