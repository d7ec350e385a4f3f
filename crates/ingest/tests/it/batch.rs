//! `POST /v1/tasks/batch`.

use serde_json::{Value, json};

use crate::world::{Answer, World, run};

async fn send(world: &World, body: &Value) -> Answer {
    world.request("POST", "/v1/tasks/batch").json(body).send().await
}

async fn task_count(world: &World) -> i64 {
    world
        .client
        .query_one("select count(*) from posthaste.tasks", &[])
        .await
        .unwrap()
        .get(0)
}

#[test]
fn each_task_has_its_own_outcome_in_order() {
    run(async {
        let world = World::new().await;
        let answer = send(
            &world,
            &json!({"tasks": [
                {"type": "a"}, {"typ": "b"}, {"type": "c", "queue": "nowhere"}, 7, {"type": "e", "priority": 11},
                {"type": "f", "delay_s": 60},
            ]}),
        )
        .await;
        assert_eq!(answer.status(), 202, "{}", answer.text());
        let tasks = answer.json()["tasks"].as_array().unwrap().clone();
        assert_eq!(tasks.len(), 6);
        assert_eq!(
            (&tasks[0]["type"], &tasks[0]["state"]),
            (&json!("a"), &json!("INIT"))
        );
        assert_eq!(tasks[1]["error"]["errors"][0]["pointer"], "/tasks/1/typ");
        assert_eq!(tasks[2]["error"]["status"], 422);
        assert_eq!(tasks[3]["error"]["code"], "invalid_request");
        assert_eq!(tasks[4]["error"]["errors"][0]["pointer"], "/tasks/4/priority");
        assert_eq!(tasks[5]["state"], "SCHEDULED");
        assert_eq!(task_count(&world).await, 2);
    });
}

#[test]
fn an_atomic_batch_is_stored_wholly_or_not_at_all() {
    run(async {
        let world = World::new().await;
        let answer = send(
            &world,
            &json!({"atomic": true, "tasks": [{"type": "a"}, {"type": "B"}, {"type": ""}]}),
        )
        .await;
        assert_eq!(
            answer.problem(400, "invalid_request"),
            ["/tasks/1/type", "/tasks/2/type"]
        );
        assert_eq!(task_count(&world).await, 0);
        let answer = send(
            &world,
            &json!({"atomic": true, "tasks": [{"type": "a"}, {"type": "b"}]}),
        )
        .await;
        assert_eq!(answer.status(), 202);
        assert_eq!(task_count(&world).await, 2);
    });
}

#[test]
fn a_batch_has_from_one_to_a_thousand_tasks() {
    run(async {
        let world = World::new().await;
        let tasks = |count: usize| json!({"tasks": vec![json!({"type": "a"}); count]});
        assert_eq!(
            send(&world, &tasks(0)).await.problem(400, "invalid_request"),
            ["/tasks"]
        );
        assert_eq!(
            send(&world, &tasks(1001)).await.problem(400, "invalid_request"),
            ["/tasks"]
        );
        let answer = send(&world, &tasks(1000)).await;
        assert_eq!(answer.status(), 202);
        assert_eq!(task_count(&world).await, 1000);
    });
}
