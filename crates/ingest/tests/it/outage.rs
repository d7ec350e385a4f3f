//! The database away.

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
