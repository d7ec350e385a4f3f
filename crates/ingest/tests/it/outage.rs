//! The database away.

use futures_util::FutureExt as _;
use serde_json::json;
use tokio::time::timeout;

use crate::world::{Answer, FAR, World, run};

#[test]
fn nothing_is_accepted_while_the_database_hangs_and_all_is_well_after() {
    run(async {
        let world = World::alone("ingest-outage").await;
        let before = world.submit(json!({"type": "a"})).await;
        world.pause_postgres().await;
        let request = world
            .request("POST", "/v1/tasks")
            .header("idempotency-key", "k")
            .json(&json!({"type": "b"}));
        let answer = timeout(FAR, request.send()).await.unwrap();
        answer.problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
        world.resume_postgres().await;
        let request = world
            .request("POST", "/v1/tasks")
            .header("idempotency-key", "k")
            .json(&json!({"type": "b"}));
        let answer = timeout(FAR, request.send()).await.unwrap();
        assert_eq!(answer.status(), 202, "{}", answer.text());
        let path = before["links"]["self"].as_str().unwrap();
        assert_eq!(timeout(FAR, world.get(path)).await.unwrap().status(), 200);
        let page = world.get("/v1/tasks?type=b").await.json();
        assert_eq!(
            page["tasks"].as_array().unwrap().len(),
            1,
            "sent twice under one key"
        );
        assert!(world.store.ping().await.is_ok());
    });
}

#[test]
fn what_comes_while_older_submissions_stand_still_is_refused_at_once() {
    run(async {
        let world = World::alone("ingest-shedding").await;
        world.submit(json!({"type": "a"})).await;
        world.pause_postgres().await;
        let request = || world.request("POST", "/v1/tasks").json(&json!({"type": "b"}));
        // The one commits for as long as the database hangs, the other waits for it.
        let mut older = Box::pin(async { tokio::join!(request().send(), request().send()) });
        assert!(older.as_mut().now_or_never().is_none());
        let shed = async {
            loop {
                let answer = tokio::select! {
                    biased;
                    _ = &mut older => panic!("the older ones gave up first"),
                    answer = request().send() => answer,
                    () = tokio::time::sleep(std::time::Duration::from_millis(20)) => continue,
                };
                return answer;
            }
        };
        let answer = timeout(FAR, shed).await.unwrap();
        answer.problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
        world.resume_postgres().await;
        let (one, other) = timeout(FAR, older).await.unwrap();
        assert_eq!((one.status(), other.status()), (202, 202));
        assert_eq!(request().send().await.status(), 202);
    });
}

#[test]
fn no_task_is_taken_while_too_much_log_waits_to_be_published() {
    run(async {
        let world = World::new().await;
        world.submit(json!({"type": "a"})).await;
        let slot = "select pg_create_logical_replication_slot('intake', 'pgoutput')";
        world.client.execute(slot, &[]).await.unwrap();
        // A slot that nobody reads may keep any amount where neither the server nor anybody else says how much.
        let unbounded = "select posthaste.guard_wal('intake', true, null, 0.95)";
        world.client.execute(unbounded, &[]).await.unwrap();
        assert!(!world.store.is_intake_closed().await.unwrap());
        // And now it may keep a byte.
        let guard = "select posthaste.guard_wal('intake', true, 1, 0.95)";
        world.client.execute(guard, &[]).await.unwrap();
        let submit = || async {
            let answer = world
                .request("POST", "/v1/tasks")
                .json(&json!({"type": "b"}))
                .send();
            answer.await
        };
        let refused = timeout(FAR, until(submit, 503)).await.unwrap();
        refused.problem(503, "unavailable");
        assert_eq!(refused.header("retry-after"), Some("10"));
        let batch = json!({"tasks": [{"type": "b"}]});
        let batch = world.request("POST", "/v1/tasks/batch").json(&batch).send().await;
        batch.problem(503, "unavailable");
        assert_eq!(
            world.get("/v1/tasks").await.status(),
            200,
            "reads are not refused"
        );
        let drop = "select pg_drop_replication_slot('intake')";
        world.client.execute(drop, &[]).await.unwrap();
        timeout(FAR, until(submit, 202)).await.unwrap();
    });
}

/// Asks until the answer has this status.
async fn until<F: Future<Output = Answer>>(ask: impl Fn() -> F, status: u16) -> Answer {
    loop {
        let answer = ask().await;
        if answer.status() == status {
            return answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
