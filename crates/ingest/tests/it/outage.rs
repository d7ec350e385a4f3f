//! The database away.

use futures_util::FutureExt as _;
use serde_json::json;
use tokio::time::timeout;

use crate::world::{FAR, World, run};

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
